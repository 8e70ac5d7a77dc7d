import type { Call, Handler, Handlers } from "../call.js";
import type { Collector } from "../collector.js";
import { fault, notFound, type Fault } from "../faults.js";
import { evaluateFilter, objectContent } from "../retrieve.js";
import { data, type Data } from "../values.js";

/** Updates per answer when the client sets no limit. */
const UPDATES_MAX = 100;
/** Longest time that a wait is held when the client sets no limit. */
const WAIT_SECONDS_MAX = 1800;

function collectorOf({ server, target, session }: Call): Collector {
  const collector = server.collectors.get(target.ref.ref, session);
  if (collector === undefined) throw notFound(target.ref);
  return collector;
}

function contents({ server, args, session }: Call): Data[] {
  return args.each("specSet").flatMap((spec) => evaluateFilter(spec, server.objects, session).map(objectContent));
}

function retrievePage(call: Call, all: readonly Data[], limit: number): Data | undefined {
  const { server, session } = call;
  if (all.length === 0) return undefined;
  const rest = all.slice(limit);
  const token = rest.length === 0 ? undefined : server.pages.keep(session, rest, limit);
  return data("RetrieveResult", { token, objects: all.slice(0, limit) });
}

async function wait(call: Call, seconds: number, maxObjects: number): Promise<Data | undefined> {
  const collector = collectorOf(call);
  collector.begin(call.args.text("version") ?? "");
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const changed = nextChange(call, collector, Math.max(0, deadline - Date.now()));
    const updates = collector.updates(maxObjects);
    if (updates !== undefined || Date.now() >= deadline || call.signal.aborted) {
      changed.stop();
      return updates;
    }
    await changed.promise;
  }
}

/** Settles at the next change of the server's state, at the deadline, when the client leaves or cancels. */
function nextChange(
  { server, signal }: Call,
  collector: Collector,
  ms: number,
): { promise: Promise<void>; stop(): void } {
  let stop = (): void => undefined;
  const promise = new Promise<void>((resolve, reject) => {
    const off = server.onChange(end);
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
    collector.cancelWait = (reason: Fault) => {
      stop();
      reject(reason);
    };
    stop = () => {
      off();
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      collector.cancelWait = undefined;
    };
    function end(): void {
      stop();
      resolve();
    }
  });
  return {
    promise,
    stop: () => {
      stop();
    },
  };
}

export const COLLECTOR_CALLS: Handlers<Handler> = {
  PropertyCollector: {
    RetrieveProperties: (call) => contents(call),
    RetrievePropertiesEx: (call) => {
      const page = call.server.rules.settings.pageSize;
      const wanted = call.args.inner("options")?.integer("maxObjects") ?? page;
      if (wanted < 1) throw fault("InvalidArgument", { invalidProperty: "options.maxObjects" });
      return retrievePage(call, contents(call), Math.min(page, wanted));
    },
    ContinueRetrievePropertiesEx: (call) => {
      const kept = call.server.pages.take(call.session, call.args.text("token") ?? "");
      if (kept === undefined) throw fault("InvalidArgument", { invalidProperty: "token" });
      return retrievePage(call, kept.rest, kept.limit);
    },
    CancelRetrievePropertiesEx: ({ server, session, args }) => {
      const kept = server.pages.take(session, args.text("token") ?? "");
      if (kept === undefined) throw fault("InvalidArgument", { invalidProperty: "token" });
      return undefined;
    },
    CreateFilter: (call) => {
      const spec = call.args.data("spec");
      if (spec === undefined) throw fault("InvalidArgument", { invalidProperty: "spec" });
      const id = call.server.collectors.nextId(call.session);
      return collectorOf(call).addFilter(id, spec, call.args.flag("partialUpdates") ?? false);
    },
    WaitForUpdatesEx: (call) => {
      const options = call.args.inner("options");
      const seconds = options?.integer("maxWaitSeconds") ?? WAIT_SECONDS_MAX;
      return wait(call, Math.min(seconds, WAIT_SECONDS_MAX), options?.integer("maxObjectUpdates") ?? UPDATES_MAX);
    },
    WaitForUpdates: (call) => wait(call, WAIT_SECONDS_MAX, Number.MAX_SAFE_INTEGER),
    CheckForUpdates: (call) => wait(call, 0, Number.MAX_SAFE_INTEGER),
    CancelWaitForUpdates: (call) => {
      collectorOf(call).cancelWait?.(fault("RequestCanceled"));
      return undefined;
    },
    CreatePropertyCollector: ({ server, session }) => server.collectors.create(session).ref,
    DestroyPropertyCollector: (call) => {
      call.server.collectors.destroy(collectorOf(call));
      return undefined;
    },
  },
  PropertyFilter: {
    DestroyPropertyFilter: ({ server, target, session }) => {
      server.collectors.ownerOf(target.ref.ref, session)?.removeFilter(target.ref.ref);
      return undefined;
    },
  },
  ViewManager: {
    CreateContainerView: ({ server, args, session }) => {
      const container = server.objects.get(args.ref("container") ?? server.tree.root.ref, session);
      const id = server.collectors.nextId(session);
      return server.views.create(id, container.ref, args.texts("type"), args.flag("recursive") ?? false, session);
    },
  },
  View: {
    DestroyView: ({ server, target, session }) => {
      server.views.destroy(target.ref.ref, session);
      return undefined;
    },
  },
};
