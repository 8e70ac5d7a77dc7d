import type { IncomingMessage, ServerResponse } from "node:http";
import { z } from "zod";
import { readControl, serveControl } from "../control-request.js";
import type { Writing } from "../random-writing.js";
import type { Rules, RulesInput } from "../rules.js";
import type { Traffic } from "../traffic.js";
import type { LabPoolVm } from "./lab-pool-vm.js";

const guestRequest = z.discriminatedUnion("do", [
  z.strictObject({
    do: z.literal("write"),
    machine: z.string(),
    disk: z.string(),
    offset: z.number().int().min(0),
    base64: z.base64(),
  }),
  z.strictObject({
    do: z.literal("start"),
    machine: z.string(),
    disk: z.string(),
    bytesPerSecond: z.number().positive().optional(),
    blockBytes: z.number().int().positive().optional(),
    from: z.number().int().min(0).optional(),
    to: z.number().int().positive().optional(),
  }),
  z.strictObject({ do: z.literal("stop"), machine: z.string() }),
]);

const hostRequest = z.strictObject({ do: z.enum(["stop", "start", "master"]), host: z.number().int().min(0) });
const hashRequest = z.strictObject({ vdi: z.string() });

/** The part of a lab's pool that is controlled. */
interface ControlledPool {
  readonly rules: Rules;
  readonly traffic: Traffic;
  readonly vms: readonly LabPoolVm[];
  vm(name: string): LabPoolVm;
  counts(): Record<string, number>;
  hashVdi(vdi: string): Promise<string>;
  moveMaster(index: number): Promise<void>;
  stopHost(index: number): Promise<void>;
  startHost(index: number): Promise<void>;
  expireSessions(): void;
}

/** `/lab/…` on every host: what tests use when the pool is another process. */
export class PoolControl {
  readonly #lab: () => ControlledPool;
  readonly #writings = new Map<string, Writing[]>();

  constructor(lab: () => ControlledPool) {
    this.#lab = lab;
  }

  handle(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    return serveControl(request, response, () => this.#answer(request, path));
  }

  async #answer(request: IncomingMessage, path: string): Promise<unknown> {
    const lab = this.#lab();
    switch (`${request.method ?? ""} ${path}`) {
      case "GET /lab/traffic":
        return lab.traffic.report();
      case "DELETE /lab/traffic":
        lab.traffic.reset();
        return {};
      case "GET /lab/counts":
        return lab.counts();
      case "GET /lab/vms":
        return lab.vms.map(({ name, ref, uuid, power, disks, snapshots }) => {
          return { name, ref, uuid, power, disks, snapshots };
        });
      case "POST /lab/rules":
        // The rules validate it.
        lab.rules.load((await readControl(request)) as RulesInput);
        return {};
      case "GET /lab/held":
        return { held: lab.rules.holds.count };
      case "DELETE /lab/held":
        return { letGo: lab.rules.holds.letGo() };
      case "POST /lab/hosts":
        return this.#host(lab, hostRequest.parse(await readControl(request)));
      case "DELETE /lab/sessions":
        lab.expireSessions();
        return {};
      case "POST /lab/hash":
        return { sha256: await lab.hashVdi(hashRequest.parse(await readControl(request)).vdi) };
      case "POST /lab/guest":
        return this.#guest(lab, guestRequest.parse(await readControl(request)));
      default:
        return undefined;
    }
  }

  async #host(lab: ControlledPool, { do: wish, host }: z.infer<typeof hostRequest>): Promise<object> {
    if (wish === "master") await lab.moveMaster(host);
    else if (wish === "start") await lab.startHost(host);
    // Its own answer must get out before the host goes.
    else setImmediate(() => void lab.stopHost(host));
    return {};
  }

  async #guest(lab: ControlledPool, wish: z.infer<typeof guestRequest>): Promise<unknown> {
    const vm = lab.vm(wish.machine);
    switch (wish.do) {
      case "write":
        await vm.guest.write(wish.disk, wish.offset, Buffer.from(wish.base64, "base64"));
        return {};
      case "start": {
        const { disk: userdevice, bytesPerSecond, blockBytes, from, to } = wish;
        const writing = vm.guest.startWriting({ userdevice, bytesPerSecond, blockBytes, from, to });
        this.#writings.set(vm.ref, [...(this.#writings.get(vm.ref) ?? []), writing]);
        return {};
      }
      case "stop": {
        const writings = this.#writings.get(vm.ref) ?? [];
        this.#writings.delete(vm.ref);
        const done = await Promise.all(writings.map((writing) => writing.stop()));
        return { writes: done.reduce((sum, one) => sum + one.writes, 0) };
      }
    }
  }
}
