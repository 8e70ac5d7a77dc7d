import { join } from "node:path";
import t from "tap";
import { backUpBusyVm } from "../../fixtures/host/backup-agent.js";
import { succeed } from "../../fixtures/host/command-line.js";

void t.test("GNU tar with -S", (t) =>
  backUpBusyVm(t, {
    name: "tar",
    keepsHoles: true,
    backUp: async (from, store) => {
      await succeed("tar", ["-C", from, "-Scf", join(store, "web01.tar"), "."]);
    },
    restore: async (store, into) => {
      await succeed("tar", ["-C", into, "--same-owner", "-xpSf", join(store, "web01.tar")]);
      return into;
    },
  }),
);

void t.test("cp with --sparse=always", (t) =>
  backUpBusyVm(t, {
    name: "cp",
    keepsHoles: true,
    backUp: (from, store) => copy(from, store),
    restore: async (store, into) => {
      await copy(store, into);
      return into;
    },
  }),
);

void t.test("rsync with --sparse", (t) =>
  backUpBusyVm(t, {
    name: "rsync",
    keepsHoles: true,
    backUp: (from, store) => synchronize(from, store),
    restore: async (store, into) => {
      await synchronize(store, into);
      return into;
    },
  }),
);

async function copy(from: string, to: string): Promise<void> {
  await succeed("cp", ["-a", "--sparse=always", `${from}/.`, to]);
}

async function synchronize(from: string, to: string): Promise<void> {
  await succeed("rsync", ["-a", "--sparse", `${from}/`, to]);
}
