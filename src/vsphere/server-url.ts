import { ConfigError } from "../errors.js";

export interface ServerUrl {
  /** `https://host:port`, the port only when it is not 443. */
  readonly origin: string;
  readonly hostname: string;
  readonly port: number;
}

/** @throws ConfigError for anything but `https://host[:port]` */
export function parseServerUrl(text: string): ServerUrl {
  let url: URL;
  try {
    url = new URL(text);
  } catch (error) {
    throw new ConfigError("Cannot use the server URL: it is not a URL", { cause: error, hint: HINT });
  }
  // The text itself stays out of the message: it might hold a password.
  if (url.username !== "" || url.password !== "") {
    throw new ConfigError("Cannot use the server URL: it holds credentials, which belong into a credential file");
  }
  if (url.protocol !== "https:" || !["", "/", "/sdk", "/sdk/"].includes(url.pathname) || url.search + url.hash !== "") {
    throw new ConfigError(`Cannot use the server URL "${url.href}": it must be https://host or https://host:port`, {
      hint: HINT,
    });
  }
  return { origin: url.origin, hostname: url.hostname, port: url.port === "" ? 443 : Number(url.port) };
}

const HINT = "Write it as https://vcenter.example.org";
