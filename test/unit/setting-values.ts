import t from "tap";
import { flag, integer, timeoutMs } from "../../src/setting-values.js";

void t.test("a number has bounds, and its message names them", (t) => {
  const digit = integer(1, 9);
  t.equal(digit.parse("7"), 7);
  t.equal(digit.parse(9), 9);
  t.match(digit.safeParse("10").error?.message, /write an integer from 1 to 9/);
  t.match(digit.safeParse("0").error?.message, /write an integer from 1 to 9/);
  t.end();
});

void t.test("a flag is a word or a boolean, a time-out is longer than nothing", (t) => {
  for (const yes of [true, "true", "yes", "1"]) t.equal(flag.parse(yes), true);
  for (const no of [false, "false", "no", "0"]) t.equal(flag.parse(no), false);
  t.notOk(flag.safeParse("on").success);
  t.equal(timeoutMs.parse("2s"), 2000);
  t.match(timeoutMs.safeParse("0s").error?.message, /no time at all/);
  t.end();
});
