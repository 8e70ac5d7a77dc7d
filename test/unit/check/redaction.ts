import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { knownSecrets, redacted } from "../../../src/check/redaction.js";
import { configIn } from "../../fixtures/mount/config.js";
import { scratch } from "../../fixtures/scratch.js";

void t.test("what looks like a secret is hidden, whoever wrote it", (t) => {
  const secrets = knownSecrets(configIn(scratch(t)), {});
  const secret = "s3cr3tV4lue0123456789";
  for (const text of [
    `Cookie: vmware_soap_session="${secret}"; Path=/`,
    JSON.stringify({ msg: `vmware_soap_session="${secret}"` }),
    `ticket cst-VCT-${secret}--tp-AA-BB`,
    `GET /export?session_id=OpaqueRef:${secret}&x=1`,
    `exportname /0000?session_id=OpaqueRef%3A${secret}`,
    `Authorization: Basic ${secret}==`,
    `password = "${secret}"`,
    `password = '${secret} with a space'`,
    JSON.stringify({ inner: JSON.stringify({ password: `${secret}"x` }) }),
    `<password>${secret}</password>`,
    `"ticket":"${secret}"`,
    `-----BEGIN RSA PRIVATE KEY-----\n${secret}\n-----END RSA PRIVATE KEY-----`,
    `-----BEGIN PRIVATE KEY-----\n${secret}`,
    `view session[${secret}]52f1`,
    `curl -s https://ops:${secret}@hooks.example.org/x`,
    `curl https://${secret}@hooks.example.org`,
    JSON.stringify({ value: `wget https://DOM\\ops:p@${secret}@[::1]:8443/` }),
    `PGPASSWORD=\\${secret} psql`,
    `pwd=ab"${secret} x`,
  ]) {
    t.notMatch(redacted(text, secrets), secret, text);
  }
  const [a, b] = ["1111-aa", "2222-bb"].map((id) => redacted(`OpaqueRef:${id} and OpaqueRef:${id}`, secrets));
  t.match(a, /^OpaqueRef:#([0-9a-f]{12}) and OpaqueRef:#\1$/, "the same reference is still the same");
  t.not(a, b);
  const innocent = 'password_file = "/etc/vmmount/vc1.password"';
  t.equal(redacted(innocent, secrets), innocent, "names of files stay");
  const command = JSON.stringify({ value: `PGPASSWORD=${secret} psql` });
  t.match(JSON.parse(redacted(command, secrets)), { value: "PGPASSWORD=[redacted] psql" }, "JSON is still JSON");
  const address = "https://vc1.example.org/sdk and backup@vsphere.local";
  t.equal(redacted(address, secrets), address, "addresses stay");
  for (const word of [
    "://",
    "://a",
    "session[",
    "<password ",
    "cst-",
    'password"',
    "-----BEGIN A",
    "OpaqueRef:",
    "basic ",
    "\\",
  ]) {
    const started = performance.now();
    redacted(word.repeat(200_000), secrets);
    t.ok(performance.now() - started < 15_000, `a long line of ${word} takes no hours`);
  }
  t.end();
});

void t.test("passwords of the configuration, of files and of systemd are known in every form", (t) => {
  const directory = scratch(t);
  const write = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text, { mode: 0o600 });
    return join(directory, name);
  };
  const passwords = ['in<li>ne&"w0rd', "from a file %", "of the environment", "of systemd"];
  const [inline = "", file = "", environment = "", systemd = ""] = passwords;
  const path = write("pw", `${file}\n`);
  const toml = `[server.a]\nurl = "https://a.example"\nuser = "u"\npassword = ${JSON.stringify(inline)}\n[server.b]\nurl = "https://b.example"\npassword_file = "${path}"\n`;
  write("vmmount.b", systemd);
  const env = { VMMOUNT_PASSWORD_FILE: write("env", `\ufeff${environment}`), CREDENTIALS_DIRECTORY: directory };
  const secrets = knownSecrets(configIn(directory, toml), env);
  for (const password of passwords) {
    const xml = password.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
    const forms = [
      password,
      encodeURIComponent(password),
      JSON.stringify(password),
      xml,
      Buffer.from(password).toString("base64"),
    ];
    for (const form of forms) t.notMatch(redacted(`said ${form} there`, secrets), form.replace(/^"|"$/g, ""), form);
  }
  t.doesNotThrow(() =>
    knownSecrets(configIn(directory), { VMMOUNT_PASSWORD_FILE: "/none", CREDENTIALS_DIRECTORY: "/none" }),
  );
  t.end();
});

void t.test("a pipe in place of a password file is not waited for", { timeout: 10_000 }, (t) => {
  const directory = scratch(t);
  const pipe = join(directory, "pipe");
  execFileSync("mkfifo", [pipe]);
  t.doesNotThrow(() => knownSecrets(configIn(directory), { VMMOUNT_PASSWORD_FILE: pipe }));
  t.end();
});
