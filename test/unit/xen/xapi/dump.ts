import t from "tap";
import { withoutSecrets } from "../../../../src/xen/xapi/dump.js";

const SESSION = "OpaqueRef:11111111-2222-3333-4444-555555555555";

void t.test("a dump has no password, no session and no secret of the pool, also where it is cut", (t) => {
  const login = { method: "session.login_with_password", params: ["root", "hunter2"] };
  t.equal(withoutSecrets("<string>hunter2</string>", login), "[secret]");
  const call = { method: "PBD.get_all_records", params: [SESSION] };
  t.equal(withoutSecrets(`/uuid?session_id=${SESSION}`, call), "/uuid?session_id=[session]");
  const config = `<member><name>device</name><value>/dev/sda</value></member><member><name>chappassword</name><value>hunter2</value></member><member><name>password_secret</name><value><string>x1</string></value></member>`;
  const told = withoutSecrets(config, call);
  t.match(told, "<name>device</name><value>/dev/sda</value>");
  t.notMatch(told, /hunter2|x1/);
  const long = `${"x".repeat(16 * 1024 - 20)}${SESSION}`;
  t.notMatch(withoutSecrets(long, call), /OpaqueRef/);
  t.equal(withoutSecrets("x".repeat(20_000), call).length, 16 * 1024);
  t.end();
});
