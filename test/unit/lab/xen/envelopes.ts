import t from "tap";
import { XapiFault } from "../../../../src/lab/xen/fault.js";
import { parseJsonCall } from "../../../../src/lab/xen/rpc/json-message.js";
import { parseXmlCall } from "../../../../src/lab/xen/rpc/xml-message.js";
import { xmlValue } from "../../../../src/lab/xen/rpc/xml-values.js";
import { Double, SmallInt, type Value } from "../../../../src/lab/xen/value.js";

const FAULT = new XapiFault("HANDLE_INVALID", "VM", "OpaqueRef:<x>");

void t.test("XML-RPC values are written to the letter", (t) => {
  const cases: [Value, string][] = [
    ["", "<value></value>"],
    [`<&>"'`, `<value>&lt;&amp;&gt;&quot;'</value>`],
    ["a\u0000\u001b\tb\r\n", "<value>a\tb\r\n</value>"],
    [2 ** 53 - 1, "<value>9007199254740991</value>"],
    [new SmallInt(7), "<value><i4>7</i4></value>"],
    [new Double(1), "<value><double>1</double></value>"],
    [new Double(0.1), "<value><double>0.1</double></value>"],
    [true, "<value><boolean>1</boolean></value>"],
    [new Date(0), "<value><dateTime.iso8601>19700101T00:00:00Z</dateTime.iso8601></value>"],
    [["a", 1], "<value><array><data><value>a</value><value>1</value></data></array></value>"],
    [[], "<value><array><data></data></array></value>"],
    [{ k: "v" }, "<value><struct><member><name>k</name><value>v</value></member></struct></value>"],
  ];
  for (const [value, text] of cases) t.equal(xmlValue(value), text);
  t.end();
});

void t.test("an XML-RPC call", (t) => {
  const message = parseXmlCall(
    `<?xml version="1.0"?>\n<methodCall> <methodName>VM.test</methodName><params>
     <param><value>plain</value></param><param><value><string> kept </string></value></param>
     <param><value><int>-5</int></value></param><param><value><double>60.1</double></value></param>
     <param><value><boolean>0</boolean></value></param><param><value/></param>
     <param><value><dateTime.iso8601>20240131T10:20:30Z</dateTime.iso8601></value></param>
     <param><value><array><data><value>a</value></data></array></value></param>
     <param><value><struct><member><name>k&amp;</name><value>v</value></member></struct></value></param>
     </params></methodCall>`,
  );
  t.equal(message.method, "VM.test");
  t.strictSame(message.params, [
    "plain",
    " kept ",
    -5,
    new Double(60.1),
    false,
    "",
    new Date("2024-01-31T10:20:30Z"),
    ["a"],
    { "k&": "v" },
  ]);
  const open = `<?xml version="1.0"?><methodResponse><params><param><value>`;
  const close = `</value></param></params></methodResponse>`;
  const member = (name: string, value: string): string =>
    `<member><name>${name}</name><value>${value}</value></member>`;
  t.equal(
    message.success("x", false),
    `${open}<struct>${member("Status", "Success")}${member("Value", "x")}</struct>${close}`,
  );
  t.equal(message.success("x", true), `${open}x${close}`);
  const description = ["HANDLE_INVALID", "VM", "OpaqueRef:&lt;x&gt;"].map((text) => `<value>${text}</value>`).join("");
  t.equal(
    message.failure(FAULT),
    `${open}<struct>${member("Status", "Failure")}${member("ErrorDescription", `<array><data>${description}</data></array>`)}</struct>${close}`,
  );
  t.end();
});

void t.test("JSON-RPC of both versions", (t) => {
  const params = ["s", 5, 1.5, true, ["a"], { k: "v" }];
  const v2 = parseJsonCall(JSON.stringify({ jsonrpc: "2.0", id: "a", method: "VM.test", params }), "8.2");
  t.strictSame(v2.params, ["s", 5, new Double(1.5), true, ["a"], { k: "v" }]);
  const answer: Value = { at: new Date(0), n: 5, d: new Double(0.5), i: new SmallInt(1) };
  const json = { at: "19700101T00:00:00Z", n: 5, d: 0.5, i: 1 };
  t.strictSame(JSON.parse(v2.success(answer, false)), { jsonrpc: "2.0", result: json, id: "a" });
  const error = { code: 1, message: "HANDLE_INVALID", data: ["VM", "OpaqueRef:<x>"] };
  t.strictSame(JSON.parse(v2.failure(FAULT)), { jsonrpc: "2.0", error, id: "a" });

  const old = { result: null, error: ["HANDLE_INVALID", "VM", "OpaqueRef:<x>"], id: 7 };
  const v1 = parseJsonCall(JSON.stringify({ id: 7, method: "VM.test", params: [] }), "8.3");
  t.strictSame(JSON.parse(v1.success("x", false)), { result: "x", error: null, id: 7 });
  t.strictSame(JSON.parse(v1.failure(FAULT)), old);
  const before73 = parseJsonCall(JSON.stringify({ jsonrpc: "2.0", id: 7, method: "VM.test", params: [] }), "7.1");
  t.strictSame(JSON.parse(before73.failure(FAULT)), old, "a release that knows one form answers in it");
  t.end();
});

void t.test("what is no call is told from a call that fails", (t) => {
  const value = (inside: string): string =>
    `<methodCall><methodName>a</methodName><params><param><value>${inside}</value></param></params></methodCall>`;
  const xml = [
    "",
    "hello",
    "<methodCall/>",
    "<!DOCTYPE x><methodCall><methodName>a</methodName></methodCall>",
    "<methodCall><methodName>a</methodName><params><param/></params></methodCall>",
    value("<int>1.5</int>"),
    value("<double></double>"),
    value("<base64>AA==</base64>"),
    value("<int>1</int><int>2</int>"),
    value("<dateTime.iso8601>yesterday</dateTime.iso8601>"),
    value("<struct><member><name>a</name></member></struct>"),
  ];
  for (const text of xml) t.throws(() => parseXmlCall(text), { name: "MalformedCall" }, text.slice(-60));
  const json = ["", "[]", "{}", `{"method":"a","params":[]}`, `{"method":"a","params":[null],"id":1}`];
  for (const text of json) t.throws(() => parseJsonCall(text, "8.3"), { name: "MalformedCall" }, text);
  t.end();
});
