import { z } from "zod";
import { ConfigError } from "../errors.js";
import { Holds } from "./holds.js";

const match = z.strictObject({
  /** SOAP or XAPI method (`CreateSnapshot_Task`, `VM.snapshot`), HTTP method (`GET`), or absent for any. */
  method: z.string().optional(),
  /** Beginning of the URL's path: `/sdk`, `/folder/web01/`. */
  path: z.string().optional(),
  /** Reference, display name or folder of the machine (or reference of the object) that is acted on. */
  object: z.string().optional(),
  /** vSphere: the properties that a retrieval or filter asks for: `VirtualMachine.snapshot`, several with spaces between. */
  about: z.string().optional(),
});

const action = z.discriminatedUnion("kind", [
  /** A fault by its name on that server: of the call, or as the error of the task that the call starts. */
  z.strictObject({
    kind: z.literal("fault"),
    name: z.string(),
    message: z.string().optional(),
    /** vSphere: fields of the fault. */
    fields: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).default({}),
    /** XAPI: parameters behind the code. */
    parameters: z.array(z.string()).default([]),
    where: z.enum(["call", "task"]).default("call"),
  }),
  /** An HTTP status with a page of HTML, as a proxy or an overloaded host answers. */
  z.strictObject({ kind: z.literal("status"), status: z.number().int().min(300).max(599) }),
  z.strictObject({ kind: z.literal("delay"), ms: z.number().min(0).max(600_000) }),
  /** Cuts the connection before the call has an effect, or after it but before the answer. */
  z.strictObject({ kind: z.literal("drop"), when: z.enum(["before", "after"]) }),
  /** Stops before the call has an effect, or after it but before the answer, until it is let go (`/lab/held`). */
  z.strictObject({ kind: z.literal("hold"), when: z.enum(["before", "after"]) }),
  /** Never answers; the connection stays open. */
  z.strictObject({ kind: z.literal("hang") }),
  /** Cuts a file transfer after so many bytes of its body. */
  z.strictObject({ kind: z.literal("cut"), afterBytes: z.number().int().min(0) }),
  /** Sends the body of a file, or takes one (XAPI), at this rate: each transfer for itself, or all that the rule acts on over one line. */
  z.strictObject({
    kind: z.literal("bandwidth"),
    bytesPerSecond: z.number().int().min(1),
    scope: z.enum(["transfer", "line"]).default("transfer"),
  }),
  /** How long a task runs before it has its effect, with progress in between. */
  z.strictObject({ kind: z.literal("taskDuration"), ms: z.number().min(0).max(600_000) }),
  /** A removal, or a consolidation, that ends well and leaves the links: `runtime.consolidationNeeded`. */
  z.strictObject({ kind: z.literal("skipConsolidation") }),
  /** XAPI: an import that fails and leaves what it made, as when the tool stack dies in the middle of it. */
  z.strictObject({ kind: z.literal("skipUndo") }),
  /** Ends every session first, as a restart of the service does. */
  z.strictObject({ kind: z.literal("expireSessions") }),
]);

const rule = z.strictObject({
  match: match.default({}),
  /** Calls to let pass first. */
  skip: z.number().int().min(0).default(0),
  /** Calls to act on; absent = all. */
  count: z.number().int().min(1).optional(),
  /** 0 to 1, drawn per call; absent = always. */
  probability: z.number().min(0).max(1).optional(),
  action,
});

const settings = z.strictObject({
  /** Objects per page of RetrievePropertiesEx. */
  pageSize: z.number().int().min(1).default(100),
  sessionIdleMs: z
    .number()
    .int()
    .min(1)
    .default(30 * 60_000),
  /** Changed areas per answer of QueryChangedDiskAreas. */
  changedAreasMax: z.number().int().min(1).default(2000),
  /** Links that a chain may have: vSphere stops at 32 snapshots. */
  snapshotDepthMax: z.number().int().min(1).max(32).default(32),
  /** How far the server's clock is ahead of the real one, in milliseconds; negative: behind. */
  clockSkewMs: z.number().int().default(0),
  /** vSphere: how often each event is told, as by a server that has seen much. */
  eventCopies: z.number().int().min(1).max(1_000_000).default(1),
  /** XAPI: how long a disk stays in use after the last transfer from it has ended. */
  detachMs: z.number().int().min(0).max(600_000).default(100),
  /** XAPI: how long the answer to a wrong password takes. Real hosts: 5 s. */
  wrongPasswordMs: z.number().int().min(0).max(60_000).default(200),
  /** XAPI: chunks of zeros in a row after which an archive gets an empty one, as after 5 s of silence; 0: never. */
  exportKeepAliveChunks: z.number().int().min(0).default(0),
  /** XAPI: whether archives hold the chunks with data, or those that the image has allocated, as from release 26 on. */
  exportChunks: z.enum(["data", "allocated"]).default("data"),
  /** vSphere: bytes that every datastore shows as free; absent: what is free on this machine. */
  datastoreFree: z.number().int().min(0).optional(),
});

