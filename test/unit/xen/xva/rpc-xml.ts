import fc from "fast-check";
import t from "tap";
import {
  isTrue,
  rpcArray,
  rpcBoolean,
  rpcStruct,
  rpcText,
  type RpcValue,
  textOf,
} from "../../../../src/xen/xva/rpc-value.js";
import { formatRpcXml, OVA_XML_BYTES_MAX, parseRpcXml } from "../../../../src/xen/xva/rpc-xml.js";
import { holds } from "../../../fixtures/property.js";
import { readRpcText } from "../../../fixtures/xen/rpc-text.js";

const parsed = (text: string): RpcValue => parseRpcXml(Buffer.from(text));

void t.test("what XAPI writes comes back byte for byte", (t) => {
  const texts = [
    "<value/>",
    "<value>web &amp; &lt;co&gt; &quot;x&quot;</value>",
    "<value>  two  spaces\n</value>",
    "<value><array><data/></array></value>",
    "<value><struct/></value>",
    "<value><boolean>1</boolean></value>",
    "<value><double>1.5</double></value>",
    "<value><dateTime.iso8601>19700101T00:00:00Z</dateTime.iso8601></value>",
    "<value><struct><member><name>b</name><value>007</value></member><member><name>a</name><value/></member></struct></value>",
    "<value><array><data><value><string>s</string></value><value><i4>3</i4></value></data></array></value>",
  ];
  for (const text of texts) t.equal(formatRpcXml(parsed(text)), text);
  t.end();
});

void t.test("what others write is read: declaration, white space, entities, CDATA", (t) => {
  const text = `<?xml version="1.0"?>\n<value> <struct>\n <member> <name>a&apos;</name> <value><![CDATA[<x>]]>&#65;</value> </member></struct> </value>\n`;
  const value = parsed(text);
  t.equal(value.kind === "struct" && textOf(value.members.get("a'")), "<x>A");
  t.equal(isTrue(parsed("<value><boolean>1</boolean></value>")), true);
  t.end();
});

void t.test("any value comes back, and another reader sees the same", async (t) => {
  const text = fc
    .string({ unit: "grapheme", maxLength: 20 })
    .map((one) => one.replace(/[\u0000-\u001f\ufffe\uffff]/g, ""));
  const { value } = fc.letrec<{ value: RpcValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      text.map(rpcText),
      fc.boolean().map(rpcBoolean),
      fc.array(tie("value"), { maxLength: 4 }).map(rpcArray),
      fc.array(fc.tuple(text, tie("value")), { maxLength: 4 }).map(rpcStruct),
    ),
  }));
  const plain = (one: RpcValue): unknown => {
    if (one.kind === "array") return one.items.map(plain);
    if (one.kind === "scalar") return one.type === "boolean" ? one.text === "1" : one.text;
    return Object.fromEntries([...one.members].map(([name, member]) => [name, plain(member)]));
  };
  const property = fc.property(value, (one) => {
    const xml = formatRpcXml(one);
    const again = parsed(xml);
    return formatRpcXml(again) === xml && JSON.stringify(plain(again)) === JSON.stringify(readRpcText(xml));
  });
  await holds(t, property, { runs: 300 });
});

void t.test("what XML cannot carry is replaced, and what ends lines stays", (t) => {
  t.equal(formatRpcXml(rpcText("a\u0000b\u001bc\rd\n")), "<value>a\ufffdb\ufffdc&#13;d\n</value>");
  t.equal(textOf(parsed("<value>a&#13;b</value>")), "a\rb");
  t.end();
});

void t.test("hostile documents are refused", (t) => {
  const nested = `${"<value><array><data>".repeat(40)}<value/>${"</data></array></value>".repeat(40)}`;
  const cases: Readonly<Record<string, [string, RegExp]>> = {
    "a document type": ['<!DOCTYPE value [<!ENTITY a "aaaa">]><value>&a;</value>', /document type/],
    "zero bytes": ["<value>\0</value>", /zero bytes/],
    "something else": ["<html/>", /complete value|<html>/],
    "half a document": ["<value><struct><member><name>a</name>", /complete value|valid XML/],
    "two values": ["<value>1</value><value>2</value>", /complete value/],
    "two things in a value": ["<value><int>1</int><int>2</int></value>", /more than one thing/],
    "text beside a struct": ["<value>x<struct/></value>", /more than one thing/],
    "an unknown type": ["<value><float16>1</float16></value>", /type <float16>/],
    "a name twice": [
      "<value><struct><member><name>a</name><value/></member><member><name>a</name><value/></member></struct></value>",
      /two members "a"/,
    ],
    "a member without a value": [
      "<value><struct><member><name>a</name></member></struct></value>",
      /needs one <value>/,
    ],
    "no character": ["<value>&#0;</value>", /no character/],
    "values in values in values": [nested, /valid XML|nested/],
  };
  for (const [what, [text, message]] of Object.entries(cases)) {
    t.throws(() => parsed(text), { name: "IntegrityError", message }, what);
  }
  t.throws(() => parseRpcXml(Buffer.alloc(OVA_XML_BYTES_MAX + 1, " ")), { message: /bytes, more than/ });
  const proto = parsed("<value><struct><member><name>__proto__</name><value>x</value></member></struct></value>");
  t.equal(proto.kind === "struct" && textOf(proto.members.get("__proto__")), "x");
  t.equal(formatRpcXml(rpcStruct([["toString", rpcArray([])]])).includes("toString"), true);
  t.end();
});
