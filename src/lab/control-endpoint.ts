import type { IncomingMessage, ServerResponse } from "node:http";
import { z } from "zod";
import { readControl, serveControl } from "./control-request.js";
import type { Writing } from "./random-writing.js";
import type { LabVm } from "./lab-vm.js";
import type { Rules, RulesInput } from "./rules.js";
import type { Traffic } from "./traffic.js";

const guestRequest = z.discriminatedUnion("do", [
  z.strictObject({
    do: z.literal("write"),
    machine: z.string(),
    disk: z.number().int(),
    offset: z.number().int().min(0),
    base64: z.base64(),
  }),
  z.strictObject({
    do: z.literal("start"),
    machine: z.string(),
    disk: z.number().int(),
    bytesPerSecond: z.number().positive().optional(),
    blockBytes: z.number().int().positive().optional(),
    from: z.number().int().min(0).optional(),
    to: z.number().int().positive().optional(),
  }),
  z.strictObject({ do: z.literal("stop"), machine: z.string() }),
  z.strictObject({ do: z.literal("hash"), machine: z.string(), disk: z.number().int(), when: z.string() }),
]);

/** `/lab/…`: what tests use when the lab is another process. Answers the loopback interface only. */
export class ControlEndpoint {
  readonly #vms: readonly LabVm[];
  readonly #rules: Rules;
  readonly #traffic: Traffic;
  readonly #writings = new Map<string, Writing[]>();

  constructor(vms: readonly LabVm[], rules: Rules, traffic: Traffic) {
    this.#vms = vms;
    this.#rules = rules;
    this.#traffic = traffic;
  }

  handle(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    return serveControl(request, response, () => this.#answer(request, path));
  }

  async #answer(request: IncomingMessage, path: string): Promise<unknown> {
    switch (`${request.method ?? ""} ${path}`) {
      case "GET /lab/traffic":
        return this.#traffic.report();
      case "DELETE /lab/traffic":
        this.#traffic.reset();
        return {};
      case "GET /lab/vms":
        return this.#vms.map(({ name, ref, power, folder, disks, snapshots }) => {
          return { name, ref, power, folder, disks, snapshots };
        });
      case "POST /lab/rules":
        // The rules validate it.
        this.#rules.load((await readControl(request)) as RulesInput);
        return {};
      case "GET /lab/held":
        return { held: this.#rules.holds.count };
      case "DELETE /lab/held":
        return { letGo: this.#rules.holds.letGo() };
      case "POST /lab/guest":
        return this.#guest(guestRequest.parse(await readControl(request)));
      default:
        return undefined;
    }
  }

  async #guest(wish: z.infer<typeof guestRequest>): Promise<unknown> {
    const vm = this.#vms.find((one) => one.name === wish.machine || one.ref === wish.machine);
    if (vm === undefined) return undefined;
    switch (wish.do) {
      case "write":
        await vm.guest.write(wish.disk, wish.offset, Buffer.from(wish.base64, "base64"));
        return {};
      case "start": {
        const { disk: diskKey, bytesPerSecond, blockBytes, from, to } = wish;
        const writing = vm.guest.startWriting({ diskKey, bytesPerSecond, blockBytes, from, to });
        this.#writings.set(vm.ref, [...(this.#writings.get(vm.ref) ?? []), writing]);
        return {};
      }
      case "stop": {
        const writings = this.#writings.get(vm.ref) ?? [];
        this.#writings.delete(vm.ref);
        const done = await Promise.all(writings.map((writing) => writing.stop()));
        return { writes: done.reduce((sum, one) => sum + one.writes, 0) };
      }
      case "hash":
        return { sha256: await vm.hashDisk(wish.disk, wish.when) };
    }
  }
}
