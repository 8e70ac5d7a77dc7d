import { createHash } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import { IntegrityError } from "../../../src/errors.js";
import {
  decodeRecord,
  encodeRecord,
  JOURNAL_VERSION,
  type JournalRecord,
} from "../../../src/snapshot/journal-record.js";
import { holds } from "../../fixtures/property.js";
import { sessionFacts } from "../../fixtures/snapshot-facts.js";

const ENVELOPE = { v: 1, seq: 0, session: "k3v9q2m7xa", time: "2026-03-04T05:06:07.890Z" } as const;
const PLANNED: JournalRecord = { ...ENVELOPE, event: "planned", facts: sessionFacts() };

void t.test("a record is one line of JSON with a checksum", (t) => {
  const line = encodeRecord({ ...ENVELOPE, event: "removed" });
  t.equal(
    line,
    '{"v":1,"seq":0,"session":"k3v9q2m7xa","time":"2026-03-04T05:06:07.890Z","event":"removed"}\t785db4c00c0a550d\n',
  );
  t.strictSame(decodeRecord(line.trimEnd()), { ...ENVELOPE, event: "removed" });
  t.end();
});

void t.test("decodeRecord() reads what encodeRecord() writes, whatever the texts hold", async (t) => {
  const text = fc.string({ unit: "grapheme" });
  const record = fc.oneof(
    fc.record({ event: fc.constant("leftover" as const), reason: text }),
    fc.record({ event: fc.constant("created" as const), snapshot: text, consistency: text }),
    fc
      .record({ event: fc.constant("planned" as const), facts: fc.record({ mountPoint: text }) })
      .map(({ event, facts }) => ({
        event,
        facts: sessionFacts(facts),
      })),
  );
  const property = fc.property(record, fc.nat(), (event, seq) => {
    const line = encodeRecord({ ...ENVELOPE, seq, ...event });
    if (line.indexOf("\n") !== line.length - 1) throw new Error("A record is more than one line");
    const decoded = decodeRecord(line.slice(0, -1));
    if (JSON.stringify(decoded) !== JSON.stringify({ ...ENVELOPE, seq, ...event })) throw new Error("It differs");
  });
  await holds(t, property, { runs: 300 });
});

void t.test("decodeRecord() notices every changed, lost and added character", (t) => {
  const line = encodeRecord(PLANNED).trimEnd();
  for (let at = 0; at < line.length; at++) {
    const other = line[at] === "x" ? "y" : "x";
    for (const damaged of [
      line.slice(0, at) + other + line.slice(at + 1),
      line.slice(0, at),
      line.slice(0, at) + line.slice(at + 1),
    ]) {
      if (decodeRecord(damaged) !== undefined) t.fail(`damage at ${at} is not noticed`);
    }
  }
  t.equal(decodeRecord(`${line}0`), undefined);
  t.equal(decodeRecord(""), undefined);
  t.equal(decodeRecord("\t"), undefined);
  t.end();
});

/** A line whose checksum is right, whatever it says. */
function whole(value: unknown): string {
  return encodeRecord(value as JournalRecord).trimEnd();
}

void t.test("decodeRecord() refuses a whole record of a form that it does not know", (t) => {
  const forms: unknown[] = [
    { ...PLANNED, v: JOURNAL_VERSION + 1 },
    { ...PLANNED, v: "1" },
    { ...PLANNED, seq: -1 },
    { ...PLANNED, event: "melted" },
    { ...PLANNED, facts: { ...sessionFacts(), vm: undefined } },
    { ...ENVELOPE, event: "created", snapshot: "s" },
    [],
    null,
    "text",
  ];
  for (const form of forms)
    t.throws(() => decodeRecord(whole(form)), IntegrityError, JSON.stringify(form).slice(0, 80));
  const text = "no JSON";
  const line = `${text}\t${createHash("sha256").update(text).digest("hex").slice(0, 16)}`;
  t.throws(() => decodeRecord(line), IntegrityError);
  t.end();
});

void t.test("decodeRecord() drops keys of a later minor version", (t) => {
  t.strictSame(decodeRecord(whole({ ...PLANNED, later: true, facts: { ...sessionFacts(), more: 1 } })), PLANNED);
  t.end();
});
