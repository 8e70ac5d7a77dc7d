import t from "tap";
import { TomlLines } from "../../src/toml-lines.js";

const TEXT = `# a comment = no
default_server = "vc1"

[server.vc1]
url = "https://vc1"
"user" = '''
password = "not a key"
'''
[ server . "vc.2" ]
'url' = "x = y"
note = """one line"""
user = "u"
[mount]
cache_size = "8MiB"
server.vc3 = { url = "https://vc3", bogus = 1 }
[[array]]
x = 1
=
[broken
"half = 1`;

void t.test("each key is found at its line, also below quotes, tables and texts of several lines", (t) => {
  const lines = new TomlLines(TEXT);
  const cases: [path: string[], line: number | undefined][] = [
    [["default_server"], 2],
    [["server", "vc1"], 4],
    [["server", "vc1", "url"], 5],
    [["server", "vc1", "user"], 6],
    [["server", "vc.2"], 9],
    [["server", "vc.2", "url"], 10],
    [["server", "vc.2", "user"], 12],
    [["mount", "cache_size"], 14],
    [["mount", "server", "vc3", "bogus"], 15],
    [["array"], 16],
    [["array", "x"], 17],
    [["nothing"], undefined],
  ];
  for (const [path, line] of cases) t.equal(lines.of(path), line, path.join("."));
  t.equal(lines.of(["server", "vc1", "password"]), 4, "a line of a text is no key: the table is named");
  t.equal(lines.of(["server", "vc1", "absent"]), 4, "a key that is not there is named by its table");
  t.equal(new TomlLines("").of(["x"]), undefined);
  t.end();
});

void t.test("lines of Windows count the same", (t) => {
  t.equal(new TomlLines("a = 1\r\n[b]\r\nc = 2\r\n").of(["b", "c"]), 3);
  t.end();
});
