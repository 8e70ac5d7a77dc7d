import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import koffi from "koffi";
import t from "tap";
import { VDDK_FUNCTIONS, type VddkFunctionName } from "../../../src/vddk/functions.js";
import {
  Block,
  BLOCK_LIST_HEAD_BYTES,
  CONNECT_PARAMS_BYTES,
  ConnectParams,
  CREDENTIALS_USER_PASSWORD,
  Info,
  InfoSectorSizes,
  OPEN_READ_ONLY,
  SPEC_TYPE_VMX,
} from "../../../src/vddk/layouts.js";
import { VIX_ASYNC, VIX_OK } from "../../../src/vddk/vix-error.js";
import { succeed } from "../../fixtures/host/command-line.js";
import { buildVddkStandIn, NATIVE_BUILD, VDDK_6, VDDK_8 } from "../../fixtures/host/vddk-stand-in.js";

await buildVddkStandIn();

const HEADER = fileURLToPath(new URL("../../../native/include/vixDiskLib.h", import.meta.url));
const NAMES = Object.keys(VDDK_FUNCTIONS) as VddkFunctionName[];

/** What a C compiler makes of the header. */
async function abi(release: "8.0" | "6.5"): Promise<Readonly<Record<string, number>>> {
  return JSON.parse(await succeed(join(NATIVE_BUILD, `abi-${release}`), [])) as Record<string, number>;
}

/** C's names for what our structure calls otherwise: the members of its unions. */
const UNION_MEMBERS: Readonly<Record<string, string>> = {
  "creds.uid.userName": "credential1",
  "creds.uid.password": "credential2",
  "creds.sessionId.cookie": "credential1",
  "creds.sessionId.userName": "credential2",
  "creds.sessionId.key": "credential3",
  "creds.ticketId": "credential1",
  "spec.vStorageObjSpec.id": "spec1",
  "spec.vStorageObjSpec.datastoreMoRef": "spec2",
  "spec.vStorageObjSpec.ssId": "spec3",
  "spec.dsSpec.datastoreMoRef": "spec1",
  "spec.dsSpec.diskFolder": "spec2",
};

/** Offsets of all members that C's structure has, by C's names. */
function ourOffsets(struct: string, type: typeof Info, members: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    members.map((member) => [`${struct}.${member}`, koffi.offsetof(type, UNION_MEMBERS[member] ?? member)]),
  );
}

function membersOf(struct: string, facts: Readonly<Record<string, number>>): string[] {
  return Object.keys(facts)
    .filter((name) => name.startsWith(`${struct}.`))
    .map((name) => name.slice(struct.length + 1));
}

function picked(facts: Readonly<Record<string, number>>, names: readonly string[]): Record<string, number | undefined> {
  return Object.fromEntries(names.map((name) => [name, facts[name]]));
}

for (const release of ["8.0", "6.5"] as const) {
  await t.test(`structures have the layout that a C compiler gives those of ${release}`, async (t) => {
    const facts = await abi(release);
    const params = ourOffsets("ConnectParams", ConnectParams, membersOf("ConnectParams", facts));
    t.equal(Object.keys(params).length, release === "8.0" ? 22 : 14, "no member is left out");
    t.strictSame(params, picked(facts, Object.keys(params)), "ConnectParams");

    const sizes = ["logicalSectorSize", "physicalSectorSize"];
    const members = membersOf("Info", facts);
    const info = ourOffsets(
      "Info",
      Info,
      members.filter((member) => !sizes.includes(member)),
    );
    t.equal(Object.keys(info).length, 7);
    t.strictSame(info, picked(facts, Object.keys(info)), "Info");

    const block = ourOffsets("Block", Block, membersOf("Block", facts));
    t.strictSame(block, { "Block.offset": 0, "Block.length": 8 });
    t.strictSame(block, picked(facts, Object.keys(block)), "Block");
    t.equal(koffi.sizeof(Block), facts["sizeof Block"]);
    t.equal(BLOCK_LIST_HEAD_BYTES, facts["BlockList.blocks"], "where the blocks of a list begin");
    t.equal(facts["BlockList.numBlocks"], 0, "and their number before them");
  });
}

