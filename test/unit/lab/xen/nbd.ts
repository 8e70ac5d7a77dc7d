import { connect as connectPlain, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import t, { type Test } from "tap";
import { ExactSocket } from "../../../../src/lab/xen/nbd/exact-socket.js";
import type { LabPool } from "../../../../src/lab/xen/lab-pool.js";
import { until } from "../../../fixtures/host/until.js";
import { testPool } from "../../../fixtures/xen/lab-pool.js";
import { PoolClient } from "../../../fixtures/xen/pool-client.js";

const TLS_REQUIRED = 0x80000005;
const UNSUPPORTED = 0x80000001;
const POLICY = 0x80000002;
const INVALID = 0x80000003;

/** A client that sends what a test wants, byte for byte. */
class RawNbd {
  io: ExactSocket;
  readonly #lab: LabPool;

  private constructor(lab: LabPool, socket: Socket) {
    this.#lab = lab;
    this.io = new ExactSocket(socket);
  }

  /** Connected, the greeting read and answered. */
  static async open(t: Test, lab: LabPool): Promise<RawNbd> {
    const socket = connectPlain(lab.hosts[0]?.nbdPort ?? 0, "127.0.0.1");
    t.teardown(() => socket.destroy());
    const client = new RawNbd(lab, socket);
    const greeting = await client.io.take(18);
    if (greeting !== undefined) await client.io.write(Buffer.from([0, 0, 0, 1]));
    t.equal(greeting?.toString("latin1"), "NBDMAGICIHAVEOPT\x00\x01", "fixed newstyle, and nothing else");
    return client;
  }

  async option(option: number, data: Buffer = Buffer.alloc(0)): Promise<void> {
    const head = Buffer.alloc(16);
    head.write("IHAVEOPT", "latin1");
    head.writeUInt32BE(option, 8);
    head.writeUInt32BE(data.length, 12);
    await this.io.write(Buffer.concat([head, data]));
  }

  /** @returns the type of the reply, undefined when the connection was closed */
  async ask(option: number, data?: Buffer): Promise<number | undefined> {
    await this.option(option, data);
    return (await this.io.take(20))?.readUInt32BE(12);
  }

  async startTls(): Promise<void> {
    await this.ask(5);
    this.io.release();
    const socket = connectTls({
      socket: this.io.socket,
      ca: this.#lab.hosts[0]?.tls.certificate,
      servername: "localhost",
    });
    await new Promise((resolve, reject) => {
      socket.once("secureConnect", resolve);
      socket.once("error", reject);
    });
    this.io = new ExactSocket(socket);
  }

  async request(command: number, offset: number, length: number): Promise<number | undefined> {
    const head = Buffer.alloc(28);
    head.writeUInt32BE(0x25609513);
    head.writeUInt16BE(command, 6);
    head.write("cookie!!", 8, "latin1");
    head.writeBigUInt64BE(BigInt(offset), 16);
    head.writeUInt32BE(length, 24);
    await this.io.write(head);
    const reply = await this.io.take(16);
    return reply?.toString("latin1", 8) === "cookie!!" ? reply.readUInt32BE(4) : undefined;
  }
}

async function nameOf(lab: LabPool): Promise<Buffer> {
  const { session } = await PoolClient.login(lab);
  const { database } = lab.pool;
  const [vbd = ""] = database.where("VBD", "VM", lab.vm("cold01").ref);
  return Buffer.from(`/${database.text("VDI", database.text("VBD", vbd, "VDI"), "uuid")}?session_id=${session}`);
}

void t.test("nothing is told before TLS, and afterwards only EXPORT_NAME is known", async (t) => {
  const { lab } = await testPool(t, { profile: "8.2" });
  const name = await nameOf(lab);
  const client = await RawNbd.open(t, lab);
  t.equal(await client.ask(7), TLS_REQUIRED, "GO before TLS");
  t.equal(await client.ask(3), TLS_REQUIRED, "LIST before TLS");
  await client.startTls();
  for (const option of [6, 7, 8, 10, 77]) t.equal(await client.ask(option), UNSUPPORTED, `option ${option}`);
  t.equal(await client.ask(3), POLICY, "LIST");
  t.equal(await client.ask(5), INVALID, "STARTTLS again");
  await client.option(1, name);
  const answer = await client.io.take(134);
  t.equal(Number(answer?.readBigUInt64BE(0)), 16 * 2 ** 20);
  t.equal(answer?.readUInt16BE(8), 3, "read-only");
  t.ok(answer?.subarray(10).equals(Buffer.alloc(124)), "padded with zeros");
  t.equal(await client.request(0, 1024, 512), 0);
  t.equal((await client.io.take(512))?.length, 512);
  t.equal(await client.request(0, 1, 512), 22, "half a sector");
  t.equal(await client.io.take(1), undefined, "ends the session");

  const early = await RawNbd.open(t, lab);
  t.equal(await early.ask(1, name), undefined, "EXPORT_NAME before TLS");
  const leaving = await RawNbd.open(t, lab);
  await leaving.startTls();
  t.equal(await leaving.ask(2), 1, "ABORT is acknowledged");
});

void t.test(
  "without TLS where the network says so; writes, wrong names and too many clients are refused",
  async (t) => {
    const { lab } = await testPool(t, { profile: "8.3" });
    const { database } = lab.pool;
    const name = await nameOf(lab);
    for (const network of database.refs("network")) database.update("network", network, { purpose: ["insecure_nbd"] });
    const before = lab.counts()["VBD"] ?? 0;
    const clients: RawNbd[] = [];
    for (let count = 0; count < 16; count++) {
      const client = await RawNbd.open(t, lab);
      await client.option(1, name);
      t.equal((await client.io.take(134))?.length, 134);
      clients.push(client);
    }
    t.equal(lab.counts()["VBD"], before + 16, "each has a VBD of the control domain");
    const refused = connectPlain(lab.hosts[0]?.nbdPort ?? 0, "127.0.0.1");
    t.equal(await new ExactSocket(refused).take(1), undefined, "the seventeenth is dropped");
    const [second, ...others] = clients;
    t.equal(await second?.request(1, 0, 512), 1, "a write is not permitted");
    for (const { io } of others) io.socket.destroy();
    await until("the VBDs are unplugged", () => lab.counts()["VBD"] === before);
    t.equal(lab.counts()["VBD"], before, "a moment after they have left, the VBDs are gone");

    const stranger = await RawNbd.open(t, lab);
    t.equal(await stranger.ask(5), POLICY, "no TLS here");
    await stranger.option(1, Buffer.from(name.toString().replace(/session_id=.*/, "session_id=OpaqueRef:none")));
    t.equal(await stranger.io.take(1), undefined, "no session, no disk");
    for (const network of database.refs("network")) database.update("network", network, { purpose: [] });
    const nobody = connectPlain(lab.hosts[0]?.nbdPort ?? 0, "127.0.0.1");
    t.equal(await new ExactSocket(nobody).take(1), undefined, "no purpose, no way in");
  },
);

void t.test("a rule holds a client back before and after its disk is plugged in, and at a read", async (t) => {
  const { lab } = await testPool(t, { profile: "8.2" });
  const { holds } = lab.rules;
  const name = await nameOf(lab);
  const plugged = lab.counts()["VBD"] ?? 0;
  const { signal } = new AbortController();
  const connected = async (): Promise<{ client: RawNbd; answer: Promise<number | undefined> }> => {
    const client = await RawNbd.open(t, lab);
    await client.startTls();
    await client.option(1, name);
    return { client, answer: client.io.take(134).then((answer) => answer?.length) };
  };
  for (const [when, vbds] of [
    ["before", plugged],
    ["after", plugged + 1],
  ] as const) {
    const unarm = lab.rules.add({ match: { method: "NBD.connect" }, count: 1, action: { kind: "hold", when } });
    const { client, answer } = await connected();
    await holds.someone(signal);
    t.equal(lab.counts()["VBD"], vbds, when);
    t.equal(holds.letGo(), 1);
    t.equal(await answer, 134, "it goes on when it is let go");
    unarm();
    client.io.socket.destroy();
    await until("the VBD is unplugged", () => lab.counts()["VBD"] === plugged);
  }
  lab.rules.add({ match: { method: "NBD.read" }, count: 2, action: { kind: "hold", when: "before" } });
  const { client, answer } = await connected();
  t.equal(await answer, 134);
  let isAnswered = false;
  const read = client.request(0, 0, 512).finally(() => (isAnswered = true));
  await holds.someone(signal);
  t.notOk(isAnswered);
  holds.letGo();
  t.equal(await read, 0);
  t.equal((await client.io.take(512))?.length, 512);
  const never = client.request(0, 512, 512).catch(() => undefined);
  await holds.someone(signal);
  client.io.socket.destroy();
  await until("who has left is held no more", () => holds.count === 0);
  t.not(await never, 0);
});
