import koffi from "koffi";
import type { Pointer, Vddk } from "./library.js";
import {
  CONNECT_PARAMS_BYTES,
  ConnectParams,
  CREDENTIALS_SESSION,
  CREDENTIALS_USER_PASSWORD,
  SPEC_TYPE_VMX,
} from "./layouts.js";

/** What proves who asks: the password, or the session of a login that has been made already. */
export type VddkSecret =
  | { readonly kind: "password"; readonly password: string }
  /** The value of the cookie vmware_soap_session, without quotes. */
  | { readonly kind: "session"; readonly cookie: string };

/** How the library reaches a VM. */
export interface VddkLogin {
  readonly host: string;
  /** Of the vSphere API. */
  readonly port: number;
  readonly user: string;
  readonly secret: VddkSecret;
  /** Tells this way to log in from those that were tried before. */
  readonly turn: number;
  /** SHA-1 of the server's certificate, upper-case pairs with colons. */
  readonly thumbprint: string;
  /** `vm-42` */
  readonly vm: string;
}

/** The structure of ConnectEx, with the memory that it points to. */
export class ConnectionParams implements Disposable {
  readonly pointer: Pointer;
  readonly turn: number;
  readonly #vddk: Vddk;
  readonly #texts: Buffer[] = [];
  readonly #ours: Buffer | undefined;

  /** @param options.vm "none" for what is not about one VM */
  constructor(vddk: Vddk, login: VddkLogin, { vm }: { readonly vm: "of the login" | "none" }) {
    this.#vddk = vddk;
    this.turn = login.turn;
    if (vddk.has("AllocateConnectParams")) {
      this.pointer = vddk.call("AllocateConnectParams") as Pointer;
    } else {
      this.#ours = Buffer.alloc(CONNECT_PARAMS_BYTES);
      this.pointer = koffi.address(this.#ours);
    }
    if (vm === "of the login") this.#set("vmxSpec", "void *", this.#text(`moref=${login.vm}`));
    this.#set("serverName", "void *", this.#text(login.host));
    this.#set("thumbPrint", "void *", this.#text(login.thumbprint));
    this.#setCredentials(login);
    this.#set("port", "uint32_t", login.port);
    this.#set("specType", "int", SPEC_TYPE_VMX);
  }

  /** Only after Disconnect and EndAccess: the library keeps the pointers. */
  [Symbol.dispose](): void {
    // Older libraries have FreeConnectParams too, for structures of their own only.
    if (this.#ours === undefined) this.#vddk.call("FreeConnectParams", this.pointer);
    this.#ours?.fill(0);
    for (const text of this.#texts) text.fill(0);
  }

  #setCredentials({ user, secret }: VddkLogin): void {
    if (secret.kind === "password") {
      this.#set("credType", "int", CREDENTIALS_USER_PASSWORD);
      this.#set("credential1", "void *", this.#text(user));
      this.#set("credential2", "void *", this.#text(secret.password));
      return;
    }
    this.#set("credType", "int", CREDENTIALS_SESSION);
    this.#set("credential1", "void *", this.#text(secret.cookie));
    this.#set("credential2", "void *", this.#text(user));
    // The key. VMware's guide has the password here, VMware's own backup sample (safekeeping) one blank.
    this.#set("credential3", "void *", this.#text(" "));
  }

  #set(member: string, type: string, value: number | bigint): void {
    koffi.encode(this.pointer, koffi.offsetof(ConnectParams, member), type, value);
  }

  /** In memory that stays where it is, and that can be wiped. */
  #text(text: string): bigint {
    const buffer = Buffer.allocUnsafeSlow(Buffer.byteLength(text) + 1);
    buffer.write(`${text}\0`, "utf8");
    this.#texts.push(buffer);
    return koffi.address(buffer);
  }
}
