import t from "tap";
import { XenImports } from "../../../src/xen/import/half-import.js";
import type { XapiValue } from "../../../src/xen/xapi/value.js";
import type { Xapi } from "../../../src/xen/xapi/xapi.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";

const { signal } = new AbortController();

void t.test("a disk that somebody has attached to a half import is a use of it", async (t) => {
  const tables: Readonly<Record<string, XapiValue>> = {
    task: { T: { status: "failure", name_description: '{"tool":"vmmount"}' } },
    VM: { V: { uuid: "v", name_label: "web", power_state: "Halted", other_config: { import_task: "T" } } },
    VDI: {
      made: { sm_config: { import_task: "T" }, name_label: "web 0" },
      foreign: { sm_config: {}, name_label: "accounts" },
    },
    VBD: {
      b0: { VM: "V", VDI: "made", type: "Disk" },
      b1: { VM: "V", VDI: "foreign", type: "Disk" },
    },
  };
  const call = (method: string): Promise<XapiValue> => Promise.resolve(tables[method.split(".")[0] ?? ""] ?? {});
  const { logger } = recordingLogger();
  const imports = new XenImports({ call } as unknown as Xapi, logger);
  t.match(await imports.find(["T"], { signal }), [{ usedBecause: 'the disk "accounts", which no import made' }]);
});
