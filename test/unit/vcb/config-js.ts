import fc from "fast-check";
import t from "tap";
import { ConfigError } from "../../../src/errors.js";
import { parseConfigJs } from "../../../src/vcb/config-js.js";
import { holds } from "../../fixtures/property.js";

function values(text: string): Record<string, string> {
  return Object.fromEntries([...parseConfigJs(text, "config.js").entries].map(([key, { value }]) => [key, value]));
}

function only(text: string): string | undefined {
  return values(text)["A"];
}

void t.test("what VCB's own file looks like", (t) => {
  const text =
    '// Framework configuration\r\n//\r\n  // BACKUPROOT="x";\r\n' +
    'BACKUPROOT="C:\\\\mnt";\r\nHOST = "vc1.example.org" ;   // the server\r\nPORT=443;\r\n\tUSERNAME\t=\t"DOMAIN\\user";\r\n\r\n' +
    'PASSWORD="";MAX_RETRIES=0;\rBACKOFF_TIME = 10;\nHALF="a // b; c = \\"d\\"";';
  t.strictSame(values(text), {
    BACKUPROOT: "C:\\mnt",
    HOST: "vc1.example.org",
    PORT: "443",
    USERNAME: "DOMAIN\\user",
    PASSWORD: "",
    MAX_RETRIES: "0",
    BACKOFF_TIME: "10",
    HALF: 'a // b; c = "d"',
  });
  t.equal(parseConfigJs(text, "x").entries.get("USERNAME")?.line, 7);
  t.end();
});

void t.test("quotes of word processors, and paths that end in a backslash, are repaired with a warning", (t) => {
  const repaired: [text: string, value: string, warning: RegExp][] = [
    ["A = \u201cname\u201d;", "name", /typographic/],
    ["A = \u201ename\u201c;", "name", /typographic/],
    ['A = \u201cname";', "name", /typographic/],
    ['A = "name\u201d;', "name", /typographic/],
    ["A = \u2018name\u2019;", "name", /typographic/],
    ['A = "C:\\mnt";', "C:\\mnt", /single backslash/],
    ['A = "C:\\mnt\\";', "C:\\mnt\\", /single backslash/],
  ];
  for (const [text, value, warning] of repaired) {
    t.equal(only(text), value, text);
    t.match(parseConfigJs(text, "x").warnings, [{ line: 1, key: "A", message: warning }], text);
  }
  for (const fine of ['A = "C:\\\\mnt";', "A = 'x';", 'A="";', 'A = "it\u2019s";']) {
    t.strictSame(parseConfigJs(fine, "x").warnings, [], fine);
  }
  t.equal(only('A = "it\u2019s";'), "it\u2019s");
  t.end();
});

void t.test("the last of two counts, and both lines are told", (t) => {
  const { entries, warnings } = parseConfigJs("A=1;\nB=2;\nA=3;", "x");
  t.match(entries.get("A"), { value: "3", line: 3 });
  t.match(warnings, [{ line: 3, key: "A", message: /twice, in lines 1 and 3/ }]);
  t.end();
});

void t.test("anything else is refused with its line, and values are not shown", (t) => {
  const cases: [text: string, why: RegExp][] = [
    ["A", /"=" is missing/],
    ["A=", /neither a "text" nor a number/],
    ["A=;", /neither a "text" nor a number/],
    ["A=1", /";" is missing/],
    ['A="hunter2"', /";" is missing/],
    ['A="hunter2', /not closed/],
    ['A="hunter2;', /not closed/],
    ["A=hunter2;", /neither a "text" nor a number/],
    ["A=1.5;", /neither a "text" nor a number/],
    ["A=-1;", /neither a "text" nor a number/],
    ['A="x"+"hunter2";', /";" is missing/],
    ["var A=1;", /"=" is missing/],
    ["/* A=1; */", /neither a comment/],
    ["[section]", /neither a comment/],
    [`${"A".repeat(65)}=1;`, /neither a comment/],
    [`A="${"x".repeat(1025)}";`, /longer than 1024/],
    ['A="hunter2\u0000";', /control characters/],
    ["A=1; B", /"=" is missing after B/],
  ];
  for (const [text, why] of cases) {
    try {
      parseConfigJs(`// one\r\n\r\n${text}`, "config.js");
      t.fail(text);
    } catch (error) {
      t.match(error, { message: why, exitCode: 78 }, text);
      t.match((error as Error).message, /^Cannot read "config\.js", line 3: /);
      t.notMatch((error as Error).message, /hunter2/);
    }
  }
  t.end();
});

void t.test("whatever stands in quotes comes back", async (t) => {
  const text = fc.string({
    unit: fc.constantFrom("a", "\\", '"', "'", ";", "/", "=", " ", "\u201d", "ä", "%"),
    maxLength: 20,
  });
  await holds(
    t,
    fc.property(text, (value) => {
      const quoted = value.replace(/[\\"]/g, "\\$&");
      return only(`  A = "${quoted}" ; // "c`) === value;
    }),
    { runs: 1000 },
  );
});

void t.test("no text ends otherwise than read or refused", async (t) => {
  const piece = fc.constantFrom("A", "=", '"', "\\", ";", "//", " ", "1", "\n", "\r", "\u201c", "'", "\u0000", "é");
  await holds(
    t,
    fc.property(fc.string({ unit: piece, maxLength: 40 }), (text) => {
      try {
        return parseConfigJs(text, "x").entries.size <= text.length;
      } catch (error) {
        return error instanceof ConfigError;
      }
    }),
    { runs: 2000 },
  );
});
