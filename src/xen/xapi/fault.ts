/** A failure that XAPI reports: its code, then what the code's parameters are. Kept raw, so that callers can look at it. */
export class XapiFault extends Error {
  override readonly name = "XapiFault";
  /** `VDI_IN_USE` … */
  readonly code: string;
  readonly params: readonly string[];

  constructor(code: string, params: readonly string[]) {
    // A session is a secret while it lives, and it may live for others than the host that does not know it.
    const isOfSession = code === "SESSION_INVALID" || params[0] === "session";
    super(isOfSession ? code : [code, ...params].join(" "));
    this.code = code;
    this.params = params;
  }

  is(...codes: readonly string[]): boolean {
    return codes.includes(this.code);
  }
}
