import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { dumpDatabase } from "../archive/database-dump.js";
import { XapiFault } from "../fault.js";
import type { HandlerCall } from "../http-handlers.js";
import { dateText } from "../value.js";
import { sendBody } from "./download.js";

/** GET /host_backup: the control domain's files as a tar through gzip. Said to stay open, and closed at the end all the same. */
export async function sendHostBackup(call: HandlerCall): Promise<string> {
  await call.answer.begin("HTTP/1.1 200 OK", [
    ["Connection", "keep-alive"],
    ["Cache-Control", "no-cache, no-store"],
  ]);
  const folder = await mkdtemp(join(tmpdir(), "vmm-dom0-"));
  try {
    await writeFiles(folder, controlDomainFiles(call));
    await sendBody(call, packed(folder));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return "";
}

function controlDomainFiles({ pool, host }: HandlerCall): Readonly<Record<string, string>> {
  const { softwareVersion } = pool.profile;
  const inventory = {
    PRODUCT_BRAND: softwareVersion["product_brand"] ?? "",
    PRODUCT_VERSION: softwareVersion["product_version"] ?? "",
    INSTALLATION_UUID: host.uuid,
    CONTROL_DOMAIN_UUID: pool.database.text("VM", host.controlDomain, "uuid"),
    MANAGEMENT_INTERFACE: "xenbr0",
  };
  const lines = Object.entries(inventory).map(([key, value]) => `${key}='${value}'\n`);
  return {
    "etc/hostname": `${pool.database.text("host", host.ref, "hostname")}\n`,
    "etc/xensource-inventory": lines.join(""),
    "boot/efi/EFI/xenserver/grub.cfg": "set default=0\n",
    [`var/backup/pool-database-${dateText(new Date())}`]: dumpDatabase(pool.database),
    "var/xapi/host.id": `${host.uuid}\n`,
  };
}

async function writeFiles(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text, { mode: 0o600 });
  }
}

async function* packed(folder: string): AsyncGenerator<Buffer> {
  const child = spawn("tar", ["--create", "--gzip", "--sparse", `--directory=${folder}`, "."], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  child.stderr.on("data", (chunk: Buffer) => (log += chunk.toString("utf8")));
  const ended = new Promise<number | null>((resolve) => {
    child.once("close", resolve);
    child.once("error", (error) => {
      log += error.message;
      resolve(null);
    });
  });
  try {
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) yield chunk;
  } finally {
    child.kill();
  }
  if ((await ended) !== 0) throw new XapiFault("BACKUP_SCRIPT_FAILED", log);
}
