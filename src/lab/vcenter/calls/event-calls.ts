import type { Handler, Handlers } from "../call.js";
import { data, declare, isData, type Data, type Value } from "../values.js";

/** An event as a vCenter makes it of each task. */
function taskEvent(info: Data): Data {
  const { eventChainId = 0, queueTime, reason, entity, entityName, descriptionId } = info.fields;
  return data("TaskEvent", {
    key: eventChainId,
    chainId: eventChainId,
    createdTime: queueTime,
    userName: isData(reason) ? reason.fields["userName"] : "",
    vm: data("VmEventArgument", { name: entityName, vm: entity }),
    fullFormattedMessage: `Task: ${typeof descriptionId === "string" ? descriptionId : ""}`,
    info,
  });
}

function millis(value: Value | undefined): number | undefined {
  return value instanceof Date ? value.getTime() : undefined;
}

export const EVENT_CALLS: Handlers<Handler> = {
  EventManager: {
    QueryEvents: ({ server, args }) => {
      const filter = args.inner("filter");
      const entity = filter?.inner("entity")?.ref("entity");
      const begin = millis((filter?.data("time") ?? data("")).fields["beginTime"]) ?? 0;
      const events = (entity === undefined ? [] : server.tasks.history(entity.ref))
        .map(taskEvent)
        .filter((event) => (millis(event.fields["createdTime"]) ?? 0) >= begin)
        .slice(-(filter?.integer("maxCount") ?? Number.MAX_SAFE_INTEGER));
      // Many copies are what a server sends that does not know maxCount.
      const { eventCopies } = server.rules.settings;
      return events.flatMap((event) => Array.from({ length: eventCopies }, () => declare("Event", false, event)));
    },
  },
};
