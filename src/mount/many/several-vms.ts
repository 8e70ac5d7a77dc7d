import type { CallOptions, Hypervisor, VmIdentity } from "../../hypervisor.js";
import { matchesGlob } from "../../glob.js";
import { joinInventoryPath, type LocatorForm, splitInventoryPath } from "../../locator.js";

const WILDCARD = /[*?]/;

/** Whether a locator may name any number of VMs, even when it happens to match one. */
export function namesSeveral(form: LocatorForm): boolean {
  if (form.kind === "path") return form.path.some((segment) => WILDCARD.test(segment));
  return ["glob", "powerstate", "any"].includes(form.kind);
}

/** Every VM that matches, sorted by path; `*` and `?` of a path stay within their folder. */
export async function findEvery(
  hypervisor: Pick<Hypervisor, "findVms">,
  form: LocatorForm,
  options: CallOptions,
): Promise<VmIdentity[]> {
  if (form.kind !== "path" || !namesSeveral(form)) return await hypervisor.findVms(form, options);
  const all = await hypervisor.findVms({ kind: "any" }, options);
  return all.filter(({ path }) => {
    const segments = splitInventoryPath(path);
    return segments.length === form.path.length && segments.every((one, at) => matchesGlob(one, form.path[at] ?? ""));
  });
}

/** The locator that names exactly this VM on a server of that kind. */
export function exactly(kind: Hypervisor["identity"]["kind"], vm: VmIdentity): { form: LocatorForm; text: string } {
  if (kind === "dir") {
    const path = splitInventoryPath(vm.path);
    return { form: { kind: "path", path }, text: joinInventoryPath(path) };
  }
  return { form: { kind: "moref", id: vm.ref }, text: `moref:${vm.ref}` };
}
