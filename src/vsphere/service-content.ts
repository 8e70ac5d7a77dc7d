import { childrenNamed, child, descend, moRefAt, textAt, toMoRef } from "./element.js";
import { retrieveServiceContent } from "./requests.js";
import type { SoapClient } from "./soap-client.js";
import type { MoRef } from "./soap-message.js";
import type { XmlElement } from "./xml.js";

/** The server's well-known objects; their ids differ between vCenter and ESXi, so they are read and never guessed. */
export interface ServiceContent {
  readonly rootFolder: MoRef;
  readonly propertyCollector: MoRef;
  readonly viewManager: MoRef;
  readonly sessionManager: MoRef;
  readonly searchIndex: MoRef;
  readonly authorizationManager: MoRef | undefined;
  readonly eventManager: MoRef | undefined;
  readonly about: {
    readonly fullName: string;
    readonly version: string;
    readonly apiVersion: string;
    readonly isVcenter: boolean;
    readonly instanceUuid: string | undefined;
  };
}

/** Needs no login. */
export async function loadServiceContent(client: SoapClient, signal: AbortSignal): Promise<ServiceContent> {
  const response = await client.call(retrieveServiceContent(), { signal });
  const content = child(response, "returnval");
  const about = child(content, "about");
  return {
    rootFolder: toMoRef(child(content, "rootFolder")),
    propertyCollector: toMoRef(child(content, "propertyCollector")),
    viewManager: toMoRef(child(content, "viewManager")),
    sessionManager: toMoRef(child(content, "sessionManager")),
    searchIndex: moRefAt(content, "searchIndex") ?? { type: "SearchIndex", id: "SearchIndex" },
    authorizationManager: moRefAt(content, "authorizationManager"),
    eventManager: moRefAt(content, "eventManager"),
    about: {
      fullName: textAt(about, "fullName") ?? "VMware vSphere",
      version: textAt(about, "version") ?? "unknown",
      apiVersion: textAt(about, "apiVersion") ?? "6.5",
      isVcenter: textAt(about, "apiType") === "VirtualCenter",
      instanceUuid: textAt(about, "instanceUuid"),
    },
  };
}

/** Versions this client is written against, newest first: a newer server still speaks them. */
const KNOWN_VERSIONS = ["8.0.2.0", "8.0.0.1", "7.0", "6.7", "6.5", "6.0", "5.5"];

/** The newest version that both sides know, from vimServiceVersions.xml. */
export function commonVersion(versions: XmlElement | undefined): string | undefined {
  const vim = childrenNamed(versions, "namespace").find((element) => textAt(element, "name") === "urn:vim25");
  const offered = [child(vim, "version"), ...childrenNamed(descend(vim, "priorVersions"), "version")];
  const names = new Set(offered.map((element) => element?.text.trim()));
  return KNOWN_VERSIONS.find((version) => names.has(version));
}