await t.test("structures are as large as the longest and the shortest of C's", async (t) => {
  const [current, old] = [await abi("8.0"), await abi("6.5")];
  t.equal(koffi.sizeof(ConnectParams), current["sizeof ConnectParams"]);
  t.equal(CONNECT_PARAMS_BYTES, current["sizeof ConnectParams"], "old releases get as much as new ones want");
  t.equal(koffi.offsetof(ConnectParams, "reserved"), old["sizeof ConnectParams"], "6.5 ends before what 6.7 added");
  t.equal(koffi.sizeof(Info), old["sizeof Info"], "Info is that of 6.5");
  const behind = koffi.sizeof(Info);
  for (const size of ["logicalSectorSize", "physicalSectorSize"]) {
    t.equal(behind + koffi.offsetof(InfoSectorSizes, size), current[`Info.${size}`], size);
  }
  t.equal(behind + koffi.sizeof(InfoSectorSizes), current["sizeof Info"]);
});

await t.test("numbers are those of the header", async (t) => {
  const facts = await abi("8.0");
  t.equal(CREDENTIALS_USER_PASSWORD, facts["VIXDISKLIB_CRED_UID"]);
  t.equal(SPEC_TYPE_VMX, facts["VIXDISKLIB_SPEC_VMX"]);
  t.equal(OPEN_READ_ONLY, facts["VIXDISKLIB_FLAG_OPEN_READ_ONLY"]);
  t.equal(VIX_OK, facts["VIX_OK"]);
  t.equal(VIX_ASYNC, facts["VIX_ASYNC"]);
});

async function exported(libDir: string, major: number): Promise<Set<string>> {
  const library = join(libDir, "lib64", `libvixDiskLib.so.${major}`);
  const lines = (await succeed("nm", ["-D", "--defined-only", library])).trim().split("\n");
  return new Set(lines.map((line) => (line.split(" ").at(-1) ?? "").replace(/^VixDiskLib_/, "")));
}

await t.test("8.0 exports every function of the table, 6.5 those that it had", async (t) => {
  const [current, old] = [await exported(VDDK_8, 8), await exported(VDDK_6, 6)];
  t.strictSame(
    NAMES.filter((name) => !current.has(name)),
    [],
  );
  const had = NAMES.filter((name) => VDDK_FUNCTIONS[name].since <= "6.5");
  t.strictSame(
    NAMES.filter((name) => old.has(name)),
    had,
  );
  t.ok(had.length < NAMES.length);
  const required = NAMES.filter((name) => VDDK_FUNCTIONS[name].need === "required");
  t.strictSame(
    required.filter((name) => !had.includes(name)),
    [],
    "nothing is required that 6.5 has not",
  );
});

/** How a value travels on x86-64: C's names for it and koffi's. */
const KINDS: Readonly<Record<string, string>> = {
  void: "nothing",
  VixError: "64 bits",
  VixDiskLibSectorType: "64 bits",
  uint64: "64 bits",
  uint64_t: "64 bits",
  uint32: "32 bits",
  uint32_t: "32 bits",
  Bool: "signed byte",
  int8_t: "signed byte",
  VixDiskLibConnection: "pointer",
  VixDiskLibHandle: "pointer",
  // As wide as a pointer: a number of ours in place of one that nobody follows.
  uintptr_t: "pointer",
};

/** @throws Error for a type that nobody has thought of */
function kindOf(declaration: string, what: "parameter" | "result"): string {
  const stars = declaration.split("*").length - 1;
  const word = declaration.replace(/\b(const|_Out_|VIXDISKLIB_EXPORT)\b/g, "").trim();
  if (stars > 0) return "pointer";
  const type = (what === "parameter" ? word.replace(/\s+\w+$/, "") : word).trim();
  const kind = KINDS[type];
  if (kind === undefined) throw new Error(`Nobody knows how "${type}" of "${declaration}" is passed`);
  return kind;
}

function kindsOf(parameters: string): string[] {
  const list = parameters.trim();
  return list === "" || list === "void" ? [] : list.split(",").map((one) => kindOf(one, "parameter"));
}

await t.test("prototypes have the parameters of the header's, of the same kinds", async (t) => {
  const header = (await readFile(HEADER, "utf8")).replace(/\/\*.*?\*\//gs, "");
  const declared = new Map(
    [...header.matchAll(/VIXDISKLIB_EXPORT\s+([\w\s*]+?)VixDiskLib_(\w+)\(([^()]*)\)/g)].map(
      ([, result = "", name = "", parameters = ""]) => [name, { result, parameters }],
    ),
  );
  for (const name of NAMES) {
    const theirs = declared.get(name);
    if (theirs === undefined) {
      t.fail(`the header has no ${name}`);
      continue;
    }
    const ours = VDDK_FUNCTIONS[name];
    t.strictSame(kindsOf(ours.parameters), kindsOf(theirs.parameters), name);
    t.equal(kindOf(ours.result, "result"), kindOf(theirs.result, "result"), `result of ${name}`);
  }
});
