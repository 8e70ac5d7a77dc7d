import t from "tap";
import { parseExpression } from "../../../../src/lab/xen/database/expression.js";
import type { Value } from "../../../../src/lab/xen/value.js";

const VM: Readonly<Record<string, Value>> = {
  name_label: `a "b" \\c`,
  is_a_snapshot: true,
  memory_static_max: 1024,
  snapshot_time: new Date("2024-01-31T10:20:30Z"),
  tags: ["x", "it's"],
  other_config: { k: "v" },
};
const NAMES: Readonly<Record<string, string>> = { name__label: "name_label", memory__static_max: "memory_static_max" };

function fits(expression: string): boolean {
  const isWanted = parseExpression(expression, (name) => NAMES[name] ?? (Object.hasOwn(VM, name) ? name : undefined));
  return isWanted((name) => VM[name]);
}

void t.test("values are compared as texts of the database", (t) => {
  const cases: [string, boolean][] = [
    ["true", true],
    ["  false ", false],
    [String.raw`field "name__label" = "a \"b\" \\c"`, true],
    [`field "is_a_snapshot" = "true"`, true],
    [`field is_a_snapshot="true"`, true],
    [`"true" = field "is_a_snapshot"`, true],
    [`field "memory__static_max" = "1024"`, true],
    [`field "memory__static_max" = "01024"`, false],
    [`field "snapshot_time" = "20240131T10:20:30Z"`, true],
    [String.raw`field "tags" = "('x' 'it\\'s')"`, true],
    [`field "other_config" = "(('k' 'v'))"`, true],
  ];
  for (const [expression, wanted] of cases) t.equal(fits(expression), wanted, expression);
  t.end();
});

void t.test("not binds closer than and, and that closer than or", (t) => {
  const cases: [string, boolean][] = [
    ["not false and false", false],
    ["not (false and false)", true],
    ["true or true and false", true],
    ["(true or true) and false", false],
    ["not not true", true],
    ["false or false or true", true],
  ];
  for (const [expression, wanted] of cases) t.equal(fits(expression), wanted, expression);
  t.end();
});

void t.test("what cannot be read is an INVALID_VALUE with the text", (t) => {
  const bad = [
    "",
    "field",
    `field "no_such" = "x"`,
    `field "is_a_snapshot" "true"`,
    "(true",
    "true true",
    "true and",
    "truth",
    `field "is_a_snapshot" = true`,
    `"open`,
    "true ; drop",
    `${"(".repeat(200)}true${")".repeat(200)}`,
  ];
  for (const expression of bad) {
    t.throws(() => fits(expression), { code: "INVALID_VALUE" }, expression.slice(0, 30));
  }
  t.end();
});
