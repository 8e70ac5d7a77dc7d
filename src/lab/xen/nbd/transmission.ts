import { setTimeout as sleep } from "node:timers/promises";
import type { Holds } from "../../holds.js";
import { lineOf } from "../../line.js";
import type { RuleAction } from "../../rules.js";
import type { ReadableDisk } from "../archive/disk-bytes.js";
import type { ExactSocket } from "./exact-socket.js";
import { COMMAND, ERROR, exportAnswer, type NbdRequest, parseRequest, REQUEST_BYTES, simpleReply } from "./wire.js";

/** Offsets and lengths are multiples of it. */
const SECTOR_BYTES = 512;
/** Read and sent at a time, as by xapi-nbd. */
const BUFFER_BYTES = 512 * 1024;

export interface Transmission {
  readonly disk: ReadableDisk;
  /** What rules want of one read. */
  readonly actions: () => readonly RuleAction[];
  readonly holds: Holds;
  /** Told of every byte that was sent. */
  readonly sent: (bytes: number) => void;
}

/** Answers reads one after the other until the client leaves or does what ends the session. */
export async function transmit(socket: ExactSocket, transmission: Transmission): Promise<void> {
  const signal = leaving(socket);
  await socket.write(exportAnswer(transmission.disk.sizeBytes));
  for (;;) {
    const head = await socket.take(REQUEST_BYTES);
    const request = head === undefined ? undefined : parseRequest(head);
    if (request === undefined || request.command === COMMAND.disconnect) return;
    if (request.command !== COMMAND.read) {
      const isWrite = request.command === COMMAND.write;
      await socket.write(simpleReply(request, isWrite ? ERROR.notPermitted : ERROR.invalid));
      return;
    }
    if (request.offset % SECTOR_BYTES !== 0 || request.length % SECTOR_BYTES !== 0) {
      await socket.write(simpleReply(request, ERROR.invalid));
      return;
    }
    if ((await answerRead(socket, transmission, request, signal)) === "end") return;
  }
}

/** An error after the head of the answer can be told in one way only: by closing the connection. */
async function answerRead(
  socket: ExactSocket,
  { disk, actions, holds, sent }: Transmission,
  request: NbdRequest,
  signal: AbortSignal,
): Promise<"next" | "end"> {
  const wanted = actions();
  for (const action of wanted) {
    if (action.kind === "delay") await sleep(action.ms);
    if (action.kind === "drop") return "end";
    if (action.kind === "hang") await aborted(signal);
    // A read has no effect that "after" could come after.
    if (action.kind === "hold") await holds.hold(signal);
    if (action.kind === "fault") {
      await socket.write(simpleReply(request, ERROR.io));
      return "next";
    }
  }
  const cut = wanted.find((action) => action.kind === "cut")?.afterBytes ?? Infinity;
  const line = lineOf(wanted);
  await socket.write(simpleReply(request, ERROR.none));
  for (let done = 0; done < request.length;) {
    const length = Math.min(line?.chunkBytes ?? BUFFER_BYTES, request.length - done, cut - done);
    if (length <= 0 || request.offset + done + length > disk.sizeBytes) return "end";
    await line?.carry(length, signal);
    await socket.write(await disk.read(request.offset + done, length));
    sent(length);
    done += length;
    if (socket.socket.destroyed) return "end";
  }
  return "next";
}

/** Resolves when the client has gone. */
export async function closed(socket: ExactSocket): Promise<void> {
  await aborted(leaving(socket));
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => {
      resolve();
    });
  });
}

/** @returns a signal that is aborted when the client has gone */
export function leaving({ socket }: ExactSocket): AbortSignal {
  const leaves = new AbortController();
  const leave = (): void => {
    leaves.abort();
  };
  if (socket.destroyed) leave();
  socket.once("close", leave);
  return leaves.signal;
}
