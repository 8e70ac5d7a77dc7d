/** Where an NBD server listens. */
export type NbdAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/** What makes a server trusted; its presence makes TLS a must (NBD_OPT_STARTTLS, "FORCEDTLS" of doc/proto.md). */
export interface NbdTls {
  /** PEM; replaces the built-in roots. */
  readonly ca?: string | undefined;
  /** The name that the certificate must be for, where it is not the host that is connected to. */
  readonly serverName?: string | undefined;
  /** PEM of the very certificate that the server must show: stands in the place of every other check. */
  readonly certificate?: string | undefined;
}

export interface NbdTarget {
  readonly address: NbdAddress;
  readonly exportName: string;
  readonly tls: NbdTls | undefined;
  /** For messages, where the export's name holds a secret. */
  readonly shownName?: string | undefined;
}

/** For messages. */
export function shownTarget({ address, exportName, shownName = exportName }: NbdTarget): string {
  const where = address.kind === "unix" ? address.path : `${address.host}:${address.port}`;
  return shownName === "" ? `NBD server ${where}` : `NBD export "${shownName}" of ${where}`;
}
