import t from "tap";
import * as errors from "../../../src/errors.js";
import { EXIT_CODES, type ExitName } from "../../../src/exit-codes.js";
import { errnoNumber, errnoOf } from "../../../src/fs/errno.js";

t.equal(errnoNumber("EIO"), 5);
t.equal(errnoNumber("ENOSYS"), 38);
t.equal(errnoNumber("ENXIO"), 6);

t.equal(errnoOf(new errors.DiskIoError("x")), "EIO");
t.equal(errnoOf(new errors.UnreachableError("x")), "EIO");
t.equal(errnoOf(new errors.BusyError("x")), "EBUSY");
t.equal(errnoOf(new errors.NotFoundError("x")), "EIO", "ENOENT would read as: the file vanished, skip it");
t.equal(errnoOf(new errors.AuthError("x")), "EIO", "EACCES would read as: not for this agent, skip it");
t.equal(errnoOf(new Error("a bug")), "EIO");
t.equal(errnoOf(undefined), "EIO");

for (const exit of Object.keys(EXIT_CODES) as ExitName[]) {
  const errno = errnoOf(new errors.VmmountError("x", exit));
  t.notOk(["ENOENT", "EACCES", "EINTR", "EAGAIN"].includes(errno), `${exit} is neither skipped nor repeated for ever`);
}
