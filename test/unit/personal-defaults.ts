import t from "tap";
import { loadConfig } from "../../src/config.js";
import { personalDefaults } from "../../src/personal-defaults.js";

const PERSON = { uid: 1000, gid: 100, home: "/home/eva" };

void t.test("root has the defaults of the settings", (t) => {
  t.strictSame(personalDefaults({ uid: 0, gid: 0, home: "/root" }, { XDG_RUNTIME_DIR: "/run/user/0" }), {});
  t.end();
});

void t.test("a normal user's directories and files are his own", (t) => {
  const xdg = { XDG_STATE_HOME: "/srv/state", XDG_RUNTIME_DIR: "/run/user/1000", HOME: "/elsewhere" };
  t.strictSame(personalDefaults(PERSON, xdg), {
    "state.dir": "/srv/state/vmmount",
    "cache.dir": "/elsewhere/.cache/vmmount",
    "runtime.dir": "/run/user/1000/vmmount",
    "mount.root": "/run/user/1000/vmmount/mounts",
    "mount.uid": 1000,
    "mount.gid": 100,
  });
  t.match(personalDefaults(PERSON, { HOME: "/elsewhere" }), {
    "state.dir": "/elsewhere/.local/state/vmmount",
    "runtime.dir": "/tmp/vmmount-1000",
  });
  const unusable = { XDG_STATE_HOME: "", XDG_RUNTIME_DIR: "run", HOME: "." };
  t.match(personalDefaults(PERSON, unusable), {
    "state.dir": "/home/eva/.local/state/vmmount",
    "cache.dir": "/home/eva/.cache/vmmount",
    "runtime.dir": "/tmp/vmmount-1000",
  });
  t.end();
});

void t.test("whatever is configured beats them", (t) => {
  const env = { HOME: "/nonexistent", VMMOUNT_STATE_DIR: "/srv/x", VMMOUNT_UID: "7" };
  const { settings, origins } = loadConfig({ file: "/dev/null", env, flags: [], person: PERSON });
  t.match(settings, { "state.dir": "/srv/x", "runtime.dir": "/tmp/vmmount-1000", "mount.uid": 7, "mount.gid": 100 });
  t.strictSame(origins["runtime.dir"], { kind: "default" });
  t.end();
});
