import fc from "fast-check";
import t from "tap";
import { IntegrityError } from "../../../src/errors.js";
import { child, childrenNamed, integerAt, isTrue, toBytes, toInteger, toMoRef } from "../../../src/vsphere/element.js";
import { escapeXml, parseXml } from "../../../src/vsphere/xml.js";
import { holds } from "../../fixtures/property.js";

const XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"';

await t.test("xsi:type is found by namespace, whatever its prefix is", (t) => {
  for (const prefix of ["xsi", "XMLSchema-instance", "i"]) {
    const root = parseXml(
      `<r xmlns:${prefix}="http://www.w3.org/2001/XMLSchema-instance"><v ${prefix}:type="vim:VirtualDisk"/></r>`,
    );
    t.equal(child(root, "v")?.xsiType, "VirtualDisk");
  }
  const other = parseXml('<r xmlns:o="urn:other"><v o:type="x" type="HostSystem">host-1</v></r>');
  t.match(child(other, "v"), { xsiType: undefined, type: "HostSystem" });
  t.end();
});

await t.test("a reference keeps both of its type attributes", (t) => {
  const value = child(parseXml(`<r ${XSI}><v xsi:type="ManagedObjectReference" type="HostSystem">host-1</v></r>`), "v");
  t.match(value, { xsiType: "ManagedObjectReference", type: "HostSystem" });
  t.strictSame(toMoRef(value), { type: "HostSystem", id: "host-1" });
  t.throws(() => toMoRef(child(parseXml("<r><v>host-1</v></r>"), "v")), IntegrityError);
  t.end();
});

await t.test("texts stay what they are", (t) => {
  const root = parseXml(
    "<r><a>007</a><b> x </b><c>true</c><d>1e3</d><e/><f><![CDATA[<&amp;>]]></f><g>a&#x41;&#66;&lt;&amp;lt;&unknown;</g></r>",
  );
  t.strictSame(
    root.children.map(({ text }) => text),
    ["007", " x ", "true", "1e3", "", "<&amp;>", "aAB<&lt;&unknown;"],
  );
  t.end();
});

await t.test("order and repetition survive", (t) => {
  const root = parseXml("<r><a>1</a><b/><a>2</a></r>");
  t.strictSame(
    root.children.map(({ name }) => name),
    ["a", "b", "a"],
  );
  t.equal(childrenNamed(root, "a").length, 2);
  t.end();
});

await t.test("hostile and broken documents are refused", (t) => {
  const bomb = '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><r>&b;</r>';
  const deep = "<a>".repeat(5000) + "</a>".repeat(5000);
  for (const text of [bomb, deep, "", "no xml", "<r><a>cut off", "<r/><r/>", "<r></r>trailing"]) {
    t.throws(() => parseXml(text), IntegrityError, text.slice(0, 20));
  }
  t.end();
});

await t.test("any text survives being escaped and parsed", async (t) => {
  // Characters that XML 1.0 cannot carry are replaced, so they are left out here.
  const text = fc
    .string({ unit: "binary" })
    .filter((value) => !/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(value));
  await holds(
    t,
    fc.property(text, (value) => parseXml(`<r><a>${escapeXml(value)}</a></r>`).children[0]?.text === value),
    { runs: 300 },
  );
  t.equal(escapeXml("a\u0000b\u001f"), "a\ufffdb\ufffd");
});

await t.test("numbers are exact or refused", (t) => {
  const of = (text: string) => parseXml(`<r><n>${text}</n></r>`);
  t.equal(integerAt(of("9007199254740991"), "n"), 9007199254740991);
  t.equal(integerAt(of("-5"), "n"), -5);
  t.equal(integerAt(of("1"), "absent"), undefined);
  for (const text of ["9007199254740993", "1.5", "1e3", "", "0x10", "99999999999999999999"]) {
    t.throws(() => integerAt(of(text), "n"), IntegrityError, text);
  }
  const number = (text: string) => child(of(text), "n")!;
  t.throws(() => toBytes(number("-1")), IntegrityError);
  t.throws(() => toBytes(number("9007199254740991"), 1024), IntegrityError);
  t.equal(toBytes(number("4"), 1024), 4096);
  t.equal(toInteger(number("12")), 12);
  t.ok(isTrue(number("true")) && isTrue(number("1")));
  t.notOk(isTrue(number("false")) || isTrue(undefined));
  t.end();
});
