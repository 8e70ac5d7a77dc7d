import t from "tap";
import { metered, ReadMeter } from "../../../../src/fs/block/metered.js";
import { bytes } from "../../../../src/units.js";
import { gatedSource } from "../../../fixtures/block/gated.js";
import { memorySource, patternBytes } from "../../../fixtures/block/memory.js";

const content = patternBytes(1000);
const { signal } = new AbortController();

void t.test("counts reads, bytes, errors, aborts, latency and what is in flight", async (t) => {
  const meter = new ReadMeter();
  const disk = gatedSource(content);
  let now = 0;
  const source = metered(disk, meter, () => now);
  const aborting = new AbortController();
  const first = source.read(new Uint8Array(100), bytes(0), { signal });
  now = 10;
  const second = source.read(new Uint8Array(50), bytes(100), { signal });
  const failing = source.read(new Uint8Array(7), bytes(200), { signal });
  const aborted = source.read(new Uint8Array(7), bytes(300), { signal: aborting.signal });
  t.match(meter.reading, { inFlight: 4, reads: 0, latencyMsMean: 0 });
  now = 40;
  disk.waiting[0]?.finish();
  await first;
  disk.waiting[0]?.finish();
  await second;
  disk.waiting[0]?.finish(new Error("broken"));
  await t.rejects(failing, { message: "broken" });
  aborting.abort(new Error("enough"));
  await t.rejects(aborted, { message: "enough" });
  t.strictSame(meter.reading, {
    reads: 2,
    bytes: 150,
    errors: 1,
    aborted: 1,
    inFlight: 0,
    inFlightMax: 4,
    latencyMsMean: 35,
    latencyMsMax: 40,
  });
});

void t.test("several sources add up in one meter", async (t) => {
  const meter = new ReadMeter();
  const sources = [metered(memorySource(content), meter), metered(memorySource(content), meter)];
  for (const source of sources) await source.read(new Uint8Array(10), bytes(0), { signal });
  t.match(meter.reading, { reads: 2, bytes: 20 });
  t.ok(meter.reading.latencyMsMax >= 0);
});
