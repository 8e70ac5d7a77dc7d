import t from "tap";
import { OpenFiles } from "../../../../src/fs/fuse/open-files.js";
import { createLogger, SecretTexts, silentLogger } from "../../../../src/log.js";
import { MemoryFileSystem } from "../../../fixtures/memory-file-system.js";

function opened(logger = silentLogger()) {
  const tree = new MemoryFileSystem();
  const record = tree.addFile("disk", { size: 10 });
  const files = new OpenFiles(logger);
  const node = tree.attributes(2)!;
  return { files, record, open: () => files.addFile(node, tree.open(2)), tree, node };
}

void t.test("each open has a handle of its own, never used again", (t) => {
  const { files, record, open } = opened();
  const first = open();
  const second = open();
  t.not(first, second);
  files.releaseFile(first);
  files.releaseFile(first);
  t.equal(record.released, 1);
  t.equal(files.file(first), undefined);
  t.equal(files.file(second)?.size, 10);
  t.ok(open() > second);
  t.end();
});

void t.test("release waits for running reads, and the end of the connection releases the rest", (t) => {
  const { files, record, open } = opened();
  const busy = open();
  open();
  const handle = files.file(busy)!;
  files.readStarted(handle);
  files.readStarted(handle);
  files.releaseAll();
  t.equal(record.released, 1);
  files.readEnded(handle);
  t.equal(record.released, 1);
  files.readEnded(handle);
  t.equal(record.released, 2);
  t.end();
});

void t.test("a close that fails is logged and harms nobody", (t) => {
  const log: string[] = [];
  const { files, tree, node } = opened(
    createLogger({ level: 6, write: (line) => log.push(line), secrets: new SecretTexts() }),
  );
  const file = tree.open(2);
  file.release = () => {
    throw new Error("no");
  };
  files.releaseFile(files.addFile(node, file));
  t.match(log[0], /Cannot close an image/);
  t.end();
});
