import t from "tap";
import { IntegrityError } from "../../../src/errors.js";
import { assignInodes } from "../../../src/fs/inodes.js";

void t.test("assignInodes() gives the same inodes in any order, below 2^48", (t) => {
  const forward = assignInodes(["a", "b", "c"]);
  const backward = assignInodes(["c", "b", "a"]);
  for (const name of ["a", "b", "c"]) t.equal(forward.get(name), backward.get(name));
  t.equal(new Set(forward.values()).size, 3);
  t.ok([...forward.values()].every((inode) => inode > 1 && inode < 2 ** 48));
  // The start of SHA-256 of "a"; written down, since backup agents know the files of earlier runs by it.
  t.equal(forward.get("a"), 0xca978112ca1b);
  t.end();
});

void t.test("assignInodes() resolves collisions by text order, and never gives 0 or the root's", (t) => {
  const hash = (text: string): number => (text.includes("\0") ? 100 + Number(text.split("\0")[1]) : text.length);
  t.strictSame(
    [...assignInodes(["zz", "aa", "mm"], hash)],
    [
      ["aa", 2],
      ["mm", 101],
      ["zz", 102],
    ],
  );
  t.strictSame(
    [...assignInodes(["", "x"], hash)],
    [
      ["", 101],
      ["x", 102],
    ],
  );
  t.end();
});

void t.test("assignInodes() refuses the same identity twice", (t) => {
  t.throws(() => assignInodes(["a", "b", "a"]), IntegrityError);
  t.end();
});
