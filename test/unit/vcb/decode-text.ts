import t from "tap";
import { ConfigError } from "../../../src/errors.js";
import { decodeText } from "../../../src/vcb/decode-text.js";

const TEXT = 'HOST="vc1"; // Jörg\r\nPORT=443;\r\n';
const le = Buffer.from(TEXT, "utf16le");
const be = Buffer.from(le).swap16();

void t.test("text comes back in every encoding that Windows writes; a guess is told", (t) => {
  const cases: [what: string, data: Buffer, guess: RegExp | undefined][] = [
    ["UTF-8", Buffer.from(TEXT), undefined],
    ["UTF-8 with a mark", Buffer.from(`\ufeff${TEXT}`), undefined],
    ["UTF-16 as Notepad writes it", Buffer.concat([Buffer.from([0xff, 0xfe]), le]), undefined],
    ["UTF-16, big end first", Buffer.concat([Buffer.from([0xfe, 0xff]), be]), undefined],
    ["UTF-16 without a mark", le, /^UTF-16LE without/],
    ["UTF-16 without a mark, big end first", be, /^UTF-16BE without/],
    ["code page 1252", Buffer.from(TEXT, "latin1"), /1252/],
    ["nothing", Buffer.alloc(0), undefined],
  ];
  for (const [what, data, guess] of cases) {
    const decoded = decodeText(data, "config.js");
    t.equal(decoded.text, what === "nothing" ? "" : TEXT, what);
    if (guess === undefined) t.equal(decoded.guess, undefined, what);
    else t.match(decoded.guess, guess, what);
  }
  t.end();
});

void t.test("half a character is refused, with the file's name", (t) => {
  t.throws(() => decodeText(Buffer.from([0xff, 0xfe, 0x41]), "a.js"), {
    message: /"a\.js": it is no text in UTF-16LE/,
  });
  t.throws(() => decodeText(Buffer.from([0xff, 0xfe, 0x00, 0xd8]), "a.js"), ConfigError);
  t.end();
});
