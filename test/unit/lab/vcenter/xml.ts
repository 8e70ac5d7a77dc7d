import t from "tap";
import { Fault } from "../../../../src/lab/vcenter/faults.js";
import { escapeXml, parseXml, xsiType } from "../../../../src/lab/vcenter/xml.js";

await t.test("namespaces, both kinds of type attribute, entities, CDATA", (t) => {
  const root = parseXml(
    `<?xml version="1.0"?><!-- c --><a:b xmlns:a="u" xmlns="d" xmlns:q="http://www.w3.org/2001/XMLSchema-instance">` +
      `<c q:type='a:T' type="VirtualMachine">x &amp; &lt;&#228;&#x1F600;&unknown;<![CDATA[<z&]]></c><d/></a:b>\n`,
  );
  t.equal(root.name, "b");
  t.equal(root.namespace, "u");
  const [c, d] = root.children;
  t.equal(c?.namespace, "d");
  t.equal(c?.text, "x & <\u00e4\u{1F600}&unknown;<z&");
  t.equal(c === undefined ? "" : xsiType(c), "T");
  t.equal(c?.attributes.get("type"), "VirtualMachine");
  t.equal(d?.children.length, 0);
  t.end();
});

await t.test("what is not one well-formed element is a fault", (t) => {
  const bad = [
    "",
    "text",
    "<a>",
    "<a></b>",
    "</a>",
    "<a/><b/>",
    "<a/>text",
    "<x:a/>",
    "<a b=c/>",
    "<a b='<'/>",
    "<a",
    `<!DOCTYPE a [<!ENTITY e "e">]><a>&e;</a>`,
    "<a>".repeat(100) + "</a>".repeat(100),
  ];
  for (const text of bad) t.throws(() => parseXml(text), Fault, text.slice(0, 30));
  t.end();
});

await t.test("escaping", (t) => {
  t.equal(escapeXml(`<&">\u0007\r`), "&lt;&amp;&quot;&gt;\ufffd&#xD;");
  t.end();
});
