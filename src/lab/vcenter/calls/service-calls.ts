import type { Handlers, Handler, OpenHandler } from "../call.js";
import { fault } from "../faults.js";
import { userSession } from "../sessions.js";

/** What a client may call before it has logged in. */
export const OPEN_CALLS: Handlers<OpenHandler> = {
  ServiceInstance: {
    RetrieveServiceContent: ({ server }) => server.content,
  },
  SessionManager: {
    Login: ({ server, args, client, session, opened }) => {
      // A second login in one session is refused like a wrong password.
      if (session !== undefined) throw fault("InvalidLogin");
      const made = server.sessions.login(args.text("userName") ?? "", args.text("password") ?? "", client);
      server.traffic.login();
      opened(made);
      return userSession(made);
    },
    CloneSession: ({ server, args, client, opened }) => {
      const made = server.sessions.redeem(args.text("cloneTicket") ?? "", client);
      opened(made);
      return userSession(made);
    },
  },
};

export const SESSION_CALLS: Handlers<Handler> = {
  ServiceInstance: {
    CurrentTime: ({ server }) => server.now(),
  },
  SessionManager: {
    Logout: ({ server, session }) => {
      server.sessions.end(session.key);
      return undefined;
    },
    SessionIsActive: ({ server, args }) =>
      server.sessions.list().some(({ key, user }) => key === args.text("sessionID") && user === args.text("userName")),
    TerminateSession: ({ server, args, session }) => {
      const keys = args.texts("sessionId");
      // A session cannot end itself this way (API reference, SessionManager.TerminateSession).
      if (keys.includes(session.key)) throw fault("InvalidArgument", { invalidProperty: "sessionId" });
      for (const key of keys) if (!server.sessions.end(key)) throw fault("NotFound");
      return undefined;
    },
    AcquireCloneTicket: ({ server, session }) => server.sessions.ticketFor(session),
  },
};
