import t from "tap";
import { errorFacts, MissingCapabilityError } from "../../../../src/errors.js";
import { loadFuseNative } from "../../../../src/fs/fuse-native/package.js";

const failing = (code: string | undefined, message: string) => () =>
  Promise.reject(Object.assign(new Error(message), { code }));

void t.test("what is missing is said, and what to install", async (t) => {
  const cases = [
    ["ERR_MODULE_NOT_FOUND", "Cannot find package 'fuse-native'", /is not installed/, /npm ci --include=optional/],
    ["ERR_DLOPEN_FAILED", "libfuse.so.2: cannot open", /libfuse\.so\.2: cannot open/, /apt-get install libfuse2/],
    [undefined, "No native build was found for platform=linux arch=arm64\n  more", /arch=arm64$/, /x86-64/],
  ] as const;
  for (const [code, message, said, hint] of cases) {
    const load = failing(code, message);
    await t.rejects(loadFuseNative(load), MissingCapabilityError);
    const facts = await loadFuseNative(load).then(() => undefined, errorFacts);
    t.match(facts, { code: 69, message: said, hint });
    t.match(facts?.hint, /leave --fuse-driver out/);
  }
});
