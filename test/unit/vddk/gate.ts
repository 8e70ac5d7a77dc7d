import t from "tap";
import { Gate } from "../../../src/vddk/gate.js";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

void t.test("who is alone is alone, goes before those who come later, and after those inside", async (t) => {
  const gate = new Gate();
  const steps: string[] = [];
  const work = (name: string) => async (): Promise<void> => {
    steps.push(`${name} in`);
    await turn();
    await turn();
    steps.push(`${name} out`);
  };
  await Promise.all([
    gate.together(work("a")),
    gate.together(work("b")),
    gate.alone(work("A")),
    gate.alone(work("B")),
    turn().then(() => gate.together(work("c"))),
  ]);
  t.strictSame(steps, ["a in", "b in", "a out", "b out", "A in", "A out", "B in", "B out", "c in", "c out"]);
});

void t.test("a failure inside lets the others go on", async (t) => {
  const gate = new Gate();
  await t.rejects(
    gate.together(() => Promise.reject(new Error("one"))),
    { message: "one" },
  );
  await t.rejects(
    gate.alone(() => Promise.reject(new Error("two"))),
    { message: "two" },
  );
  t.equal(await gate.alone(() => 3), 3);
  t.equal(await gate.together(() => Promise.resolve(4)), 4);
});
