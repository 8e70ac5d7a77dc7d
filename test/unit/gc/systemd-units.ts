import { execFile } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import t from "tap";
import { scratch } from "../../fixtures/scratch.js";

const UNITS = fileURLToPath(new URL("../../../scripts/systemd", import.meta.url));
const VERIFIER = "/usr/bin/systemd-analyze";
/** Options that give a service a mount namespace of its own: it could not unmount anything for the host. */
const NAMESPACES =
  /^(Private(Tmp|Devices|Mounts|Users)|Protect(System|Home|KernelTunables|KernelModules|KernelLogs|ControlGroups|Proc)|(ReadOnly|ReadWrite|Inaccessible|Exec|NoExec)Paths|BindPaths|BindReadOnlyPaths|TemporaryFileSystem|RootDirectory|RootImage|MountFlags|DynamicUser)=/m;

function unit(name: string): string {
  return readFileSync(join(UNITS, name), "utf8");
}

void t.test("the service can unmount for the host, and asks nobody", (t) => {
  const service = unit("vmmount-gc.service");
  t.notMatch(service, NAMESPACES);
  t.match(service, /^ExecStart=\S+ gc --yes /m);
  t.match(service, /^CapabilityBoundingSet=.*CAP_SYS_ADMIN/m);
  t.match(unit("vmmount-gc.timer"), /^Persistent=true$/m);
  t.match(unit("vmmount-gc.timer"), /^RandomizedDelaySec=/m);
  t.end();
});

void t.test(
  "systemd takes both units",
  { skip: existsSync(VERIFIER) ? false : "systemd-analyze is not installed (Debian package systemd)" },
  async (t) => {
    const directory = scratch(t);
    const service = unit("vmmount-gc.service").replace("/usr/local/bin/vmmount", "/bin/true");
    const paths = ["vmmount-gc.service", "vmmount-gc.timer"].map((name) => join(directory, name));
    writeFileSync(paths[0] ?? "", service);
    writeFileSync(paths[1] ?? "", unit("vmmount-gc.timer"));
    const { stdout, stderr } = await promisify(execFile)(VERIFIER, ["verify", "--man=no", ...paths], {
      timeout: 30_000,
    });
    const own = `${stdout}${stderr}`.split("\n").filter((line) => line.includes("vmmount-gc"));
    t.strictSame(own, []);
  },
);
