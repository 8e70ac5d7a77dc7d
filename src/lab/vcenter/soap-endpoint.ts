import type { Logger } from "../../log.js";
import type { RuleAction } from "../rules.js";
import { Arguments } from "./arguments.js";
import type { Answer, Call, Handler, Handlers, OpenCall } from "./call.js";
import { AUTHORIZATION_CALLS } from "./calls/authorization-calls.js";
import { CHANGE_CALLS } from "./calls/change-calls.js";
import { COLLECTOR_CALLS } from "./calls/collector-calls.js";
import { EVENT_CALLS } from "./calls/event-calls.js";
import { MACHINE_CALLS } from "./calls/machine-calls.js";
import { SEARCH_CALLS } from "./calls/search-calls.js";
import { OPEN_CALLS, SESSION_CALLS } from "./calls/service-calls.js";
import { decodeMoref } from "./decode.js";
import { Fault, fault, invalidRequest, notAuthenticated, notFound } from "./faults.js";
import { managedObject } from "./objects.js";
import { checkPath, valueAt } from "./property-path.js";
import { ruleFault } from "./rule-fault.js";
import { parseFields, type Field } from "./schema/grammar.js";
import { managedShape, methodShape } from "./schema/lookup.js";
import { writeAny, writeData, writeField } from "./serialize.js";
import type { Client, Session } from "./sessions.js";
import { isData, isList, moref, type Moref } from "./values.js";
import type { VCenter } from "./vcenter.js";
import { escapeXml, parseXml, type Element } from "./xml.js";

const SOAP_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/";
const VIM = "urn:vim25";

/** The method that a request calls, before anything is decoded: enough for rules and counters. */
export interface SoapCall {
  readonly method: string;
  readonly target: Moref;
  readonly element: Element;
}

/** @throws Fault InvalidRequest when the text is no SOAP call */
export function parseCall(text: string): SoapCall {
  const envelope = parseXml(text);
  if (envelope.name !== "Envelope" || envelope.namespace !== SOAP_ENVELOPE) {
    throw invalidRequest("The request is not a SOAP envelope");
  }
  const body = envelope.children.find((child) => child.name === "Body" && child.namespace === SOAP_ENVELOPE);
  const [element, ...others] = body?.children ?? [];
  if (element === undefined || others.length > 0) throw invalidRequest("The SOAP body must hold exactly one call");
  // pyvmomi binds internal calls to other namespaces of the same server.
  if (!element.namespace.startsWith("urn:")) throw invalidRequest(`Unknown namespace "${element.namespace}"`);
  const [self] = element.children;
  if (self?.name !== "_this") throw invalidRequest(`Method ${element.name} lacks its _this`);
  return { method: element.name, target: decodeMoref(self), element };
}

export interface SoapContext {
  readonly server: VCenter;
  readonly session: Session | undefined;
  readonly client: Client;
  readonly signal: AbortSignal;
  readonly actions: readonly RuleAction[];
  readonly logger: Logger;
}

export interface SoapReply {
  readonly status: 200 | 500;
  readonly body: string;
  /** A session that the call has opened. */
  readonly opened: Session | undefined;
}

const CALLS: readonly Handlers<Handler>[] = [
  SESSION_CALLS,
  AUTHORIZATION_CALLS,
  EVENT_CALLS,
  COLLECTOR_CALLS,
  SEARCH_CALLS,
  MACHINE_CALLS,
  CHANGE_CALLS,
];

/** `Fetch`: reads one property; pyvmomi uses it for `object.property`. In no WSDL, on every server. */
const FETCH_FIELDS = parseFields("prop:string");

export async function answerCall(call: SoapCall, context: SoapContext): Promise<SoapReply> {
  let opened: Session | undefined;
  try {
    const failure = context.actions.find((action) => action.kind === "fault" && action.where === "call");
    if (failure?.kind === "fault") throw ruleFault(failure, call.target);
    const answer = await dispatch(call, context, (session) => {
      opened = session;
    });
    return { status: 200, body: envelope(responseElement(call.method, answer)), opened };
  } catch (error) {
    return faultReply(error, context.logger);
  }
}

