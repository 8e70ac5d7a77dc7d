import t from "tap";
import { Receiver } from "../../../src/nbd/receiver.js";

void t.test("what came early stays as it came, also when the socket uses its buffer again", (t) => {
  const receiver = new Receiver();
  const buffer = Buffer.from("early bytes");
  receiver.push(buffer);
  buffer.fill(0);
  t.equal(receiver.earlyBytes, 11);
  const target = Buffer.alloc(11);
  receiver.receive(target, 11, () => undefined);
  t.equal(target.toString(), "early bytes");
  t.end();
});
