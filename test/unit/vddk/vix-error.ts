import t from "tap";
import { translatedVix, vixError } from "../../../src/vddk/vix-error.js";

void t.test("only the low 16 bits are the code, however the number arrives", (t) => {
  t.strictSame(vixError(0), { code: 0, extra: 0, extraKind: 0 });
  t.strictSame(vixError(25_000), { code: 25_000, extra: 0, extraKind: 0 });
  t.strictSame(vixError(0x0000_0002_0d02_0001n), { code: 1, extra: 2, extraKind: 13 });
  t.strictSame(vixError(0x0000_0005_0000_36bb), { code: 14_011, extra: 5, extraKind: 0 });
  t.strictSame(vixError(-1n), { code: 0xffff, extra: 0xffff_ffff, extraKind: 0xff });
  t.end();
});

void t.test("codes become our errors, with what to do", (t) => {
  const cases = [
    [1, "DiskIoError", 74, false, /thumbprint/],
    [13, "AuthError", 77, false, /needs its snapshot/],
    [36, "DiskIoError", 74, true, undefined],
    [3050, "AuthError", 77, false, undefined],
    [4000, "NotFoundError", 66, false, undefined],
    [14_009, "DiskIoError", 74, true, /Port 902/],
    [16_053, "MissingCapabilityError", 69, false, /lib64/],
    [18_000, "UnreachableError", 68, true, undefined],
  ] as const;
  for (const [code, name, exitCode, retryable, hint] of cases) {
    const error = translatedVix('Cannot open "x"', { code, extra: 0, extraKind: 0 }, "said so");
    t.match(error, { name, exitCode, retryable, ...(hint !== undefined && { hint }) });
    t.match(error.message, new RegExp(`^Cannot open "x": .+ \\(VDDK error ${code}: said so\\)$`));
  }
  t.match(
    translatedVix("Cannot x", { code: 4711, extra: 3, extraKind: 4 }, "odd").message,
    "Cannot x: odd (VDDK error 4711, 3)",
  );
  t.end();
});
