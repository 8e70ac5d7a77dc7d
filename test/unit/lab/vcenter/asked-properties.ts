import t from "tap";
import { askedProperties } from "../../../../src/lab/vcenter/asked-properties.js";
import { parseXml } from "../../../../src/lab/vcenter/xml.js";

void t.test("what a call to the property collector is about", (t) => {
  const set = (type: string, ...paths: string[]): string =>
    `<propSet><type>${type}</type>${paths.map((path) => `<pathSet>${path}</pathSet>`).join("")}</propSet>`;
  const about = (xml: string): string => askedProperties({ element: parseXml(`<a xmlns="urn:vim25">${xml}</a>`) });
  const sets = set("Task", "info", "name") + set("Folder");
  t.equal(about(`<specSet>${sets}<objectSet/></specSet>`), "Task.info Task.name Folder");
  t.equal(about(`<spec>${set("Task", "info")}</spec>`), "Task.info", "a filter has one");
  t.equal(about("<_this>vm-1</_this>"), "", "other calls are about nothing");
  t.end();
});
