import type { Config } from "../config.js";
import { UsageError } from "../errors.js";
import { joinInventoryPath, type LocatorForm, parseLocator } from "../locator.js";
import type { SessionFacts } from "../snapshot/journal-record.js";
import type { SessionEntry } from "./session-list.js";

/** The sessions of this host whose VM, as their journals know it, is what `text` names; no server is asked. */
export function sessionsOfVm(text: string, sessions: readonly SessionEntry[], config: Config): SessionEntry[] {
  const locator = locatorOf(text, config);
  if (locator === undefined) return [];
  const { server, form } = locator;
  return sessions.filter(
    ({ facts }) =>
      facts !== undefined && (server === undefined || facts.server.name === server) && isNamed(form, facts.vm),
  );
}

function locatorOf(text: string, config: Config): ReturnType<typeof parseLocator> | undefined {
  try {
    return parseLocator(text, new Set(config.servers.keys()), config.settings.lookup);
  } catch (error) {
    // Not the name of a VM: it may still be a path.
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}

function isNamed(form: LocatorForm, vm: SessionFacts["vm"]): boolean {
  switch (form.kind) {
    case "path":
      return form.path.length > 0 && joinInventoryPath(form.path) === vm.path;
    case "name":
      return form.name === vm.name;
    case "instanceuuid":
      return form.uuid === vm.instanceUuid;
    case "moref":
      return form.id === vm.ref;
    default:
      return false;
  }
}
