import t from "tap";
import { parseRange } from "../../../../src/lab/vcenter/file-transfer.js";
import { parseFolderUrl } from "../../../../src/lab/vcenter/folder-url.js";

const parse = (url: string) =>
  parseFolderUrl(
    url,
    (name) => name === "dc 1" || name === "dc%2f1",
    (name) => (name === "ds+%25" ? "ds+%" : undefined),
  );

await t.test("names encoded once or twice, paths once", (t) => {
  const path = { kind: "path", datastore: "ds+%", segments: ["a b", "c%.vmdk"] };
  const ds = encodeURIComponent("ds+%25");
  t.strictSame(parse(`/folder/a%20b/c%25.vmdk?dcPath=dc%201&dsName=${ds}`), path);
  t.strictSame(parse(`/folder/a%20b/c%25.vmdk?dsName=${encodeURIComponent(ds)}&dcPath=dc%25201`), path);
  t.strictSame(parse(`/folder/a%20b/c%25.vmdk?dcPath=${encodeURIComponent("dc%2f1")}&dsName=${ds}`), path);
  t.strictSame(parse("/folder"), { kind: "datacenters" });
  t.strictSame(parse("/folder?dcPath=dc%201"), { kind: "datastores" });
  t.end();
});

await t.test("everything else is missing", (t) => {
  const tail = `?dcPath=dc%201&dsName=${encodeURIComponent("ds+%25")}`;
  const urls = [
    "/folder/a",
    "/folder/a?dcPath=dc%201",
    "/folder?dcPath=other",
    "/folder?dsName=ds",
    "/folder/a?dcPath=dc+1&dsName=x",
    `/folder/..${tail}`,
    `/folder/a/%2e%2e/b${tail}`,
    `/folder/a%2fb${tail}`,
    `/folder/a%5cb${tail}`,
    `/folder/a%00${tail}`,
    `/folder/%zz${tail}`,
    "/folder/a?dcPath=%zz&dsName=x",
  ];
  for (const url of urls) t.strictSame(parse(url), { kind: "missing" }, url);
  t.end();
});

await t.test("ranges", (t) => {
  t.strictSame(parseRange("bytes=0-0", 10), { start: 0, end: 0 });
  t.strictSame(parseRange("bytes=5-", 10), { start: 5, end: 9 });
  t.strictSame(parseRange("bytes=5-99", 10), { start: 5, end: 9 });
  t.strictSame(parseRange("bytes=-3", 10), { start: 7, end: 9 });
  t.strictSame(parseRange("bytes=-30", 10), { start: 0, end: 9 });
  for (const text of ["bytes=10-", "bytes=99-100", "bytes=-0"]) t.equal(parseRange(text, 10), "unsatisfiable", text);
  for (const text of [undefined, "bytes=-", "bytes=5-4", "bytes=0-1,3-4", "items=0-1"])
    t.equal(parseRange(text, 10), undefined);
  t.end();
});
