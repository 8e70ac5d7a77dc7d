import { XapiFault } from "../fault.js";
import type { Value } from "../value.js";
import { databaseText } from "./text.js";

/** Reads a field of the object in question by its wire name. */
export type ReadField = (name: string) => Value | undefined;
/** Whether an object fits. */
export type Predicate = (read: ReadField) => boolean;

/** Deepest nesting: the parser calls itself. */
const DEPTH_MAX = 100;

const TOKEN = /\s*(?:(?<text>"(?:[^"\\]|\\.)*")|(?<word>\w+)|(?<sign>[()=]))/y;

/**
 * Reads the language of get_all_records_where: `field "name__label" = "x" and not (field "is_a_snapshot" = "true")`.
 * Values are compared as texts of the database.
 * @param wireName the wire name of a database name; undefined when the class has no such field
 * @throws XapiFault INVALID_VALUE
 */
export function parseExpression(expression: string, wireName: (databaseName: string) => string | undefined): Predicate {
  const tokens = tokensOf(expression);
  let at = 0;
  const invalid = (reason: string): XapiFault => new XapiFault("INVALID_VALUE", expression, reason);
  const take = (): string => {
    const token = tokens[at++];
    if (token === undefined) throw invalid("ends too early");
    return token;
  };
  const expect = (wanted: string): void => {
    const found = take();
    if (found !== wanted) throw invalid(`"${found}" where "${wanted}" should be`);
  };

  /** A field or a text: both sides of `=` may be either. */
  const operand = (): ((read: ReadField) => string) => {
    const token = take();
    if (token === "field") {
      const quoted = take();
      const name = wireName(isText(quoted) ? unquote(quoted) : quoted);
      if (name === undefined) throw invalid(`no field ${quoted}`);
      return (read) => databaseText(read(name) ?? "");
    }
    if (!isText(token)) throw invalid(`"${token}" is neither a field nor a text`);
    const text = unquote(token);
    return () => text;
  };

  const term = (depth: number): Predicate => {
    if (depth > DEPTH_MAX) throw invalid("is nested too deeply");
    switch (tokens[at]) {
      case "true":
      case "false": {
        const is = take() === "true";
        return () => is;
      }
      case "not": {
        take();
        const inner = term(depth + 1);
        return (read) => !inner(read);
      }
      case "(": {
        take();
        const inner = either(depth + 1);
        expect(")");
        return inner;
      }
      default: {
        const left = operand();
        expect("=");
        const right = operand();
        return (read) => left(read) === right(read);
      }
    }
  };

  const both = (depth: number): Predicate => {
    const terms = [term(depth)];
    while (tokens[at] === "and") {
      at++;
      terms.push(term(depth));
    }
    return (read) => terms.every((one) => one(read));
  };

  const either = (depth: number): Predicate => {
    const terms = [both(depth)];
    while (tokens[at] === "or") {
      at++;
      terms.push(both(depth));
    }
    return (read) => terms.some((one) => one(read));
  };

  const whole = either(0);
  if (at < tokens.length) throw invalid(`"${tokens[at] ?? ""}" is too much`);
  return whole;
}

/** @throws XapiFault INVALID_VALUE */
function tokensOf(expression: string): string[] {
  const tokens: string[] = [];
  const text = expression.trimEnd();
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const groups = TOKEN.exec(text)?.groups;
    if (groups === undefined) throw new XapiFault("INVALID_VALUE", expression, "cannot be read");
    tokens.push(groups["text"] ?? groups["word"] ?? groups["sign"] ?? "");
  }
  return tokens;
}

function isText(token: string): boolean {
  return token.startsWith('"');
}

function unquote(token: string): string {
  return token.slice(1, -1).replace(/\\(.)/g, "$1");
}
