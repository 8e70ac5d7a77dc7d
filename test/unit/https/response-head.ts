import fc from "fast-check";
import t from "tap";
import { InvalidAnswer, parseResponseHead } from "../../../src/https/response-head.js";

const parse = (...lines: readonly string[]) => parseResponseHead(lines.join("\r\n"));

void t.test("a range as servers answer it", (t) => {
  t.strictSame(
    parse(
      "HTTP/1.1 206 Partial Content",
      "Content-Type: application/octet-stream",
      "Content-Range:bytes 0-1048575/8589934592 ",
      "Content-Length: 1048576",
      "Set-Cookie: a=1",
      "Set-Cookie: b=2",
    ),
    {
      status: 206,
      headers: {
        "content-type": "application/octet-stream",
        "content-range": "bytes 0-1048575/8589934592",
        "content-length": "1048576",
        "set-cookie": ["a=1", "b=2"],
      },
      framing: 1048576,
      staysOpen: true,
    },
  );
  t.equal(parse("HTTP/1.1 200").status, 200, "a status without a reason");
  t.end();
});

void t.test("where the body ends", (t) => {
  const ends: readonly (readonly [lines: readonly string[], framing: number | string])[] = [
    [["HTTP/1.1 206 x", "content-length: 0"], 0],
    [["HTTP/1.1 206 x", "content-length: 5", "Content-Length: 5"], 5],
    [["HTTP/1.1 204 x"], 0],
    [["HTTP/1.1 304 x", "content-length: 5"], 0],
    [["HTTP/1.1 100 Continue"], 0],
    [["HTTP/1.1 200 x"], "connection"],
    [["HTTP/1.1 200 x", "transfer-encoding: Chunked"], "chunked"],
  ];
  for (const [lines, expected] of ends) t.equal(parse(...lines).framing, expected, lines.join(" | "));
  t.end();
});

void t.test("whether the connection stays", (t) => {
  t.equal(parse("HTTP/1.1 200 OK", "content-length: 1").staysOpen, true);
  t.equal(parse("HTTP/1.1 200 OK", "content-length: 1", "Connection: Close").staysOpen, false);
  t.equal(parse("HTTP/1.1 200 OK").staysOpen, false, "its end is the end of the body");
  t.equal(parse("HTTP/1.1 200 OK", "content-length: 1", "connection: x", "connection: close").staysOpen, false);
  t.equal(parse("HTTP/1.0 200 OK", "content-length: 1").staysOpen, false);
  t.equal(parse("HTTP/1.0 200 OK", "content-length: 1", "Connection: keep-alive").staysOpen, true);
  t.end();
});

void t.test("what could be read in two ways is refused", (t) => {
  for (const lines of [
    [""],
    ["HTTP/2 200 OK"],
    ["HTTP/1.1 20 OK"],
    ["ICY 200 OK"],
    ["HTTP/1.1 200 OK", "content-length : 5"],
    ["HTTP/1.1 200 OK", "content-length: 5", " 6"],
    ["HTTP/1.1 200 OK", "content-length: 5", "content-length: 6"],
    ["HTTP/1.1 200 OK", "content-length: 5, 5"],
    ["HTTP/1.1 200 OK", "content-length: 0x5"],
    ["HTTP/1.1 200 OK", "content-length: -1"],
    ["HTTP/1.1 200 OK", "content-length: 9999999999999999"],
    ["HTTP/1.1 200 OK", "content-length: 5", "transfer-encoding: chunked"],
    ["HTTP/1.1 200 OK", "transfer-encoding: gzip, chunked"],
    ["HTTP/1.1 206 OK", "content-range: bytes 0-1/2", "content-range: bytes 1-2/3"],
    ["HTTP/1.1 200 OK", "no colon"],
    ["HTTP/1.1 200 OK", ": no name"],
    ["HTTP/1.1 200 OK\nx: y"],
  ]) {
    t.throws(() => parse(...lines), InvalidAnswer, JSON.stringify(lines));
  }
  t.end();
});

void t.test("no name of a header reaches the objects behind it", (t) => {
  const { headers } = parse("HTTP/1.1 200 OK", "__proto__: x", "constructor: y", "content-length: 1");
  t.equal(headers["constructor"], "y");
  t.equal(({} as Record<string, unknown>)["x"], undefined);
  t.end();
});

void t.test("any text is a head or refused", (t) => {
  const line = fc.string({ unit: fc.constantFrom(...Array.from("HTP/1.20 :\r\n\0abc-\tlength56,")) });
  fc.assert(
    fc.property(fc.array(line), (lines) => {
      try {
        const { status, framing } = parse("HTTP/1.1 206 x", ...lines);
        return status === 206 && (typeof framing === "string" || Number.isSafeInteger(framing));
      } catch (error) {
        return error instanceof InvalidAnswer;
      }
    }),
    { numRuns: 500 },
  );
  t.end();
});
