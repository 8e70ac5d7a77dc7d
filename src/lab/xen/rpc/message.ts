import type { XapiFault } from "../fault.js";
import type { Value } from "../value.js";

/** A call as it came over the wire, before its parameters have types. */
export interface RpcCall {
  readonly method: string;
  readonly params: readonly Value[];
}

/** One of the encodings in which XAPI takes calls. */
export interface RpcMessage extends RpcCall {
  readonly contentType: "text/xml" | "application/json";
  /** @param isBare an answer without the usual envelope, as system.listMethods gives */
  success(value: Value, isBare: boolean): string;
  failure(fault: XapiFault): string;
}

/** Text that is no call at all: XAPI answers with an HTTP 500 page. */
export class MalformedCall extends Error {
  override readonly name = "MalformedCall";
}
