import fc from "fast-check";
import t from "tap";
import { mountName, type MountNameFacts, parseMountName } from "../../src/mount-name.js";
import { holds } from "../fixtures/property.js";

const DEFAULT = "{type}-{name}-{instanceuuid8}";
const FACTS: MountNameFacts = {
  type: "fullvm",
  name: "web01",
  instanceUuid: "50112233-4455-6677-8899-aabbccddeeff",
  server: "vc1",
  session: "k3v9q2m7xa",
  ref: "vm-42",
};

void t.test("a name tells type, VM and UUID", (t) => {
  t.equal(mountName(DEFAULT, FACTS), "fullvm-web01-50112233");
  t.equal(mountName("{server}.{session}_{instanceuuid}", FACTS), `vc1.k3v9q2m7xa_${FACTS.instanceUuid}`);
  t.equal(mountName(DEFAULT, { ...FACTS, name: 'Jörg\'s "50%25" a/b VM' }), "fullvm-Jörg_s__50_25__a_b_VM-50112233");
  t.equal(mountName("{name}", { ...FACTS, name: ".." }), "_.");
  t.end();
});

void t.test("a VM without instance UUID has a stable name all the same", (t) => {
  const bare = { ...FACTS, instanceUuid: undefined };
  t.match(mountName(DEFAULT, bare), /^fullvm-web01-[0-9a-f]{8}$/);
  t.equal(mountName(DEFAULT, bare), mountName(DEFAULT, bare));
  t.not(mountName(DEFAULT, bare), mountName(DEFAULT, { ...bare, ref: "vm-43" }));
  t.end();
});

void t.test("a template that cannot work is refused with a suggestion", (t) => {
  const cases: [template: string, why: RegExp][] = [
    ["{nmae}", /did you mean \{name\}/],
    ["{zzz}-{name}", /none of \{type\}/],
    ["fixed", /same directory/],
    ["{type}", /same directory/],
    ["", /same directory/],
    ["../{name}", /may hold letters/],
    ["{name}/x", /may hold letters/],
    [".{name}", /may hold letters/],
    ["{name} x", /may hold letters/],
    [`{name}${"x".repeat(120)}`, /may hold letters/],
  ];
  for (const [template, why] of cases) t.throws(() => parseMountName(template), why, template);
  t.end();
});

void t.test("whatever a VM is called, the name is one safe part of a path", async (t) => {
  await holds(
    t,
    fc.property(fc.string({ unit: "binary", maxLength: 90 }), (name) => {
      const made = mountName("{name}-{name}-{name}-{name}", { ...FACTS, name });
      return (
        made !== "" && !made.startsWith(".") && Buffer.byteLength(made) <= 255 && /^[\p{L}\p{M}\p{N}._-]+$/u.test(made)
      );
    }),
    { runs: 200 },
  );
});
