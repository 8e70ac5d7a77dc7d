import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import NbdClient from "@vates/nbd-client";
import t, { type Test } from "tap";
import type { LabPool } from "../../../src/lab/xen/lab-pool.js";
import { MIB } from "../../../src/units.js";
import { succeed } from "../../fixtures/host/command-line.js";
import { until } from "../../fixtures/host/until.js";
import { scratch } from "../../fixtures/scratch.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";
import { PoolClient } from "../../fixtures/xen/pool-client.js";

interface ServedVdi {
  readonly uuid: string;
  readonly port: number;
  readonly exportName: string;
  readonly certificate: string;
  readonly sha256: string;
}

/** A disk of the machine that is off, as the first host serves it. */
async function servedVdi(lab: LabPool): Promise<ServedVdi> {
  const { session } = await PoolClient.login(lab);
  const { database, hosts } = lab.pool;
  const [vbd = ""] = database.where("VBD", "VM", lab.vm("cold01").ref);
  const uuid = database.text("VDI", database.text("VBD", vbd, "VDI"), "uuid");
  return {
    uuid,
    port: hosts[0]?.nbdPort ?? 0,
    exportName: `/${uuid}?session_id=${session}`,
    certificate: hosts[0]?.tls.certificate ?? "",
    sha256: await lab.hashVdi(uuid),
  };
}

function withoutTls(lab: LabPool): void {
  const { database } = lab.pool;
  for (const network of database.refs("network")) database.update("network", network, { purpose: ["insecure_nbd"] });
}

async function readAll(t: Test, vdi: ServedVdi, cert: string | undefined): Promise<string> {
  const { port, exportName: exportname } = vdi;
  const client = new NbdClient({ address: "127.0.0.1", port, exportname, ...(cert !== undefined && { cert }) });
  await client.connect();
  t.teardown(() => client.disconnect());
  const hash = createHash("sha256");
  const blocks = Math.ceil(Number(client.exportSize) / (2 * MIB));
  for (let index = 0; index < blocks; index++) hash.update(await client.readBlock(index, 2 * MIB));
  await client.disconnect();
  return hash.digest("hex");
}

void t.test("Xen Orchestra's client reads a disk, over TLS and without", async (t) => {
  const { lab } = await testPool(t, { profile: "8.2" });
  const vdi = await servedVdi(lab);
  const before = lab.counts()["VBD"];
  t.equal(await readAll(t, vdi, vdi.certificate), vdi.sha256, "over TLS");
  await t.rejects(readAll(t, vdi, undefined), "without TLS it is refused");
  withoutTls(lab);
  t.equal(await readAll(t, vdi, undefined), vdi.sha256, "without TLS where that is allowed");
  await until("the VBDs are unplugged", () => lab.counts()["VBD"] === before);
  t.equal(lab.counts()["VBD"], before, "and no VBD stays behind");
});

// QEMU cannot: it asks for the list of exports when GO is unknown, and takes the refusal for the end.
void t.test("libnbd reads it over TLS", async (t) => {
  const { lab } = await testPool(t, { profile: "8.3" });
  const { port, exportName, certificate, sha256 } = await servedVdi(lab);
  const folder = scratch(t);
  await mkdir(join(folder, "pki"));
  await writeFile(join(folder, "pki", "ca-cert.pem"), certificate);
  const uri = `nbds://127.0.0.1:${port}/${encodeURIComponent(exportName)}?tls-certificates=${join(folder, "pki")}`;
  t.equal((await succeed("nbdinfo", ["--size", uri])).trim(), String(16 * MIB));
  const image = join(folder, "disk.raw");
  await succeed("nbdcopy", ["--connections=4", uri, image]);
  t.equal(
    createHash("sha256")
      .update(await readFile(image))
      .digest("hex"),
    sha256,
  );
});
