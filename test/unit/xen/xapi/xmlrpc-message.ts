import fc from "fast-check";
import t from "tap";
import { ConfigError, IntegrityError } from "../../../../src/errors.js";
import { XapiFault } from "../../../../src/xen/xapi/fault.js";
import { parseAnswer, parseTaskResult, serializeCall } from "../../../../src/xen/xapi/xmlrpc-message.js";

const HEAD = '<?xml version="1.0"?><methodResponse><params><param>';
const TAIL = "</param></params></methodResponse>";

function success(value: string): Uint8Array {
  return answer(
    `<value><struct><member><name>Status</name><value>Success</value></member><member><name>Value</name>${value}</member></struct></value>`,
  );
}

function answer(value: string): Uint8Array {
  return Buffer.from(HEAD + value + TAIL);
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

await t.test("values as XAPI writes them", async (t) => {
  const cases: readonly (readonly [string, unknown])[] = [
    ["<value>text</value>", "text"],
    ["<value><string>text</string></value>", "text"],
    ["<value/>", ""],
    ["<value></value>", ""],
    ["<value>9007199254740993</value>", "9007199254740993"],
    ["<value><i4>3</i4></value>", "3"],
    ["<value><int>-1</int></value>", "-1"],
    ["<value><i8>9007199254740993</i8></value>", "9007199254740993"],
    ["<value><double>0.5</double></value>", 0.5],
    ["<value><boolean>1</boolean></value>", true],
    ["<value><boolean>0</boolean></value>", false],
    ["<value><dateTime.iso8601>20240131T10:20:30Z</dateTime.iso8601></value>", "20240131T10:20:30Z"],
    ["<value><array><data/></array></value>", []],
    [
      "<value><array><data><value>a</value><value><array><data></data></array></value></data></array></value>",
      ["a", []],
    ],
    ["<value><struct/></value>", {}],
    ["<value><struct><member><name>k</name><value>v</value></member></struct></value>", { k: "v" }],
    ["<value>&lt;a&gt; &amp; &quot;b&quot; \u00e9\u{1f600}</value>", '<a> & "b" \u00e9\u{1f600}'],
    ["<value><![CDATA[<a>]]></value>", "<a>"],
  ];
  for (const [xml, value] of cases) t.strictSame(plain(await parseAnswer(success(xml), "x")), value, xml);
});

await t.test("a member called like a prototype is a member", async (t) => {
  const xml = "<value><struct><member><name>__proto__</name><value>v</value></member></struct></value>";
  const value = await parseAnswer(success(xml), "x");
  t.strictSame(Object.entries(value), [["__proto__", "v"]]);
  t.equal(({} as Record<string, unknown>)["v"], undefined);
});

await t.test("a failure is a fault with its code and parameters", async (t) => {
  const xml =
    "<value><struct><member><name>Status</name><value>Failure</value></member><member><name>ErrorDescription</name>" +
    "<value><array><data><value>HANDLE_INVALID</value><value>VM</value><value>OpaqueRef:1</value></data></array></value></member></struct></value>";
  await t.rejects(parseAnswer(answer(xml), "x"), new XapiFault("HANDLE_INVALID", ["VM", "OpaqueRef:1"]));
  const odd = xml.replace("<value>VM</value>", "<value><struct></struct></value>");
  await t.rejects(parseAnswer(answer(odd), "x"), new XapiFault("HANDLE_INVALID", ["{}", "OpaqueRef:1"]));
});

await t.test("anything else is no answer", async (t) => {
  const nested = (depth: number): string =>
    "<value><array><data>".repeat(depth) + "</data></array></value>".repeat(depth);
  const hostile = [
    "",
    "not xml",
    "<html><body>500 Internal Error</body></html>",
    HEAD,
    HEAD + "<value><struct>",
    HEAD + "<value>bare</value>" + TAIL,
    HEAD + "<value><struct><member><name>Status</name></member></struct></value>" + TAIL,
    HEAD + "<value><struct><member><value>x</value></member></struct></value>" + TAIL,
    HEAD + "<value><struct><member><name>Status</name><value>Maybe</value></member></struct></value>" + TAIL,
    Buffer.from(success("<value><int>1e9</int></value>")).toString(),
    Buffer.from(success("<value><boolean>2</boolean></value>")).toString(),
    Buffer.from(success("<value><base64>AAAA</base64></value>")).toString(),
    Buffer.from(success("<value><nil/></value>")).toString(),
    Buffer.from(success("<value><script>1</script></value>")).toString(),
    Buffer.from(success(nested(100_000))).toString(),
    "<methodResponse><fault><value>no</value></fault></methodResponse>",
    "<methodResponse><fault></fault></methodResponse>",
    "<methodResponse><fault><value><struct><member><name>faultString</name><value><struct></struct></value></member></struct></value></fault></methodResponse>",
  ];
  for (const text of hostile) {
    await t.rejects(parseAnswer(Buffer.from(text), "host"), IntegrityError, text.slice(0, 60));
  }
});

await t.test("whatever comes is an answer, a fault or an IntegrityError", async (t) => {
  const piece = fc.constantFrom(
    ...[
      "<value>",
      "</value>",
      "<struct>",
      "</struct>",
      "<member>",
      "</member>",
      "<name>",
      "</name>",
      "<array>",
      "<data>",
    ],
    ...[
      "</data>",
      "</array>",
      "<param>",
      "</params>",
      "<int>",
      "</int>",
      "1",
      "&lt;",
      "&#x0;",
      "<!DOCTYPE a [",
      "]>",
      "<![CDATA[",
      "]]>",
    ],
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 40 }), async (pieces) => {
      const error: unknown = await parseAnswer(answer(pieces.join("")), "x").catch((error: unknown) => error);
      return !(error instanceof Error) || error instanceof IntegrityError || error instanceof XapiFault;
    }),
    { numRuns: 300 },
  );
  t.pass("300 messages of tags in any order");
});

