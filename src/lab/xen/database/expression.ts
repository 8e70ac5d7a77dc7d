import { XapiFault } from "../fault.js";
import type { Value } from "../value.js";
import { databaseText } from "./text.js";

/** Reads a field of the object in question by its wire name. */
export type ReadField = (name: string) => Value | undefined;
/** Whether an object fits. */
export type Predicate = (read: ReadField) => boolean;
/** The wire name of a database name; undefined when the class has no such field. */
export type WireName = (databaseName: string) => string | undefined;

/** Deepest nesting: the parser calls itself. */
const DEPTH_MAX = 100;

const TOKEN = /\s*(?:(?<text>"(?:[^"\\]|\\.)*")|(?<word>\w+)|(?<sign>[()=]))/y;

/**
 * Reads the language of get_all_records_where: `field "name__label" = "x" and not (field "is_a_snapshot" = "true")`.
 * Values are compared as texts of the database.
 * @throws XapiFault INVALID_VALUE
 */
export function parseExpression(expression: string, wireName: WireName): Predicate {
  return new Parser(expression, wireName).whole();
}

class Parser {
  readonly #expression: string;
  readonly #wireName: WireName;
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(expression: string, wireName: WireName) {
    this.#expression = expression;
    this.#wireName = wireName;
    this.#tokens = tokensOf(expression);
  }

  whole(): Predicate {
    const predicate = this.#either(0);
    if (this.#at < this.#tokens.length) throw this.#invalid(`"${this.#tokens[this.#at] ?? ""}" is too much`);
    return predicate;
  }

  #either(depth: number): Predicate {
    const terms = [this.#both(depth)];
    while (this.#skips("or")) terms.push(this.#both(depth));
    return (read) => terms.some((one) => one(read));
  }

  #both(depth: number): Predicate {
    const terms = [this.#term(depth)];
    while (this.#skips("and")) terms.push(this.#term(depth));
    return (read) => terms.every((one) => one(read));
  }

  #term(depth: number): Predicate {
    if (depth > DEPTH_MAX) throw this.#invalid("is nested too deeply");
    if (this.#skips("true")) return () => true;
    if (this.#skips("false")) return () => false;
    if (this.#skips("not")) {
      const inner = this.#term(depth + 1);
      return (read) => !inner(read);
    }
    if (this.#skips("(")) {
      const inner = this.#either(depth + 1);
      this.#expect(")");
      return inner;
    }
    const left = this.#operand();
    this.#expect("=");
    const right = this.#operand();
    return (read) => left(read) === right(read);
  }

  /** A field or a text: both sides of `=` may be either. */
  #operand(): (read: ReadField) => string {
    const token = this.#take();
    if (isText(token)) {
      const text = unquote(token);
      return () => text;
    }
    if (token !== "field") throw this.#invalid(`"${token}" is neither a field nor a text`);
    const given = this.#take();
    const name = this.#wireName(isText(given) ? unquote(given) : given);
    if (name === undefined) throw this.#invalid(`no field ${given}`);
    return (read) => databaseText(read(name) ?? "");
  }

  #skips(token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false;
    this.#at++;
    return true;
  }

  #expect(wanted: string): void {
    const found = this.#take();
    if (found !== wanted) throw this.#invalid(`"${found}" where "${wanted}" should be`);
  }

  #take(): string {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw this.#invalid("ends too early");
    return token;
  }

  #invalid(reason: string): XapiFault {
    return new XapiFault("INVALID_VALUE", this.#expression, reason);
  }
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
