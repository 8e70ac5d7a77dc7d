import t from "tap";
import { unescapeXml } from "../../src/xml-entities.js";

void t.test("unescapeXml() undoes XML's entities and characters by number, once", (t) => {
  t.equal(unescapeXml("plain"), "plain");
  t.equal(unescapeXml("&lt;a b=&quot;&apos;&amp;amp;&gt;"), "<a b=\"'&amp;>");
  t.equal(unescapeXml("&#65;&#x42;&#X43;&#128512;&#x1F600;"), "ABC😀😀");
  t.equal(unescapeXml("&nbsp; &; &#; &#x; & &lt"), "&nbsp; &; &#; &#x; & &lt", "what is none stays");
  for (const bad of ["&#0;", "&#x0;", "&#xd800;", "&#57343;", "&#x110000;", "&#99999999999999999999;"]) {
    t.throws(() => unescapeXml(`a${bad}`), RangeError, bad);
  }
  t.end();
});
