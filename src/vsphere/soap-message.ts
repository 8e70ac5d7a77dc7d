import { escapeXml } from "./xml.js";

/** A managed object reference: class and opaque id. */
export interface MoRef {
  readonly type: string;
  readonly id: string;
}

/** A structure on the wire; `xsiType` names the class where the schema's type has subclasses. */
export interface WireStruct {
  readonly xsiType?: string | undefined;
  readonly fields: readonly WireField[];
}

type WireValue = string | number | boolean | MoRef | WireStruct;

/** Name and value; undefined is left out, an array repeats the element. */
export type WireField = readonly [name: string, value: WireValue | readonly WireValue[] | undefined];

export interface SoapRequest {
  readonly method: string;
  readonly self: MoRef;
  /** In the order of the WSDL: real servers reject or ignore misplaced elements. */
  readonly fields: readonly WireField[];
  /** The body carries credentials: no dump may show it. */
  readonly isSecret?: boolean;
  /** Only reads: may be repeated after a lost connection. */
  readonly isReadOnly?: boolean;
}

const ENVELOPE_START =
  '<?xml version="1.0" encoding="UTF-8"?>' +
  '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"' +
  ' xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>';
const ENVELOPE_END = "</soapenv:Body></soapenv:Envelope>";

export function encodeEnvelope(request: SoapRequest): string {
  return `${ENVELOPE_START}${encodeBody(request)}${ENVELOPE_END}`;
}

/** The element below `Body`. */
export function encodeBody(request: SoapRequest): string {
  const fields = request.fields.map(encodeField).join("");
  return `<${request.method} xmlns="urn:vim25">${encodeOne("_this", request.self)}${fields}</${request.method}>`;
}

function encodeField([name, value]: WireField): string {
  if (value === undefined) return "";
  return isArray(value) ? value.map((one) => encodeOne(name, one)).join("") : encodeOne(name, value);
}

/** Array.isArray alone does not narrow a readonly array. */
function isArray(value: WireValue | readonly WireValue[]): value is readonly WireValue[] {
  return Array.isArray(value);
}

function encodeOne(name: string, value: WireValue): string {
  if (typeof value !== "object") return `<${name}>${escapeXml(String(value))}</${name}>`;
  if ("id" in value) return `<${name} type="${escapeXml(value.type)}">${escapeXml(value.id)}</${name}>`;
  const type = value.xsiType === undefined ? "" : ` xsi:type="${value.xsiType}"`;
  return `<${name}${type}>${value.fields.map(encodeField).join("")}</${name}>`;
}
