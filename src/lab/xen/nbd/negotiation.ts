import { TLSSocket } from "node:tls";
import type { LabCertificate } from "../../tls.js";
import { ExactSocket } from "./exact-socket.js";
import { FIXED_NEWSTYLE, GREETING, OPTION, OPTION_MAGIC, optionReply, REPLY } from "./wire.js";

/** Longest export name that is read: a uuid and a session reference are far below. */
const OPTION_BYTES_MAX = 4096;
/** A client needs two. */
const OPTIONS_MAX = 64;

/** `forced`: on a network with the purpose nbd; `none`: with insecure_nbd. */
export type TlsMode = "forced" | "none";

export interface Wish {
  /** By which to go on: behind TLS another one than before. */
  readonly socket: ExactSocket;
  readonly exportName: string;
}

/**
 * Fixed newstyle negotiation as xapi-nbd does it: of all options it knows EXPORT_NAME and STARTTLS.
 * @returns undefined when the client has gone or must be dropped
 */
export async function negotiate(plain: ExactSocket, mode: TlsMode, tls: LabCertificate): Promise<Wish | undefined> {
  let socket = plain;
  const flags = Buffer.from([0, FIXED_NEWSTYLE]);
  await socket.write(Buffer.concat([GREETING, flags]));
  const clientFlags = await socket.take(4);
  if (clientFlags === undefined) return undefined;
  if (mode === "forced" && (clientFlags.readUInt32BE() & FIXED_NEWSTYLE) === 0) return undefined;
  let isSafe = false;
  for (let count = 0; count < OPTIONS_MAX; count++) {
    const asked = await readOption(socket);
    if (asked === undefined) return undefined;
    const { option, data } = asked;
    const answer = (type: number): Promise<void> => socket.write(optionReply(option, type));
    if (mode === "forced" && !isSafe) {
      if (option === OPTION.exportName || option === OPTION.abort) return undefined;
      if (option !== OPTION.startTls) {
        await answer(REPLY.tlsRequired);
        continue;
      }
      await answer(REPLY.ack);
      const encrypted = await startTls(socket, tls);
      if (encrypted === undefined) return undefined;
      socket = encrypted;
      isSafe = true;
      continue;
    }
    switch (option) {
      case OPTION.exportName:
        return { socket, exportName: data.toString("utf8") };
      case OPTION.abort:
        await answer(REPLY.ack);
        return undefined;
      case OPTION.list:
        await answer(REPLY.policy);
        break;
      case OPTION.startTls:
        await answer(isSafe ? REPLY.invalid : REPLY.policy);
        break;
      default:
        await answer(REPLY.unsupported);
    }
  }
  return undefined;
}

async function readOption(socket: ExactSocket): Promise<{ option: number; data: Buffer } | undefined> {
  const head = await socket.take(16);
  if (head?.subarray(0, 8).equals(OPTION_MAGIC) !== true) return undefined;
  const length = head.readUInt32BE(12);
  const data = length > OPTION_BYTES_MAX ? undefined : await socket.take(length);
  return data === undefined ? undefined : { option: head.readUInt32BE(8), data };
}

async function startTls(plain: ExactSocket, { key, certificate }: LabCertificate): Promise<ExactSocket | undefined> {
  // Bytes before the handshake could have come from anybody.
  if (!plain.release()) return undefined;
  const encrypted = new TLSSocket(plain.socket, { isServer: true, key, cert: certificate, minVersion: "TLSv1.2" });
  const isAgreed = await new Promise<boolean>((resolve) => {
    encrypted.once("secure", () => {
      resolve(true);
    });
    for (const event of ["error", "close"]) {
      encrypted.once(event, () => {
        resolve(false);
      });
    }
  });
  if (isAgreed) return new ExactSocket(encrypted);
  encrypted.destroy();
  return undefined;
}
