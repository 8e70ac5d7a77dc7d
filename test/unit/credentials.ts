import { execFileSync, spawn } from "node:child_process";
import { chmodSync, closeSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import t, { type Test } from "tap";
import { type CredentialInput, findCredential, Secret } from "../../src/credentials.js";
import { ConfigError } from "../../src/errors.js";
import { scratch } from "../fixtures/scratch.js";
import { failureOf } from "../fixtures/snapshot-session.js";

const SERVER = { name: "vc1", url: "https://vc1", user: "backup", origin: undefined };

function secretFile(t: Test, content: string | Buffer, mode = 0o600): string {
  const path = join(scratch(t), "password");
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

function find(own: Partial<CredentialInput> = {}) {
  return findCredential({ server: SERVER, env: {}, ...own });
}

void t.test("a secret shows itself to nobody who does not ask for it", (t) => {
  const secret = new Secret("hunter2");
  t.equal(secret.reveal(), "hunter2");
  for (const text of [
    String(secret),
    JSON.stringify({ secret }),
    inspect({ secret }),
    inspect(secret, { showHidden: true }),
  ]) {
    t.notMatch(text, /hunter2/);
    t.match(text, /\[redacted\]/);
  }
  t.end();
});

void t.test("the first place that has a password wins", async (t) => {
  const systemd = scratch(t);
  const file = (name: string): string => secretFile(t, `${name}\n`);
  const prompt = (): Promise<string> => Promise.resolve("prompted");
  const fd = openSync(file("fd"), "r");
  t.teardown(() => {
    closeSync(fd);
  });
  const all: CredentialInput = {
    server: { ...SERVER, password: "configured", password_file: file("profile") },
    env: { CREDENTIALS_DIRECTORY: systemd, VMMOUNT_PASSWORD_FILE: file("environment") },
    passwordFile: file("flag"),
    passwordFd: fd,
    prompt,
  };
  const password = async (input: CredentialInput): Promise<string> => (await findCredential(input)).password.reveal();
  t.equal(await password(all), "fd");
  t.equal(await password({ ...all, passwordFd: undefined }), "flag");
  const noFlags = { ...all, passwordFd: undefined, passwordFile: undefined };
  t.equal(await password(noFlags), "environment");
  writeFileSync(join(systemd, "vmmount.password"), "for all", { mode: 0o600 });
  t.equal(await password(noFlags), "for all");
  writeFileSync(join(systemd, "vmmount.vc1"), "for vc1", { mode: 0o600 });
  t.equal(await password(noFlags), "for vc1");
  t.equal(await password({ ...noFlags, env: {} }), "profile");
  const { password_file: _, ...profile } = all.server;
  t.ok(_);
  t.equal(await password({ ...noFlags, env: {}, server: profile }), "configured");
  t.equal(await password({ server: SERVER, env: {}, prompt }), "prompted");
});

void t.test("the first line is the password, byte for byte", async (t) => {
  const cases: [content: string, password: string][] = [
    ["secret", "secret"],
    ["secret\n", "secret"],
    ["secret\r\n", "secret"],
    ["secret\nsecond line\n", "secret"],
    [" spaces count \n", " spaces count "],
    ["pässwörd 🙂\n", "pässwörd 🙂"],
    ["x".repeat(4096), "x".repeat(4096)],
  ];
  for (const [content, password] of cases) {
    const found = await find({ passwordFile: secretFile(t, content) });
    t.equal(found.password.reveal(), password);
  }
  for (const [content, message] of [
    ["", /It is empty/],
    ["\nsecond", /It is empty/],
    ["x".repeat(4097), /longer than 4096/],
  ] as const) {
    t.match(await failureOf(find({ passwordFile: secretFile(t, content) })), { message, exitCode: 78 });
  }
});

void t.test(
  "a byte order mark is no part of a password; what is not UTF-8 is refused and not guessed at",
  async (t) => {
    const bom = await find({ passwordFile: secretFile(t, "\ufeffhunter2\r\n") });
    t.equal(bom.password.reveal(), "hunter2");
    for (const encoding of ["latin1", "utf16le"] as const) {
      const passwordFile = secretFile(t, Buffer.from("\u00fcber\uff00", encoding));
      const error = await failureOf(find({ passwordFile }));
      t.match(error, { exitCode: 78, message: /It is not UTF-8: save it as UTF-8$/ });
      t.notMatch(error.message, "ber");
    }
  },
);

void t.test("a file that others may open is refused", async (t) => {
  for (const mode of [0o640, 0o604, 0o610, 0o666, 0o602]) {
    const passwordFile = secretFile(t, "hunter2", mode);
    const error = await failureOf(find({ passwordFile }));
    t.ok(error instanceof ConfigError);
    t.match(error, { message: new RegExp(`mode 0${mode.toString(8)}`), hint: /^chmod 600 "/ });
    t.notMatch(error.message, /hunter2/);
  }
  const origin = secretFile(t, "[server.vc1]", 0o644);
  const server = { ...SERVER, password: "configured", origin };
  t.match(await failureOf(find({ server })), { message: /it holds a password/ });
  chmodSync(origin, 0o600);
  t.equal((await find({ server })).origin, origin);
});

void t.test("a pipe has no mode worth checking", async (t) => {
  const fifo = join(scratch(t), "fifo");
  execFileSync("mkfifo", ["-m", "0666", fifo]);
  // Opening a FIFO waits for its other end, which therefore is another process.
  const writer = spawn("sh", ["-c", 'printf "piped\\n" > "$0"', fifo], { stdio: "ignore" });
  t.teardown(() => writer.kill());
  t.equal((await find({ passwordFile: fifo })).password.reveal(), "piped");
});

void t.test("a pipe that nobody writes into ends, and holds nothing up meanwhile", async (t) => {
  const path = join(scratch(t), "pipe");
  execFileSync("mkfifo", [path]);
  let ticks = 0;
  const timer = setInterval(() => ticks++, 100);
  const error = await failureOf(find({ passwordFile: path }));
  clearInterval(timer);
  t.match(error, { exitCode: 78, message: /It is empty$/ });
  t.ok(ticks > 20, "a signal would have been heard");
});

void t.test("missing places are told apart from empty ones", async (t) => {
  const missing = join(scratch(t), "none");
  t.match(await failureOf(find({ passwordFile: missing })), { message: /\(--password-file\): ENOENT/ });
  t.match(await failureOf(find({ env: { VMMOUNT_PASSWORD_FILE: missing } })), { message: /VMMOUNT_PASSWORD_FILE/ });
  t.match(await failureOf(find({ passwordFd: 9999 })), { message: /descriptor 9999: EBADF/ });
  t.match(await failureOf(find()), { message: /no password is configured/, hint: /--password-file/ });
  t.match(await failureOf(find({ prompt: () => Promise.resolve("") })), { message: /no password is configured/ });
  t.match(await failureOf(find({ server: { name: "vc1", url: "https://vc1", origin: undefined } })), {
    message: /no user is configured/,
    hint: /--user.*\[server\.vc1\]/,
  });
});

void t.test("the user of the environment beats the profile's", async (t) => {
  const passwordFile = secretFile(t, "x y z");
  const heard: string[] = [];
  const onPassword = (password: string): void => void heard.push(password);
  t.equal((await find({ passwordFile, onPassword })).user, "backup");
  t.equal((await find({ passwordFile, env: { VMMOUNT_USER: "other" } })).user, "other");
  t.equal((await find({ passwordFile, env: { VMMOUNT_USER: "" } })).user, "backup", "an empty one is none");
  t.strictSame(heard, ["x y z"], "and whoever hides passwords in logs hears of it");
});
