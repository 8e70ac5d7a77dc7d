import type { LabCertificate } from "../tls.js";

/** A host of the pool: an address with a certificate of its own. */
export interface PoolHost {
  readonly index: number;
  readonly ref: string;
  readonly uuid: string;
  /** Bare, as host.address has it. */
  readonly address: string;
  /** A DNS name in the host's certificate. */
  readonly dnsName: string;
  readonly tls: LabCertificate;
  /** Reference of the host's control domain. */
  readonly controlDomain: string;
  /** Whether its servers run. */
  isRunning: boolean;
  /** Where its NBD server listens; undefined while there is none. */
  nbdPort: number | undefined;
}
