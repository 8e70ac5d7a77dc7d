import type { Logger } from "../../log.js";
import type { LabConfig } from "../lab-config.js";
import type { Machine } from "../machine.js";
import type { Rules } from "../rules.js";
import { Traffic } from "../traffic.js";
import type { World } from "../world.js";
import { Collectors } from "./collector.js";
import { machineObject, snapshotObject } from "./inventory/machine-object.js";
import { siteObject } from "./inventory/site-objects.js";
import { InventoryTree } from "./inventory/tree.js";
import { managedObject, ObjectDirectory, type ManagedObject } from "./objects.js";
import { Pages } from "./pages.js";
import { aboutInfo, serviceContent } from "./service-content.js";
import type { Privileges } from "./privileges.js";
import { Sessions, userSession, type Session } from "./sessions.js";
import { Tasks } from "./tasks.js";
import { moref, type Data, type Moref } from "./values.js";
import { Views } from "./views.js";

export interface VCenterOptions {
  readonly world: World;
  readonly kind: LabConfig["server"];
  readonly rules: Rules;
  /** Passwords by user name. */
  readonly users: ReadonlyMap<string, string>;
  readonly privileges: Privileges;
  /** The name of the one host. */
  readonly hostName: string;
  readonly logger: Logger;
}

/** The state of the server behind all its protocols: sessions, inventory, tasks, and the objects that show them. */
export class VCenter {
  readonly world: World;
  readonly rules: Rules;
  readonly privileges: Privileges;
  readonly sessions: Sessions;
  readonly traffic: Traffic;
  readonly tree: InventoryTree;
  readonly tasks: Tasks;
  readonly objects = new ObjectDirectory();
  readonly collectors: Collectors;
  readonly pages = new Pages();
  readonly views: Views;
  readonly content: Data;

  constructor({ world, kind, rules, users, privileges, hostName, logger }: VCenterOptions) {
    this.world = world;
    this.privileges = privileges;
    this.rules = rules;
    this.sessions = new Sessions(users, () => rules.settings.sessionIdleMs);
    this.traffic = new Traffic(() => this.sessions.list().length);
    this.tree = new InventoryTree(world, hostName);
    this.tasks = new Tasks(() => {
      world.changed();
    }, logger);
    this.collectors = new Collectors(this.objects);
    this.views = new Views((container, recursive) => this.#below(container, recursive));
    this.content = serviceContent(aboutInfo(kind, world.instanceUuid));
    this.objects.add({ find: (ref) => this.#serviceObject(ref) });
    this.objects.add({ find: (ref) => this.#inventoryObject(ref) });
    this.objects.add({ find: (ref) => snapshotObject(ref, this.tree) });
    for (const source of [this.tasks, this.views, this.collectors]) this.objects.add(source);
    this.sessions.onEnd((key) => {
      this.collectors.endSession(key);
      this.views.endSession(key);
      this.pages.endSession(key);
    });
  }

  /** As the server's clock shows it. */
  now(): Date {
    return new Date(Date.now() + this.rules.settings.clockSkewMs);
  }

  onChange(listener: () => void): () => void {
    return this.world.onChange(listener);
  }

  /** The machine that an object is or belongs to. */
  machineOf(ref: Moref): Machine | undefined {
    if (ref.type === "VirtualMachineSnapshot") {
      return this.world.machines.find((machine) => machine.snapshot(ref.ref) !== undefined);
    }
    return this.world.machine(ref.ref);
  }

  /** Every word by which a rule can name an object. */
  wordsFor(ref: Moref): string[] {
    const machine = this.machineOf(ref);
    return machine === undefined ? [ref.ref] : [ref.ref, machine.ref, machine.name, machine.folderName];
  }

  #below(container: Moref, recursive: boolean): Moref[] {
    const node = this.tree.get(container.ref);
    if (node === undefined) return [];
    return (recursive ? this.tree.below(node) : node.children).map(({ ref }) => ref);
  }

  #inventoryObject(ref: string): ManagedObject | undefined {
    const node = this.tree.get(ref);
    if (node === undefined) return undefined;
    if (node.machine !== undefined) return machineObject(node, node.machine, this.tree, this.tasks);
    return siteObject(node, this.tree, this.world, this.tasks, this.rules.settings.datastoreFree);
  }

  #serviceObject(ref: string): ManagedObject | undefined {
    switch (ref) {
      case "ServiceInstance":
        return managedObject(moref(ref, ref), { content: () => this.content, serverClock: () => this.now() });
      case "SessionManager":
        return managedObject(moref(ref, ref), this.#sessionManager());
      case "TaskManager":
        return managedObject(moref(ref, ref), { recentTask: () => this.tasks.recent(), maxCollector: () => 32 });
      case "EventManager":
        return managedObject(moref(ref, ref), { maxCollector: () => 1000 });
      case "ViewManager":
        return managedObject(moref(ref, ref), { viewList: (session) => this.views.list(session) });
      case "AuthorizationManager":
      case "SearchIndex":
        return managedObject(moref(ref, ref), {});
      default:
        return undefined;
    }
  }

  #sessionManager() {
    const locales = () => ["en", "de"];
    return {
      currentSession: (session: Session) => userSession(session),
      sessionList: () => this.sessions.list().map(userSession),
      message: () => "",
      messageLocaleList: locales,
      supportedLocaleList: locales,
      defaultLocale: () => "en",
    };
  }
}
