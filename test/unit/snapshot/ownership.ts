import fc from "fast-check";
import t from "tap";
import { describeOwnership, isOfSession, readOwnership, snapshotName } from "../../../src/snapshot/ownership.js";
import { holds } from "../../fixtures/property.js";

const MARK = {
  version: "1.0.0",
  session: "k3v9q2m7xa",
  host: "backup1",
  mountPoint: '/mnt/"b\\ü\n',
  created: "2026-03-04T05:06:07.890Z",
};
const OURS = { name: snapshotName(MARK.session), description: describeOwnership(MARK) };

void t.test("a mark is one line, and is read back", (t) => {
  t.equal(OURS.name, "vmmount-k3v9q2m7xa");
  t.notMatch(OURS.description, /\n/);
  t.strictSame(readOwnership(OURS), { tool: "vmmount", ...MARK });
  t.ok(isOfSession(OURS, MARK.session));
  t.notOk(isOfSession(OURS, "0000000000"));
  t.end();
});

void t.test("nothing is ours that lacks the name, the mark, or the match of both", (t) => {
  const mark = JSON.parse(OURS.description) as Record<string, unknown>;
  const marked = (change: Record<string, unknown>): string => JSON.stringify({ ...mark, ...change });
  const foreign = [
    { ...OURS, name: "nightly" },
    { ...OURS, name: "vmmount-" },
    { ...OURS, name: "Vmmount-k3v9q2m7xa" },
    { ...OURS, name: `${OURS.name} (copy)` },
    { ...OURS, description: "" },
    { ...OURS, description: "{" },
    { ...OURS, description: ` ${OURS.description}` },
    { ...OURS, description: `${OURS.description}\nNote: keep!` },
    { ...OURS, description: `[${OURS.description}]` },
    { ...OURS, description: marked({ tool: "veeam" }) },
    { ...OURS, description: marked({ session: "0000000000" }) },
    { ...OURS, description: marked({ session: undefined }) },
    { ...OURS, description: marked({ host: 7 }) },
  ];
  for (const one of foreign) t.equal(readOwnership(one), undefined, JSON.stringify(one));
  t.end();
});

void t.test("a mark of a later version with more to say is still ours", (t) => {
  const description = JSON.stringify({ ...(JSON.parse(OURS.description) as object), policy: "automatic" });
  t.ok(isOfSession({ ...OURS, description }, MARK.session));
  t.end();
});

void t.test("whatever a description says, reading it never throws", async (t) => {
  const description = fc.oneof(
    fc.string(),
    fc.json(),
    fc.json().map((json) => `{"tool":"vmmount","session":${json}}`),
  );
  const property = fc.property(description, fc.string(), (text, name) => {
    for (const one of [name, OURS.name]) {
      if (readOwnership({ name: one, description: text }) !== undefined) throw new Error("It is taken for ours");
    }
  });
  await holds(t, property, { runs: 500 });
});
