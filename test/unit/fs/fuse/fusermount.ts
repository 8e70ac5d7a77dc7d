import t from "tap";
import { BusyError, MissingCapabilityError, RefusedError } from "../../../../src/errors.js";
import { fusermountError } from "../../../../src/fs/fuse/fusermount.js";
import { hasSysAdmin } from "../../../../src/fs/fuse/mount-rights.js";

void t.test("its messages become errors that say what to do", (t) => {
  const cases = [
    [
      "fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf",
      MissingCapabilityError,
      /"user_allow_other" into \/etc\/fuse\.conf/,
    ],
    ["fusermount3: user has no write access to mountpoint /srv/x", RefusedError, /directory of his own/],
    ["fusermount3: mountpoint /tmp/x not owned by user", RefusedError, /directory of his own/],
    ["fusermount3: mounting over filesystem type 0x00009fa0 is forbidden", RefusedError, /ext4/],
    ["fusermount3: failed to unmount /srv/x: Device or resource busy", BusyError, /Close the files/],
    ["fusermount3: failed to open /dev/fuse: Permission denied", MissingCapabilityError, /chmod 666/],
    ["fusermount3: fuse device not found, try 'modprobe fuse' first", MissingCapabilityError, /--device/],
    ["fusermount3: mount failed: Operation not permitted", MissingCapabilityError, /setuid/],
    [
      "fusermount3: too many FUSE filesystems mounted; mount_max=1000 can be set in /etc/fuse.conf",
      MissingCapabilityError,
      /raise mount_max/,
    ],
    ["something new", MissingCapabilityError, undefined],
  ] as const;
  for (const [complaint, Failure, hint] of cases) {
    const error = fusermountError("mount", "/srv/x", complaint);
    t.type(error, Failure, complaint);
    t.match(error.message, /^Cannot mount at \/srv\/x: (?!fusermount)/);
    if (hint === undefined) t.equal(error.hint, undefined);
    else t.match(error.hint, hint);
  }
  t.end();
});

void t.test("who may mount: CAP_SYS_ADMIN in the effective set", (t) => {
  t.equal(hasSysAdmin("CapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffff\n"), true);
  t.equal(hasSysAdmin("CapPrm:\t000001ffffffffff\nCapEff:\t0000000000000000\n"), false);
  t.equal(hasSysAdmin("CapEff:\t00000000a80425fb\n"), false, "a container's root");
  t.equal(hasSysAdmin(""), false);
  t.end();
});
