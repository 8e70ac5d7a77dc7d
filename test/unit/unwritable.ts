import t from "tap";
import { BusyError, errorFacts } from "../../src/errors.js";
import { unwritable } from "../../src/unwritable.js";

function told(cause: unknown): unknown {
  return unwritable({ doing: 'make a journal in "/s"', setting: "state.dir" }, cause);
}

function refusal(code: string): Error {
  return Object.assign(new Error(`${code}: no`), { code });
}

void t.test("what the system says of a file of ours", (t) => {
  for (const [code, exit, says] of [
    ["ENOSPC", "space", /^Cannot make a journal in "\/s": there is no room/],
    ["EDQUOT", "space", /quota/],
    ["EROFS", "config", /EROFS/],
  ] as const) {
    t.match(errorFacts(told(refusal(code))), { name: exit, message: says, hint: /state\.dir/ });
  }
  t.end();
});

void t.test("what the system did not say stays what it is", (t) => {
  for (const error of [new BusyError("held"), new TypeError("a bug")]) t.equal(told(error), error);
  t.end();
});
