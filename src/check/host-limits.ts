import { readFile } from "node:fs/promises";
import { release } from "node:os";
import { forbidCoreDumps } from "../libc.js";
import { VERSION } from "../version.js";
import { fail, type Finding, ok, warn } from "./finding.js";

/** Each disk of a mount takes some descriptors, and each open file one. */
const OPEN_FILES_MIN = 1024;
const NODE_MAJOR_MIN = 20;

export function checkVersions(node = process.version): Finding {
  const text = `vmmount ${VERSION}, Node.js ${node}, Linux ${release()}`;
  const major = Number(/^v(\d+)/.exec(node)?.[1]);
  if (major >= NODE_MAJOR_MIN) return ok("host.versions", text);
  return fail("host.versions", "unavailable", `${text}: Node.js ${NODE_MAJOR_MIN} is the oldest that works`);
}

/** @throws SystemCallError where the kernel does not forbid core dumps */
export function checkCoreDumps(): Finding {
  forbidCoreDumps();
  return ok("host.core-dumps", "Core dumps of vmmount are off: its memory holds passwords");
}

export async function checkOpenFiles(): Promise<Finding> {
  return judgeOpenFiles(await readFile("/proc/self/limits", "utf8"));
}

/** @param limits text of /proc/PID/limits (proc(5)) */
export function judgeOpenFiles(limits: string): Finding {
  const id = "host.open-files";
  const soft = /^Max open files\s+(\d+|unlimited)\s/m.exec(limits)?.[1];
  if (soft === undefined) return warn(id, "The kernel does not say how many files may be open");
  const text = `Up to ${soft} files may be open`;
  if (soft === "unlimited" || Number(soft) >= OPEN_FILES_MIN) return ok(id, text);
  return warn(id, text, `Raise it: ulimit -n ${OPEN_FILES_MIN}, or LimitNOFILE= in the systemd unit`);
}
