/** What vCenter and ESXi call the cookie of a login. */
export const SESSION_COOKIE = "vmware_soap_session";

/**
 * The session cookies of one server. Values are kept and sent back verbatim: the double quotes around the value of
 * `vmware_soap_session` are part of it.
 */
export class CookieJar {
  readonly #cookies = new Map<string, string>();

  /** Takes the values of Set-Cookie headers. */
  take(headers: readonly string[]): void {
    for (const header of headers) {
      const [pair = ""] = header.split(";", 1);
      const equals = pair.indexOf("=");
      if (equals > 0) this.#cookies.set(pair.slice(0, equals).trim(), pair.slice(equals + 1).trim());
    }
  }

  /** The Cookie header, absent while there is no cookie. */
  headers(): Readonly<Record<string, string>> {
    if (this.#cookies.size === 0) return {};
    return { cookie: [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ") };
  }

  value(name: string): string | undefined {
    return this.#cookies.get(name);
  }

  clear(): void {
    this.#cookies.clear();
  }
}
