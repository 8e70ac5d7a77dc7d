import { closeNames } from "../close-names.js";
import { AmbiguousError, NotFoundError } from "../errors.js";
import type { CallOptions, Hypervisor, VmIdentity } from "../hypervisor.js";
import type { Locator } from "../locator.js";
import { printable } from "../printable.js";

/** A table longer than this is no help in choosing. */
const MATCHES_SHOWN = 10;

/**
 * The one VM that a locator names; never a guess.
 * @throws NotFoundError with close names, AmbiguousError with every match's path, instance UUID and power state
 */
export async function resolveVm(hypervisor: Hypervisor, locator: Locator, options: CallOptions): Promise<VmIdentity> {
  const [first, ...others] = await hypervisor.findVms(locator.form, options);
  if (first === undefined) throw await notFound(hypervisor, locator, options);
  if (others.length === 0) return first;
  const all = [first, ...others];
  const shown = all.slice(0, MATCHES_SHOWN).map(describeMatch);
  if (all.length > shown.length) shown.push(`… and ${all.length - shown.length} more`);
  throw new AmbiguousError(
    `Cannot choose a VM: ${JSON.stringify(locator.text)} matches ${all.length} on ${hypervisor.identity.url}`,
    {
      hint: `Name one by its path or instanceuuid: ${shown.join("; ")}`,
    },
  );
}

function describeMatch(vm: VmIdentity): string {
  return `${printable(vm.path)} (instanceuuid:${vm.instanceUuid ?? "?"}, ${vm.powerState})`;
}

async function notFound(hypervisor: Hypervisor, locator: Locator, options: CallOptions): Promise<NotFoundError> {
  const { form, text } = locator;
  const message = `Cannot find VM ${JSON.stringify(text)} on ${hypervisor.identity.url}`;
  if (form.kind === "ipaddr") {
    return new NotFoundError(`${message}: no running guest reports this address`, {
      hint: "A powered-off VM has no address: use name: or instanceuuid:",
    });
  }
  const wanted =
    form.kind === "name"
      ? form.name
      : form.kind === "path"
        ? form.path.at(-1)
        : form.kind === "glob"
          ? form.pattern
          : undefined;
  if (wanted === undefined) return new NotFoundError(message);
  const vms = await hypervisor.findVms({ kind: "any" }, options);
  const close = closeNames(
    wanted,
    vms.map((vm) => vm.name),
  );
  return new NotFoundError(message, {
    hint:
      close.length > 0
        ? `Close names: ${pathsOf(close, vms).join(", ")}`
        : 'See "vmmount find any:" for every VM of this server',
  });
}

/** Best name first; VMs in different folders may share one. */
function pathsOf(names: readonly string[], vms: readonly VmIdentity[]): string[] {
  const paths = names.flatMap((name) => vms.filter((vm) => vm.name === name).map((vm) => printable(vm.path)));
  return paths.slice(0, MATCHES_SHOWN);
}
