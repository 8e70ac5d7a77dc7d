import { Readable } from "node:stream";
import CustomType from "xmlrpc/lib/customtype.js";
import Deserializer from "xmlrpc/lib/deserializer.js";
import { serializeMethodCall } from "xmlrpc/lib/serializer.js";
import { ConfigError, IntegrityError } from "../../errors.js";
import { KIB } from "../../units.js";
import { XapiFault } from "./fault.js";
import { isRecord, type XapiValue } from "./value.js";

/** Records are three levels deep, each of three or four elements; more is an attempt to exhaust us. */
const ELEMENT_DEPTH_MAX = 64;
/** Parsed at a time, so that a large answer does not hold up everything else. */
const PIECE_BYTES = 256 * KIB;

/**
 * The body of a call. Text goes as `<string>`, numbers as `<double>`: XAPI takes its integers, references and dates as text.
 * @throws ConfigError for text with characters that XML cannot carry
 */
export function serializeCall(method: string, params: readonly XapiValue[]): string {
  try {
    return serializeMethodCall(method, params.map(toWire));
  } catch (error) {
    // The package's own words would show the text, which may be a password.
    throw new ConfigError(`Cannot call ${method}: a parameter holds control characters, which XML cannot carry`, {
      cause: new Error(error instanceof Error ? error.name : "unknown"),
    });
  }
}

class StringElement extends CustomType {}
StringElement.prototype.tagName = "string";
class DoubleElement extends CustomType {}
DoubleElement.prototype.tagName = "double";

/** Elements of our own: the package writes some texts as CDATA, which cannot hold every text, and 60 as an integer. */
function toWire(value: XapiValue): unknown {
  if (typeof value === "string") return new StringElement(value);
  if (typeof value === "number") return new DoubleElement(String(value));
  if (typeof value === "boolean") return value;
  if (isRecord(value)) return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, toWire(one)]));
  return value.map(toWire);
}

/** Integers and dates stay the text that they were; what XAPI never sends is refused. */
class XapiDeserializer extends Deserializer {
  #depth = 0;

  protected override onOpentag(node: { readonly name: string }): void {
    this.#depth++;
    // What is thrown here would end the process: nobody stands between the parser and the stream.
    if (this.#depth > ELEMENT_DEPTH_MAX) this.onError("its elements are nested without end");
    else super.onOpentag(node);
  }

  protected override onClosetag(name: string): void {
    this.#depth--;
    super.onClosetag(name);
  }

  protected override onDone(): void {
    // Likewise: the package looks into a fault, which may hold nothing, or what no text can be made of.
    if (this.responseType === "fault") this.onError("it is a fault of XML-RPC, which this API never sends");
    else super.onDone();
  }

  protected override endInt(text: string): void {
    if (!/^-?\d{1,20}$/.test(text)) throw new Error("an integer is none");
    this.endString(text);
  }

  protected override endDouble(text: string): void {
    // Written by C: "inf" and "nan" are possible, and mean nothing to us.
    this.push(Number.isFinite(Number(text)) ? Number(text) : 0);
    this.value = false;
  }

  protected override endDateTime(text: string): void {
    this.endString(text);
  }

  protected override endStruct(): void {
    const items = this.stack.splice(this.marks.pop() ?? 0);
    // Without a prototype, a member called "__proto__" is a member like any other.
    const struct = Object.create(null) as Record<string, unknown>;
    for (let at = 0; at < items.length; at += 2) {
      const name = items[at];
      if (typeof name !== "string" || at + 1 >= items.length) throw new Error("a member has no name or no value");
      struct[name] = items[at + 1];
    }
    this.push(struct);
    this.value = false;
  }

  protected override endBase64(): void {
    throw new Error("it holds base64, which this API never sends");
  }

  protected override endNil(): void {
    throw new Error("it holds a nil, which this API never sends");
  }
}

/**
 * The value of an answer.
 * @throws XapiFault when XAPI reports a failure, IntegrityError for anything but an answer of XAPI
 */
export async function parseAnswer(body: Uint8Array, from: string): Promise<XapiValue> {
  const answer = await deserialize(body, from);
  if (!isRecord(answer)) throw invalid(from, new Error("it holds no status"));
  if (answer["Status"] === "Success" && answer["Value"] !== undefined) return answer["Value"];
  if (answer["Status"] !== "Failure") throw invalid(from, new Error("its status is neither success nor failure"));
  throw toFault(answer["ErrorDescription"]);
}

/** A failure as XAPI writes it: the code, then its parameters. */
export function toFault(description: XapiValue | undefined): XapiFault {
  const [code = "INTERNAL_ERROR", ...params] = Array.isArray(description) ? description.map(faultText) : [];
  return new XapiFault(code, params);
}

/** A record has no text of its own. */
function faultText(value: XapiValue): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/**
 * What a task left as its result: the XML of a value, a bare reference from some old releases, or nothing.
 * @throws IntegrityError
 */
export async function parseTaskResult(text: string, from: string): Promise<XapiValue> {
  if (!/^\s*<value/.test(text)) return text;
  const wrapped = `<methodResponse><params><param>${text}</param></params></methodResponse>`;
  return await deserialize(Buffer.from(wrapped), from);
}

async function deserialize(body: Uint8Array, from: string): Promise<XapiValue> {
  const stream = Readable.from(pieces(body), { objectMode: false });
  try {
    return await new Promise<XapiValue>((resolve, reject) => {
      new XapiDeserializer().deserializeMethodResponse(stream, (error, value) => {
        if (error !== null) reject(error);
        else resolve(value as XapiValue);
      });
    });
  } catch (error) {
    throw invalid(from, error);
  } finally {
    stream.destroy();
  }
}

async function* pieces(body: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < body.length; at += PIECE_BYTES) {
    yield body.subarray(at, at + PIECE_BYTES);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function invalid(from: string, cause: unknown): IntegrityError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new IntegrityError(`Cannot read the answer of ${from}: it is none of XAPI (${why.slice(0, 200)})`, { cause });
}
