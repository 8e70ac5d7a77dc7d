import type { IncomingMessage, ServerResponse } from "node:http";
import { z } from "zod";
import { VmmountError } from "../errors.js";
import type { Writing } from "./guest.js";
import { readBody, send } from "./http-request.js";
import type { LabVm } from "./lab-vm.js";
import type { Rules, RulesInput } from "./rules.js";
import type { Traffic } from "./traffic.js";

/** Largest control request: a guest write of a few MiB in base64. */
const REQUEST_BYTES_MAX = 16 * 1024 * 1024;

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

  async handle(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    if (!isLoopback(request.socket.remoteAddress)) {
      reply(response, 403, { error: "The lab is controlled from its own machine only" });
      return;
    }
    try {
      const answer = await this.#answer(request, path);
      reply(response, answer === undefined ? 404 : 200, answer ?? { error: "No such control" });
    } catch (error) {
      if (!(error instanceof VmmountError || error instanceof z.ZodError || error instanceof SyntaxError)) throw error;
      reply(response, 400, { error: error instanceof z.ZodError ? z.prettifyError(error) : error.message });
    }
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
        this.#rules.load((await readJson(request)) as RulesInput);
        return {};
      case "POST /lab/guest":
        return this.#guest(guestRequest.parse(await readJson(request)));
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

function isLoopback(address: string | undefined): boolean {
  return address === "::1" || /^(::ffff:)?127\./.test(address ?? "");
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  // A browser cannot send this type to another origin without asking first.
  if (!/^application\/json/.test(request.headers["content-type"] ?? "")) throw new SyntaxError("Send application/json");
  const body = await readBody(request, REQUEST_BYTES_MAX);
  if (body === undefined) throw new SyntaxError("The request is too large");
  return JSON.parse(body.toString("utf8"));
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  send(response, status, "application/json", `${JSON.stringify(body)}\n`);
}
