import t from "tap";
import { parseTransports } from "../../src/transports.js";

void t.test("an order is read with colons or commas, once each, in any case", (t) => {
  t.strictSame(parseTransports("san:hotadd:nbdssl:nbd:https"), ["san", "hotadd", "nbdssl", "nbd", "https"]);
  t.strictSame(parseTransports(" NBD, https:nbd "), ["nbd", "https"]);
  t.strictSame(parseTransports("nbd:http"), ["nbd", "http"], "those of Xen");
  t.equal(parseTransports("auto"), "auto");
  t.end();
});

void t.test("what is no transport is named, with what may have been meant", (t) => {
  t.throws(() => parseTransports("hotad"), { name: "RangeError", message: /"hotad": did you mean "hotadd"\?/ });
  t.throws(() => parseTransports("ftp"), { message: /"ftp": write some of san:hotadd/ });
  t.throws(() => parseTransports("::"), { message: /no transport at all/ });
  t.throws(() => parseTransports("auto:https"), { message: /"auto"/ });
  t.end();
});