await t.test("results of tasks: XML of a value, a bare reference, nothing", async (t) => {
  t.equal(await parseTaskResult("", "x"), "");
  t.equal(await parseTaskResult("OpaqueRef:1", "x"), "OpaqueRef:1");
  t.equal(await parseTaskResult("<value>OpaqueRef:1</value>", "x"), "OpaqueRef:1");
  const list = "<value><array><data><value>OpaqueRef:1</value></data></array></value>";
  t.strictSame(await parseTaskResult(list, "x"), ["OpaqueRef:1"]);
  await t.rejects(parseTaskResult("<value><script/></value>", "x"), IntegrityError);
});

await t.test("calls hold text as it is, and numbers as doubles", async (t) => {
  t.equal(
    serializeCall("event.from", ["OpaqueRef:1", ["task/x"], "", 60, true, { k: "<v> ]]> & \u00e9" }]),
    '<?xml version="1.0"?><methodCall><methodName>event.from</methodName><params>' +
      "<param><value><string>OpaqueRef:1</string></value></param>" +
      "<param><value><array><data><value><string>task/x</string></value></data></array></value></param>" +
      "<param><value><string/></value></param><param><value><double>60</double></value></param>" +
      "<param><value><boolean>1</boolean></value></param><param><value><struct><member><name>k</name>" +
      "<value><string>&lt;v&gt; ]]&gt; &amp; \u00e9</string></value></member></struct></value></param></params></methodCall>",
  );
  const error: unknown = await Promise.resolve()
    .then(() => serializeCall("session.login_with_password", ["root", "hunter\u0001two"]))
    .catch((error: unknown) => error);
  t.ok(error instanceof ConfigError);
  t.notMatch(JSON.stringify(error, Object.getOwnPropertyNames(error)), /hunter|two/, "the text is not shown");
});