async function dispatch(call: SoapCall, context: SoapContext, opened: (session: Session) => void): Promise<Answer> {
  const { server, session } = context;
  const { method, target } = call;
  const type = server.tree.get(target.ref)?.ref.type ?? target.type;
  const open = find(OPEN_CALLS, type, method);
  if (open !== undefined) {
    const args = argumentsOf(call, fieldsOf(type, method));
    const object = managedObject(moref(type, target.ref), {});
    const openCall: OpenCall = { ...context, method, target: object, args, opened };
    return open(openCall);
  }
  if (session === undefined) {
    // The service content is readable before login, by Fetch and by the property collector.
    if (method === "Fetch" && target.type === "ServiceInstance") return fetchProperty(call, anonymous(), server);
    if (isServiceRetrieval(call)) return dispatch(call, { ...context, session: anonymous() }, opened);
    throw notAuthenticated(target);
  }
  const object = server.objects.find(target, session);
  if (object === undefined && managedShape(target.type) === undefined) throw methodNotFound(call);
  if (object === undefined) throw notFound(target);
  if (method === "Fetch") return fetchProperty(call, session, server);
  const handler = CALLS.map((table) => find(table, object.ref.type, method)).find((found) => found !== undefined);
  if (handler === undefined) throw methodNotFound(call);
  const missing = server.privileges.missingFor(session.user, object.ref.type, method);
  if (missing !== undefined) throw fault("NoPermission", { object: object.ref, privilegeId: missing });
  const args = argumentsOf(call, fieldsOf(object.ref.type, method));
  const whole: Call = { ...context, session, method, target: object, args };
  return handler(whole);
}

function find<H>(table: Handlers<H>, type: string, method: string): H | undefined {
  for (const name of managedShape(type)?.lineage ?? []) {
    const methods = table[name];
    if (methods !== undefined && Object.hasOwn(methods, method)) return methods[method];
  }
  return undefined;
}

function fieldsOf(type: string, method: string): readonly Field[] {
  return methodShape(type, method) ?? [];
}

function argumentsOf(call: SoapCall, fields: readonly Field[]): Arguments {
  return Arguments.ofCall(call.element.children.slice(1), fields, call.method);
}

function methodNotFound(call: SoapCall): Fault {
  return fault("MethodNotFound", { receiver: call.target, method: call.method });
}

function fetchProperty(call: SoapCall, session: Session, server: VCenter): Answer {
  const property = argumentsOf(call, FETCH_FIELDS).text("prop") ?? "";
  const object = server.objects.get(call.target, session);
  checkPath(object.ref.type, property);
  return valueAt(object, property, session);
}

/** Whether a retrieval asks for nothing but the ServiceInstance. */
function isServiceRetrieval({ method, element }: SoapCall): boolean {
  if (method !== "RetrieveProperties" && method !== "RetrievePropertiesEx") return false;
  const objectSets = element.children
    .filter((child) => child.name === "specSet")
    .flatMap((spec) => spec.children.filter((child) => child.name === "objectSet"));
  return (
    objectSets.length > 0 &&
    objectSets.every(({ children: [obj, ...others] }) => obj?.text.trim() === "ServiceInstance" && others.length === 0)
  );
}

function anonymous(): Session {
  const now = new Date();
  return { key: "", cookie: "", user: "", loginTime: now, lastActive: now, address: "", userAgent: "", calls: 0 };
}

function responseElement(method: string, answer: Answer): string {
  const open = `<${method}Response xmlns="${VIM}">`;
  return `${open}${answer === undefined ? "" : returnValues(answer)}</${method}Response>`;
}

function returnValues(answer: NonNullable<Answer>): string {
  if (isList(answer)) return answer.map(returnValues).join("");
  if (isData(answer)) return writeData("returnval", answer, "");
  if (typeof answer === "object" && "declared" in answer) return writeAny("returnval", answer);
  return writeField({ name: "returnval", type: "string", array: false, optional: false }, answer);
}

function envelope(body: string): string {
  return [
    `<?xml version="1.0" encoding="UTF-8"?>`,
    `<soapenv:Envelope xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/"`,
    ` xmlns:soapenv="${SOAP_ENVELOPE}"`,
    ` xmlns:xsd="http://www.w3.org/2001/XMLSchema"`,
    ` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">`,
    `<soapenv:Body>\n${body}\n</soapenv:Body>\n</soapenv:Envelope>`,
  ].join("\n");
}

/** A fault as the server's answer; anything that is not a fault is a bug of the lab and shows as SystemError. */
export function faultReply(error: unknown, logger: Logger): SoapReply {
  const problem = error instanceof Fault ? error : fault("SystemError", { reason: String(error) });
  if (!(error instanceof Fault)) {
    logger.error("The lab failed to answer a call", { error: error instanceof Error ? error.stack : String(error) });
  }
  const { is } = problem.detail;
  const detail = writeData(`${is}Fault`, problem.detail, ` xmlns="${VIM}" xsi:type="${is}"`);
  const text = `<faultcode>ServerFaultCode</faultcode><faultstring>${escapeXml(problem.message)}</faultstring>`;
  const body = envelope(`<soapenv:Fault>${text}<detail>${detail}</detail></soapenv:Fault>`);
  return { status: 500, body, opened: undefined };
}
