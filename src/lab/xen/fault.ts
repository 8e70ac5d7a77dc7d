/** A failure as XAPI tells it: a code such as `HANDLE_INVALID` with its parameters. */
export class XapiFault extends Error {
  readonly code: string;
  readonly parameters: readonly string[];

  constructor(code: string, ...parameters: readonly string[]) {
    super(`${code}: [ ${parameters.join("; ")} ]`);
    this.name = "XapiFault";
    this.code = code;
    this.parameters = parameters;
  }

  /** Code and parameters as they stand in `ErrorDescription` and `task.error_info`. */
  get description(): readonly string[] {
    return [this.code, ...this.parameters];
  }

  /** Anything that is no fault is a bug of the lab, and shows as XAPI's own bugs do. */
  static of(error: unknown): XapiFault {
    return error instanceof XapiFault ? error : new XapiFault("INTERNAL_ERROR", String(error));
  }
}
