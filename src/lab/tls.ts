import { execFile } from "node:child_process";
import { randomBytes, X509Certificate } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { MissingCapabilityError } from "../errors.js";
import { stateFolder } from "./lab-state.js";

const run = promisify(execFile);

export interface LabCertificate {
  readonly key: string;
  readonly certificate: string;
  /** PEM file of the self-signed certificate: what a client names as its CA file. */
  readonly path: string;
  /** SHA-256, upper-case hex pairs with colons. */
  readonly fingerprint: string;
}

/** Days that the certificate is good for: longer than any lab lives. */
const DAYS = 3650;

/** Who a certificate is for. */
interface CertificateNames {
  readonly commonName: string;
  /** Alternative names, as openssl writes them: `IP:127.0.0.1`, `DNS:localhost`. */
  readonly alternatives: readonly string[];
}

/** The certificate of a lab directory, made once. @throws MissingCapabilityError without the openssl program */
export function labCertificate(directory: string): Promise<LabCertificate> {
  const name = hostname();
  return keptCertificate(join(stateFolder(directory), "tls"), {
    commonName: name,
    alternatives: ["IP:127.0.0.1", "IP:::1", "DNS:localhost", `DNS:${name}`],
  });
}

/**
 * The certificate in a folder, made when there is none. Node can read certificates but not issue them, so openssl does.
 * @throws MissingCapabilityError without the openssl program
 */
export async function keptCertificate(folder: string, names: CertificateNames): Promise<LabCertificate> {
  const path = join(folder, "certificate.pem");
  let certificate = await readIfThere(path);
  if (certificate === undefined) {
    await issue(folder, names);
    certificate = await readFile(path, "utf8");
  }
  const key = await readFile(join(folder, "key.pem"), "utf8");
  return { key, certificate, path, fingerprint: new X509Certificate(certificate).fingerprint256 };
}

/** Into a folder of its own that is renamed when complete: a lab that dies half-way leaves no half certificate. */
async function issue(folder: string, { commonName, alternatives }: CertificateNames): Promise<void> {
  const fresh = `${folder}.${randomBytes(4).toString("hex")}`;
  await mkdir(fresh, { recursive: true, mode: 0o700 });
  try {
    const { stdout } = await run("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"],
      ...["-keyout", "-", "-out", join(fresh, "certificate.pem"), "-days", String(DAYS)],
      // A common name has at most 64 characters; the names that count are the alternative ones.
      ...["-subj", `/O=vmmount lab/CN=${commonName.slice(0, 64)}`],
      ...["-addext", `subjectAltName=${alternatives.join(",")}`],
    ]);
    await writeFile(join(fresh, "key.pem"), stdout, { mode: 0o600 });
    await rename(fresh, folder);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      throw new MissingCapabilityError("Cannot make the lab's certificate: the openssl program is missing", {
        cause: error,
        hint: "Install the Debian package openssl",
      });
    }
    throw error;
  }
}

/** The password of a lab directory, made once, in a file that only its owner can read. */
export async function labPassword(directory: string): Promise<{ readonly password: string; readonly path: string }> {
  const path = join(stateFolder(directory), "password");
  const known = await readIfThere(path);
  if (known !== undefined) return { password: known.trimEnd(), path };
  await mkdir(stateFolder(directory), { recursive: true, mode: 0o700 });
  const password = randomBytes(18).toString("base64url");
  await writeFile(path, `${password}\n`, { mode: 0o600, flag: "wx" });
  return { password, path };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
