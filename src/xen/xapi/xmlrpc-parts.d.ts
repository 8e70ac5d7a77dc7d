/** The parts of the package `xmlrpc` that are used: its serializer and deserializer, without its client and server. */
declare module "xmlrpc/lib/customtype.js" {
  /** An element of its own: `<tagName>raw</tagName>`, escaped. */
  export default class CustomType {
    tagName: string;
    constructor(raw: string);
  }
}

declare module "xmlrpc/lib/serializer.js" {
  export function serializeMethodCall(method: string, params: readonly unknown[]): string;
}

declare module "xmlrpc/lib/deserializer.js" {
  import type { Readable } from "node:stream";

  /** Calls its methods by name for every tag; values that are complete lie on the stack. */
  export default class Deserializer {
    /** Where each open array or struct begins on the stack. */
    protected marks: number[];
    protected stack: unknown[];
    protected value: boolean;
    /** "params" or "fault", once it has ended. */
    protected responseType: string | null;
    deserializeMethodResponse(stream: Readable, callback: (error: Error | null, value?: unknown) => void): void;
    protected push(value: unknown): void;
    protected onOpentag(node: { readonly name: string }): void;
    protected onClosetag(name: string): void;
    protected onError(why: string): void;
    protected onDone(): void;
    protected endInt(text: string): void;
    protected endDouble(text: string): void;
    protected endStruct(text: string): void;
    protected endBase64(text: string): void;
    protected endDateTime(text: string): void;
    protected endNil(text: string): void;
    protected endString(text: string): void;
  }
}
