import t from "tap";
import { StopRequests } from "../../src/stop-requests.js";

void t.test("the first signal stops, its echo changes nothing, a later one forces", (t) => {
  let nowMs = 1000;
  const requests = new StopRequests(() => nowMs);
  t.equal(requests.next(), "stop");
  nowMs += 499;
  t.equal(requests.next(), "the same");
  nowMs += 1;
  t.equal(requests.next(), "force");
  t.equal(requests.next(), "force");
  t.end();
});

void t.test("by itself it measures", (t) => {
  const requests = new StopRequests();
  t.equal(requests.next(), "stop");
  t.equal(requests.next(), "the same");
  t.end();
});
