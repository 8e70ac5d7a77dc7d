import t from "tap";
import { httpsOfXenUrl, isXenUrl, xenUrl } from "../../src/xen-url.js";

void t.test("a xen URL names a host and speaks HTTPS", (t) => {
  t.equal(httpsOfXenUrl("xen://pool.example.org"), "https://pool.example.org");
  t.equal(httpsOfXenUrl("XEN://Pool.example.org:443/"), "https://pool.example.org");
  t.equal(httpsOfXenUrl("xen://[fd00::1]:8443"), "https://[fd00::1]:8443");
  t.equal(xenUrl("XEN://Pool.example.org:443/"), "xen://pool.example.org", "one spelling");
  t.ok(isXenUrl("xen:whatever") && !isXenUrl("https://xen.example.org"));
  t.end();
});

void t.test("what is none is told", (t) => {
  for (const text of [
    "xen:pool",
    "xen://",
    "xen://root:secret@pool",
    "xen://pool/x",
    "xen://pool:0x1",
    "xen://po ol",
    "xen://pool?x",
  ]) {
    t.throws(() => httpsOfXenUrl(text), { name: "RangeError", message: /write "xen:\/\/host"/ }, text);
  }
  t.end();
});
