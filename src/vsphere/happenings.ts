import type { Happening } from "../health.js";
import { MIB } from "../units.js";
import { childrenNamed, moRefAt, textAt, toMoRef } from "./element.js";
import type { PropertyCollector } from "./property-collector.js";
import { queryEvents } from "./requests.js";
import type { Session } from "./session.js";
import type { MoRef } from "./soap-message.js";
import type { XmlElement } from "./xml.js";

/** Events of a backup that went wrong are of the last days; a busy VM has thousands of older ones. */
const SINCE_MS = 7 * 86_400_000;
/** Some thousand events. Servers before 6.5 do not know how many are wanted, and answer them all. */
const ANSWER_BYTES_MAX = 16 * MIB;
/** A server shows the last ten or so tasks of an object. */
const TASKS_MAX = 200;

interface Scope {
  readonly session: Session;
  readonly properties: PropertyCollector;
}

/** The VM's recent tasks (`recentTask`). @throws SoapFault */
export async function recentTasks(vm: MoRef, { properties }: Scope, signal: AbortSignal): Promise<Happening[]> {
  const { values } = await properties.ofObject(vm, ["recentTask"], signal);
  const refs = childrenNamed(values.get("recentTask"), "ManagedObjectReference").slice(0, TASKS_MAX).map(toMoRef);
  const tasks = await properties.ofObjects(refs, [{ type: "Task", paths: ["info"] }], signal);
  return tasks.map(({ values: found }) => {
    const info = found.get("info");
    const problem = textAt(info, "error", "localizedMessage");
    const text = [
      textAt(info, "descriptionId") ?? textAt(info, "name") ?? "a task",
      textAt(info, "state") ?? "in an unknown state",
      textAt(info, "reason", "userName") ?? "",
      problem ?? "",
    ];
    const time = textAt(info, "startTime") ?? textAt(info, "queueTime") ?? "";
    return { kind: "task", time, text: text.filter((word) => word !== "").join(", ") };
  });
}

/** The VM's events of the last week (EventManager.QueryEvents). @throws SoapFault, IntegrityError for too large an answer */
export async function recentEvents(
  vm: MoRef,
  { session }: Scope,
  options: { readonly signal: AbortSignal; readonly max: number },
): Promise<Happening[]> {
  const { eventManager } = session.content;
  if (eventManager === undefined) return [];
  const since = new Date(Date.now() - SINCE_MS);
  const response = await session.call(queryEvents(eventManager, { vm, since, max: options.max }), {
    signal: options.signal,
    responseBytesMax: ANSWER_BYTES_MAX,
  });
  return childrenNamed(response, "returnval").map(toHappening);
}

function toHappening(event: XmlElement): Happening {
  const kind = event.xsiType ?? "Event";
  const user = textAt(event, "userName") ?? "";
  const message = textAt(event, "fullFormattedMessage") ?? moRefAt(event, "vm", "vm")?.id ?? "";
  return {
    kind: "event",
    time: textAt(event, "createdTime") ?? "",
    text: [kind, user, message].filter((word) => word !== "").join(", "),
  };
}
