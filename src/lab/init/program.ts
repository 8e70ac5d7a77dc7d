import { spawn } from "node:child_process";
import { MissingCapabilityError } from "../../errors.js";

/** Bytes of a program's complaints that go into an error. */
const COMPLAINT_CHARS_MAX = 2000;

/**
 * Runs a program to its end.
 * @param debianPackage where the program comes from, for the message when it is missing
 * @throws MissingCapabilityError when the program is missing; Error when it fails
 */
export async function runProgram(
  name: string,
  args: readonly string[],
  debianPackage: string,
  input = "",
): Promise<void> {
  // The programs of fdisk and e2fsprogs live where only root looks by default.
  const env = { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`, LC_ALL: "C" };
  const child = spawn(name, args, { stdio: ["pipe", "ignore", "pipe"], env });
  let complaint = "";
  child.stderr.on("data", (chunk: Buffer) => {
    complaint = (complaint + chunk.toString("utf8")).slice(-COMPLAINT_CHARS_MAX);
  });
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", (cause) => {
      reject(
        new MissingCapabilityError(`Cannot run ${name}: ${cause.message}`, {
          cause,
          hint: `Install the Debian package ${debianPackage}`,
        }),
      );
    });
    child.once("close", resolve);
  });
  if (code !== 0) throw new Error(`${name} failed with exit code ${String(code)}: ${complaint.trim()}`);
}
