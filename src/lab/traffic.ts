export interface TrafficReport {
  /** SOAP calls by method. */
  readonly methods: Readonly<Record<string, number>>;
  /** SOAP calls by method for each machine, by display name. */
  readonly machines: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Datastore files by `[datastore] path`. */
  readonly files: Readonly<Record<string, FileTraffic>>;
  /** HTTP answers by status. */
  readonly statuses: Readonly<Record<string, number>>;
  readonly logins: number;
  /** Sessions that are open now. */
  readonly sessions: number;
  /** Requests being answered now. */
  readonly inFlight: number;
  /** Most requests that were answered at once. */
  readonly inFlightMax: number;
}

interface FileTraffic {
  readonly requests: number;
  readonly bytesSent: number;
}

/** Counts what clients do, so that tests can assert on it. */
export class Traffic {
  readonly #methods = new Map<string, number>();
  readonly #machines = new Map<string, Map<string, number>>();
  readonly #files = new Map<string, { requests: number; bytesSent: number }>();
  readonly #statuses = new Map<string, number>();
  readonly #openSessions: () => number;
  #logins = 0;
  #inFlight = 0;
  #inFlightMax = 0;

  constructor(openSessions: () => number) {
    this.#openSessions = openSessions;
  }

  method(name: string, machine: string | undefined): void {
    bump(this.#methods, name);
    if (machine === undefined) return;
    const counts = this.#machines.get(machine) ?? new Map<string, number>();
    bump(counts, name);
    this.#machines.set(machine, counts);
  }

  login(): void {
    this.#logins++;
  }

  fileRequest(path: string): void {
    this.#file(path).requests++;
  }

  fileBytes(path: string, bytes: number): void {
    this.#file(path).bytesSent += bytes;
  }

  begin(): void {
    this.#inFlight++;
    this.#inFlightMax = Math.max(this.#inFlightMax, this.#inFlight);
  }

  end(status: number): void {
    this.#inFlight--;
    bump(this.#statuses, String(status));
  }

  reset(): void {
    for (const map of [this.#methods, this.#machines, this.#files, this.#statuses]) map.clear();
    this.#logins = 0;
    this.#inFlightMax = this.#inFlight;
  }

  report(): TrafficReport {
    return {
      methods: Object.fromEntries(this.#methods),
      machines: Object.fromEntries([...this.#machines].map(([name, counts]) => [name, Object.fromEntries(counts)])),
      files: Object.fromEntries([...this.#files].map(([path, counts]) => [path, { ...counts }])),
      statuses: Object.fromEntries(this.#statuses),
      logins: this.#logins,
      sessions: this.#openSessions(),
      inFlight: this.#inFlight,
      inFlightMax: this.#inFlightMax,
    };
  }

  #file(path: string): { requests: number; bytesSent: number } {
    const known = this.#files.get(path) ?? { requests: 0, bytesSent: 0 };
    this.#files.set(path, known);
    return known;
  }
}

function bump(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}
