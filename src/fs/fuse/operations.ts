import type { Cursor, Field } from "../../binary.js";
import * as handlers from "./handlers.js";
import type { Outcome } from "./handlers.js";
import { decodeInit } from "./init.js";
import { interruptIn, lseekIn, openIn, readIn, releaseIn, type InHeader } from "./protocol.js";
import type { Session } from "./session.js";

export interface Operation {
  /** As in linux/fuse.h, without the prefix FUSE_. */
  readonly name: string;
  /** False for the few that have no answer, not even a failure. */
  readonly repliesOnFailure: boolean;
  readonly run: (session: Session, header: InHeader, body: Cursor) => Outcome;
}

interface OperationSpec<A> {
  readonly decode: (body: Cursor) => A;
  readonly handle: (session: Session, header: InHeader, request: A) => Outcome;
  readonly repliesOnFailure?: boolean;
}

function operation<A>(opcode: number, name: string, spec: OperationSpec<A>): readonly [number, Operation] {
  return [
    opcode,
    {
      name,
      repliesOnFailure: spec.repliesOnFailure ?? true,
      run: (session, header, body) => spec.handle(session, header, spec.decode(body)),
    },
  ];
}

const fixed =
  <A>(layout: Field<A>) =>
  (body: Cursor): A =>
    body.take(layout);
const name = (body: Cursor): string => body.cString();
const nothing = (): undefined => undefined;

/** An operation of writable or special file systems: ENOSYS tells the kernel, mostly for good, not to ask again. */
function unsupported(opcode: number, label: string): readonly [number, Operation] {
  return operation(opcode, label, { decode: nothing, handle: handlers.unsupported });
}

/** Every operation of protocol 7.45 that can reach a read-only file system, by its number in linux/fuse.h. */
export const OPERATIONS: ReadonlyMap<number, Operation> = new Map([
  operation(1, "LOOKUP", { decode: name, handle: handlers.lookup }),
  // Nodes live as long as the mount, so lookup counts are of no interest.
  operation(2, "FORGET", { decode: nothing, handle: handlers.ignore, repliesOnFailure: false }),
  operation(3, "GETATTR", { decode: nothing, handle: handlers.getattr }),
  operation(14, "OPEN", { decode: fixed(openIn), handle: handlers.open }),
  operation(15, "READ", { decode: fixed(readIn), handle: handlers.read }),
  operation(17, "STATFS", { decode: nothing, handle: handlers.statfs }),
  operation(18, "RELEASE", { decode: fixed(releaseIn), handle: handlers.release }),
  unsupported(20, "FSYNC"),
  unsupported(22, "GETXATTR"),
  unsupported(23, "LISTXATTR"),
  // A closing program waits for this one even when it is killed; NOFLUSH keeps it away.
  operation(25, "FLUSH", { decode: nothing, handle: handlers.succeed }),
  operation(26, "INIT", { decode: decodeInit, handle: handlers.init }),
  operation(27, "OPENDIR", { decode: fixed(openIn), handle: handlers.opendir }),
  operation(28, "READDIR", { decode: fixed(readIn), handle: handlers.readdir }),
  operation(29, "RELEASEDIR", { decode: fixed(releaseIn), handle: handlers.releasedir }),
  unsupported(30, "FSYNCDIR"),
  // ENOSYS means "access granted": the kernel has already checked the mode bits (default_permissions).
  unsupported(34, "ACCESS"),
  operation(36, "INTERRUPT", { decode: fixed(interruptIn), handle: handlers.interrupt, repliesOnFailure: false }),
  unsupported(37, "BMAP"),
  operation(38, "DESTROY", { decode: nothing, handle: handlers.succeed }),
  unsupported(39, "IOCTL"),
  unsupported(40, "POLL"),
  operation(41, "NOTIFY_REPLY", { decode: nothing, handle: handlers.ignore, repliesOnFailure: false }),
  operation(42, "BATCH_FORGET", { decode: nothing, handle: handlers.ignore, repliesOnFailure: false }),
  operation(44, "READDIRPLUS", { decode: fixed(readIn), handle: handlers.readdirplus }),
  operation(46, "LSEEK", { decode: fixed(lseekIn), handle: handlers.lseek }),
  unsupported(47, "COPY_FILE_RANGE"),
  unsupported(50, "SYNCFS"),
  unsupported(52, "STATX"),
]);
