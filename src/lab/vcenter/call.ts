import type { RuleAction } from "../rules.js";
import type { Arguments } from "./arguments.js";
import type { ManagedObject } from "./objects.js";
import type { Client, Session } from "./sessions.js";
import type { Declared, Value } from "./values.js";
import type { VCenter } from "./vcenter.js";

/** One SOAP call on its way to its handler. */
export interface Call {
  readonly server: VCenter;
  readonly method: string;
  readonly target: ManagedObject;
  readonly args: Arguments;
  readonly session: Session;
  /** Aborted when the client has gone away. */
  readonly signal: AbortSignal;
  /** What rules want done with this call. */
  readonly actions: readonly RuleAction[];
}

/** A call that needs no login. */
export interface OpenCall extends Omit<Call, "session"> {
  readonly session: Session | undefined;
  readonly client: Client;
  /** Makes the answer carry the session's cookie. */
  readonly opened: (session: Session) => void;
}

export type Answer = Value | Declared | undefined;
export type Handler = (call: Call) => Answer | Promise<Answer>;
export type OpenHandler = (call: OpenCall) => Answer;

/** Handlers by the type that declares the method, then by method. */
export type Handlers<H> = Readonly<Record<string, Readonly<Record<string, H>>>>;
