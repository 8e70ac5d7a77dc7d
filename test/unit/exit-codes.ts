import t from "tap";
import { EXIT_CODES, exitName } from "../../src/exit-codes.js";

void t.test("no code has a meaning for backup products", (t) => {
  const codes = Object.values(EXIT_CODES).map(({ code }) => code);
  t.equal(new Set(codes).size, codes.length, "each code once");
  for (const code of codes) {
    t.ok(code === 0 || (code >= 64 && code <= 128), `${code}`);
    t.not(code, 75);
  }
  t.end();
});

void t.test("exitName() finds every code, signals and strangers", (t) => {
  for (const [name, { code }] of Object.entries(EXIT_CODES)) t.equal(exitName(code), name);
  t.equal(exitName(130), "signal");
  t.equal(exitName(1), "internal");
  t.end();
});
