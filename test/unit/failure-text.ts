import t from "tap";
import { ConfigError, errorFacts } from "../../src/errors.js";
import { failureText } from "../../src/failure-text.js";

void t.test("a failure is one line: what failed, and what to try", (t) => {
  const facts = errorFacts(new ConfigError('Cannot use "a\nb": it is wrong', { hint: "Correct it" }));
  t.equal(failureText(facts, "text"), 'vmmount: Cannot use "a\\u000ab": it is wrong. Correct it\n');
  t.match(JSON.parse(failureText(facts, "json")), { code: 78, hint: "Correct it" });
  t.equal(failureText(errorFacts(new ConfigError("Cannot")), "text"), "vmmount: Cannot\n");
  t.end();
});
