import type { Handler, Handlers } from "../call.js";
import { fault } from "../faults.js";
import { data } from "../values.js";

export const AUTHORIZATION_CALLS: Handlers<Handler> = {
  AuthorizationManager: {
    HasPrivilegeOnEntities: ({ server, session, args }) => {
      const asked = server.sessions.list().find(({ key }) => key === args.text("sessionId"));
      if (asked === undefined) throw fault("InvalidArgument", { invalidProperty: "sessionId" });
      return args.refs("entity").map((entity) => {
        const { ref } = server.objects.get(entity, session);
        const privAvailability = args.texts("privId").map((privId) => {
          return data("PrivilegeAvailability", { privId, isGranted: server.privileges.has(asked.user, privId) });
        });
        return data("EntityPrivilege", { entity: ref, privAvailability });
      });
    },
  },
};
