/**
 * Every way vmmount can end, in one table that `--help`, the man page and the docs print from.
 *
 * The numbers avoid 1 to 5 and 75: backup products give those a meaning of their own (Duplicati's required-before
 * script reads 1 and 3 as "skip quietly" and 2 and 4 as "run the backup anyway", borgmatic reads 75 as "skip").
 */
export const EXIT_CODES = {
  ok: { code: 0, meaning: "done" },
  usage: { code: 64, meaning: "bad arguments" },
  data: { code: 65, meaning: "an image, catalog or descriptor is unreadable or damaged" },
  "not-found": { code: 66, meaning: "no such VM, snapshot, image or mount" },
  ambiguous: { code: 67, meaning: "several objects match where one is needed" },
  connect: { code: 68, meaning: "server unreachable, or its TLS certificate is not trusted" },
  unavailable: { code: 69, meaning: "a needed capability is missing: transport, format, /dev/fuse, licence" },
  internal: { code: 70, meaning: "a bug in vmmount" },
  snapshot: { code: 71, meaning: "the snapshot could not be created" },
  quiesce: { code: 72, meaning: 'the guest could not be quiesced and the policy is "require"' },
  busy: { code: 73, meaning: "mount point in use, files still open, or the VM is held by another mount" },
  io: { code: 74, meaning: "disk data could not be read or written; the mount is degraded" },
  leftover: { code: 76, meaning: "a snapshot or mount could not be removed; it is kept in the journal" },
  auth: { code: 77, meaning: "wrong credentials or missing privilege" },
  config: { code: 78, meaning: "configuration or credential file is wrong" },
  refused: { code: 79, meaning: "a safety rule refuses the operation" },
  space: { code: 80, meaning: "no room on the target" },
  partial: { code: 81, meaning: "several VMs asked, some failed" },
  job: { code: 82, meaning: "a command that was given with --each failed" },
  signal: { code: 128, meaning: "ended by signal n: 128 + n, after clean-up" },
} as const satisfies Record<string, { code: number; meaning: string }>;

export type ExitName = keyof typeof EXIT_CODES;

/** The name in the table for a process exit code; signals are all "signal", unknown codes are "internal". */
export function exitName(code: number): ExitName {
  if (code > 128) return "signal";
  for (const [name, entry] of Object.entries(EXIT_CODES)) {
    if (entry.code === code) return name as ExitName;
  }
  return "internal";
}
