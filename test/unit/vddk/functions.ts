import t from "tap";
import { prototypeOf, symbolOf, VDDK_FUNCTIONS, type VddkFunctionName } from "../../../src/vddk/functions.js";

void t.test("every function has a prototype that reads as C", (t) => {
  for (const name of Object.keys(VDDK_FUNCTIONS) as VddkFunctionName[]) {
    t.match(prototypeOf(name), new RegExp(`^(uint64_t|void|void \\*|const char \\*) ?${symbolOf(name)}\\([^()]*\\)$`));
  }
  t.equal(prototypeOf("Exit"), "void VixDiskLib_Exit()");
  t.end();
});

void t.test("what came after 6.5 is never required", (t) => {
  for (const { since, need } of Object.values(VDDK_FUNCTIONS)) if (since === "6.7") t.equal(need, "optional");
  t.end();
});
