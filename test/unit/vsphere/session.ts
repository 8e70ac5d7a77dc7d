import t from "tap";
import { CancelledError, errorFacts } from "../../../src/errors.js";
import { connectScripted } from "../../fixtures/vsphere/connect-scripted.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import {
  COOKIE,
  objectContent,
  startScriptedVcenter,
  type Script,
  val,
} from "../../fixtures/vsphere/scripted-vcenter.js";

const { signal } = new AbortController();
const EXPIRED = { fault: "NotAuthenticated", fields: "<privilegeId>System.View</privilegeId>" } as const;
const TREE: Script = {
  RetrievePropertiesEx: ({ body }) =>
    body.includes("<pathSet>childEntity")
      ? `<returnval>${objectContent("Folder", "group-d1", {
          childEntity: val(
            "ArrayOfManagedObjectReference",
            '<ManagedObjectReference type="Datacenter">dc-1</ManagedObjectReference>',
          ),
        })}</returnval>`
      : `<returnval>${objectContent("Datacenter", "dc-1", { name: val("xsd:string", "a%2fb %25") })}</returnval>`,
};

async function failureOf(promise: Promise<unknown>) {
  return errorFacts(
    await promise.then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
}

await t.test("the session cookie goes back with its quotes", async (t) => {
  await using vcenter = await startScriptedVcenter(TREE);
  await using server = await connectScripted(vcenter);
  const [datacenter] = await server.browse("/", { signal });
  t.match(datacenter, { name: "a/b %", path: "/a%2fb %25" });
  t.equal(vcenter.calls.at(-1)?.cookie, COOKIE);
  t.match(server.identity, { version: "8.0.2", instanceUuid: "11111111-2222-3333-4444-555555555555" });
});

await t.test("disposing logs out once, also when done twice", async (t) => {
  await using vcenter = await startScriptedVcenter(TREE);
  const server = await connectScripted(vcenter);
  await server[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  t.strictSame(vcenter.methods(), ["RetrieveServiceContent", "Login", "Logout"]);
});

await t.test("who gives up while the login is answered leaves no session behind", async (t) => {
  const giveUp = new AbortController();
  const reason = new CancelledError("Stopped by SIGINT", { signal: 2 });
  let letGo: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (letGo = resolve));
  await using vcenter = await startScriptedVcenter({
    ...TREE,
    Login: async () => {
      giveUp.abort(reason);
      await held;
      return "<returnval><key>k</key></returnval>";
    },
  });
  const connecting = connectScripted(vcenter, { signal: giveUp.signal });
  setTimeout(letGo, 300);
  t.match(await failureOf(connecting), errorFacts(reason));
  t.strictSame(vcenter.methods(), ["RetrieveServiceContent", "Login", "Logout"]);
});

await t.test("a login that is never answered is waited for no longer than a logout", async (t) => {
  const giveUp = new AbortController();
  await using vcenter = await startScriptedVcenter({
    ...TREE,
    Login: () => {
      giveUp.abort(new CancelledError("Stopped by SIGINT", { signal: 2 }));
      return { end: "silence" };
    },
  });
  const connecting = connectScripted(vcenter, { signal: giveUp.signal, limits: { logoutMs: 200 } });
  t.match(await failureOf(connecting), { kind: "CancelledError" });
  t.strictSame(vcenter.methods(), ["RetrieveServiceContent", "Login"]);
});

await t.test("an expired session is renewed once for all calls side by side", async (t) => {
  let valid = true;
  await using vcenter = await startScriptedVcenter({
    ...TREE,
    Login: () => {
      valid = true;
      return "<returnval><key>k</key></returnval>";
    },
    RetrievePropertiesEx: (call) => (valid ? (TREE["RetrievePropertiesEx"]?.(call) ?? "") : EXPIRED),
  });
  await using server = await connectScripted(vcenter);
  valid = false;
  const found = await Promise.all([1, 2, 3, 4].map(() => server.browse("/", { signal })));
  t.ok(found.every(({ length }) => length === 1));
  t.equal(vcenter.methods().filter((method) => method === "Login").length, 2);
});

await t.test("a session that hides properties is an expired one", async (t) => {
  const hidden =
    '<returnval><objects><obj type="Folder">group-d1</obj><missingSet><path>childEntity</path><fault>' +
    '<fault xsi:type="NotAuthenticated"/><localizedMessage/></fault></missingSet></objects></returnval>';
  await using vcenter = await startScriptedVcenter({
    RetrievePropertiesEx: (call) => (call.count === 1 ? hidden : (TREE["RetrievePropertiesEx"]?.(call) ?? "")),
  });
  await using server = await connectScripted(vcenter);
  t.equal((await server.browse("/", { signal })).length, 1);
  t.equal(vcenter.methods().filter((method) => method === "Login").length, 2);
});

await t.test("a login refused later is never tried again", async (t) => {
  await using vcenter = await startScriptedVcenter({
    Login: ({ count }) => (count === 1 ? "<returnval/>" : { fault: "InvalidLogin", text: "Cannot complete login." }),
    RetrievePropertiesEx: () => EXPIRED,
  });
  await using server = await connectScripted(vcenter);
  for (let attempt = 0; attempt < 3; attempt++) {
    const facts = await failureOf(server.browse("/", { signal }));
    t.match(facts, { kind: "AuthError", code: 77, retryable: false });
  }
  t.equal(vcenter.methods().filter((method) => method === "Login").length, 2);
});

await t.test("a session that never works ends in an authentication error", async (t) => {
  await using vcenter = await startScriptedVcenter({ RetrievePropertiesEx: () => EXPIRED });
  await using server = await connectScripted(vcenter);
  t.equal((await failureOf(server.browse("/", { signal }))).kind, "AuthError");
  t.equal(vcenter.methods().filter((method) => method === "Login").length, 2);
});

await t.test("a missing privilege names privilege and object", async (t) => {
  await using vcenter = await startScriptedVcenter({
    RetrievePropertiesEx: () => ({
      fault: "NoPermission",
      fields: '<object type="Folder">group-d1</object><privilegeId>System.Read</privilegeId>',
    }),
  });
  await using server = await connectScripted(vcenter);
  const facts = await failureOf(server.browse("/", { signal }));
  t.match(facts, {
    kind: "AuthError",
    message: 'Cannot list "/": the account lacks the privilege System.Read on Folder group-d1',
  });
});

await t.test("answers that are none", async (t) => {
  const cases = [
    [{ status: 503, body: "busy" }, "UnreachableError", true],
    [{ status: 404, body: "<html/>" }, "UnreachableError", false],
    [{ status: 500, body: "<html>oops</html>" }, "HypervisorFaultError", true],
    [{ status: 200, body: "<html><br></html>" }, "HypervisorFaultError", false],
    [{ status: 200, body: "no xml at all" }, "IntegrityError", false],
    [{ status: 200, body: "<x>".repeat(1000) }, "IntegrityError", false],
    [{ end: "lost" }, "UnreachableError", true],
    [{ end: "silence" }, "UnreachableError", true],
  ] as const;
  for (const [reply, kind, retryable] of cases) {
    await using vcenter = await startScriptedVcenter({ ...TREE, RetrievePropertiesEx: () => reply });
    await using server = await connectScripted(vcenter, { limits: { callMs: 300 } });
    t.match(await failureOf(server.browse("/", { signal })), { kind, retryable }, JSON.stringify(reply).slice(0, 40));
  }
});

await t.test("an answer without an end is cut off", async (t) => {
  await using vcenter = await startScriptedVcenter({
    RetrievePropertiesEx: () => ({ status: 200, body: "x".repeat(200_000) }),
  });
  await using server = await connectScripted(vcenter, { limits: { responseBytesMax: 100_000 } });
  t.match(await failureOf(server.browse("/", { signal })), {
    kind: "IntegrityError",
    message: /more than 100000 bytes/,
  });
});

await t.test("a read is repeated once after a lost connection", async (t) => {
  await using vcenter = await startScriptedVcenter({
    RetrievePropertiesEx: (call) => (call.count === 1 ? { end: "lost" } : (TREE["RetrievePropertiesEx"]?.(call) ?? "")),
  });
  await using server = await connectScripted(vcenter);
  t.equal((await server.browse("/", { signal })).length, 1);
});

await t.test("the session is kept alive, quietly when that fails", async (t) => {
  let beat: (() => void) | undefined;
  const beaten = new Promise<void>((resolve) => (beat = resolve));
  await using vcenter = await startScriptedVcenter({
    CurrentTime: ({ count }) => {
      if (count === 2) beat?.();
      return count === 1 ? { fault: "SystemError" } : "<returnval/>";
    },
  });
  await using server = await connectScripted(vcenter, { limits: { keepAliveMs: 5 } });
  await beaten;
  t.ok(server);
});

await t.test("an abort ends a call at once, for its reason, and the next call works", async (t) => {
  const aborting = new AbortController();
  const reason = new Error("changed my mind");
  await using vcenter = await startScriptedVcenter({
    RetrievePropertiesEx: (call) => {
      if (call.count > 1) return TREE["RetrievePropertiesEx"]?.(call) ?? "";
      aborting.abort(reason);
      return { end: "silence" };
    },
  });
  await using server = await connectScripted(vcenter);
  await t.rejects(server.browse("/", { signal: aborting.signal }), reason);
  t.equal((await server.browse("/", { signal })).length, 1);
});

await t.test("secrets show in no log line", async (t) => {
  const { logger, lines } = recordingLogger();
  await using vcenter = await startScriptedVcenter(TREE);
  await using server = await connectScripted(vcenter, { logger });
  await server.browse("/", { signal });
  t.notMatch(JSON.stringify(lines), /"?secret"?<|52c6aef0/);
  t.match(JSON.stringify(lines), "RetrievePropertiesEx sent");
});

await t.test("pages are followed to their end, within a bound", async (t) => {
  const page = (token: string): string =>
    `<returnval>${token}${objectContent("Datacenter", "dc-1", { name: val("xsd:string", "dc") })}</returnval>`;
  const script: Script = {
    RetrievePropertiesEx: (call) =>
      call.body.includes("<pathSet>childEntity")
        ? (TREE["RetrievePropertiesEx"]?.(call) ?? "")
        : page("<token>t1</token>"),
    ContinueRetrievePropertiesEx: ({ count }) => page(count < 3 ? "<token>t2</token>" : ""),
  };
  await using vcenter = await startScriptedVcenter(script);
  await using server = await connectScripted(vcenter);
  t.equal((await server.browse("/", { signal })).length, 4);
  t.match(vcenter.calls.at(-1)?.body, "<token>t2</token>");

  await using endless = await startScriptedVcenter({
    ...script,
    ContinueRetrievePropertiesEx: () => page("<token>t</token>"),
  });
  await using bounded = await connectScripted(endless, { limits: { pagesMax: 5 } });
  t.equal((await failureOf(bounded.browse("/", { signal }))).kind, "IntegrityError");
});