const rulesDocument = z.strictObject({
  settings: settings.partial().default({}),
  rules: z.array(rule).default([]),
});

type Rule = z.infer<typeof rule>;
export type RuleInput = z.input<typeof rule>;
export type RulesInput = z.input<typeof rulesDocument>;
export type RuleAction = z.infer<typeof action>;
export type LabSettings = z.infer<typeof settings>;

/** One request as rules see it. */
export interface RuleSubject {
  readonly method: string;
  readonly path: string;
  /** Every word by which the object can be named. */
  readonly objects: readonly string[];
  /** What is asked for, where the method alone does not say it. */
  readonly about?: string;
}

interface ArmedRule {
  readonly rule: Rule;
  /** Told of every request that the rule acts on, when it arrives. */
  readonly acting: (subject: RuleSubject) => void;
  seen: number;
  done: number;
}

/** What the lab does wrong, slowly or not at all, on demand. */
export class Rules {
  readonly holds = new Holds();
  #settings: LabSettings = settings.parse({});
  #armed: ArmedRule[] = [];
  readonly #watchers = new Set<(subject: RuleSubject) => void>();
  readonly #random: () => number;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  get settings(): LabSettings {
    return this.#settings;
  }

  /** Changes some settings and keeps the rest. */
  configure(changes: { readonly [K in keyof LabSettings]?: LabSettings[K] | undefined }): void {
    this.#settings = settings.parse({ ...this.#settings, ...changes });
  }

  /**
   * Adds a rule; the returned function takes it away and says how often it acted.
   * @param acting told of every request that it acts on, when it arrives
   */
  add(input: RuleInput, acting: (subject: RuleSubject) => void = () => undefined): () => number {
    const armed: ArmedRule = { rule: rule.parse(input), acting, seen: 0, done: 0 };
    this.#armed.push(armed);
    return () => {
      this.#armed = this.#armed.filter((candidate) => candidate !== armed);
      return armed.done;
    };
  }

  /**
   * Replaces every rule and applies the settings of a document.
   * @throws ConfigError when the document is not valid
   */
  load(document: RulesInput): void {
    const result = rulesDocument.safeParse(document);
    if (!result.success) throw new ConfigError(`Cannot use the lab's rules: ${z.prettifyError(result.error)}`);
    const parsed = result.data;
    this.#armed = parsed.rules.map((one) => ({ rule: one, acting: () => undefined, seen: 0, done: 0 }));
    this.configure(parsed.settings);
  }

  clear(): void {
    this.#armed = [];
  }

  /** Tells of every request that a rule can act on; the returned function ends it. */
  watch(listener: (subject: RuleSubject) => void): () => void {
    this.#watchers.add(listener);
    return () => {
      this.#watchers.delete(listener);
    };
  }

  /** The actions for one request; counts it against every rule that matches. */
  actionsFor(subject: RuleSubject): RuleAction[] {
    for (const listener of this.#watchers) listener(subject);
    return this.#armed.filter((armed) => this.#fires(armed, subject)).map(({ rule: { action: what } }) => what);
  }

  #fires(armed: ArmedRule, subject: RuleSubject): boolean {
    const { match: wanted, skip, count, probability } = armed.rule;
    if (wanted.method !== undefined && wanted.method !== subject.method) return false;
    if (wanted.path !== undefined && !subject.path.startsWith(wanted.path)) return false;
    if (wanted.object !== undefined && !subject.objects.includes(wanted.object)) return false;
    if (wanted.about !== undefined && wanted.about !== subject.about) return false;
    armed.seen++;
    if (armed.seen <= skip || (count !== undefined && armed.done >= count)) return false;
    if (probability !== undefined && this.#random() >= probability) return false;
    armed.done++;
    armed.acting(subject);
    return true;
  }
}
