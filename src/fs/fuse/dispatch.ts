import { Cursor } from "../../binary.js";
import { errorChain, IntegrityError, VmmountError } from "../../errors.js";
import { errnoOf } from "../errno.js";
import { OPERATIONS, type Operation } from "./operations.js";
import { inHeader, type InHeader } from "./protocol.js";
import type { Session } from "./session.js";

/**
 * Handles one request. Every value needed later is decoded before this returns, so the caller may reuse `message`; the
 * answer may come later. Whatever goes wrong, a request that expects an answer gets one: its caller would wait for ever.
 * @throws IntegrityError when not even the header can be read: there is nobody to answer
 */
export function dispatch(session: Session, message: Uint8Array): void {
  const body = new Cursor(message);
  const header = body.take(inHeader);
  if (header.len !== message.length) {
    throw new IntegrityError(`Cannot read a FUSE request: it says ${header.len} bytes and has ${message.length}`);
  }
  const operation = OPERATIONS.get(header.opcode);
  session.count(operation?.name ?? `OPCODE_${header.opcode}`);
  if (operation === undefined) session.replies.error(header.unique, "ENOSYS");
  else run(session, operation, header, body);
}

function run(session: Session, operation: Operation, header: InHeader, body: Cursor): void {
  try {
    const outcome = operation.run(session, header, body);
    if (typeof outcome !== "string") session.replies.body(header.unique, outcome);
    else if (outcome !== "none") session.replies.error(header.unique, outcome);
  } catch (error) {
    if (operation.repliesOnFailure) session.replies.error(header.unique, errnoOf(error));
    const fields = { operation: operation.name, inode: header.nodeid, reason: errorChain(error) };
    // A failure that the file system foresaw is one file's; anything else is a bug, worth its stack.
    if (error instanceof VmmountError) session.logger.warn("A FUSE request failed", fields);
    else session.logger.error("A FUSE request failed unexpectedly", { ...fields, stack: stackOf(error) });
  }
}

function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack : undefined;
}
