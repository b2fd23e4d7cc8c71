// SPDX-License-Identifier: Apache-2.0
/**
 * A switch daemon: bridges are what a database says, and the database is told what became of them.
 *
 * Whatever changes in the database, all of it is looked at: what goes goes first, then comes what
 * comes, then one transaction says both what became of it and that it is done (`cur_cfg`), which
 * ovs-vsctl(8) waits for.
 *
 * @module
 */
import { Database } from "../ovsdb/database.ts";
import { clockMs, every } from "../policy/clock.ts";
import type { Values } from "../ovsdb/schema.ts";
import type { Transaction } from "../ovsdb/transaction.ts";
import type { Switch } from "../openflow/switch/switch.ts";
import type { PatchPeer } from "../openflow/translate/pipeline.ts";
import { Bridge, type Face, type Neighbours } from "./bridge.ts";
import { capabilitiesOf } from "./capabilities.ts";
import { bridgesOf } from "./config.ts";
import { type Backing, Datapaths } from "./datapaths.ts";
import { type DatapathKind, faceTypes } from "./face.ts";
import { Dummies } from "./dummies/dummies.ts";
import { Faults } from "./faults.ts";
import type { Journal } from "../openflow/connection/connection.ts";
import { journalOf } from "./journal.ts";
import type { Say } from "./log.ts";
import { Notes } from "./settings/unhonoured.ts";
import { watched } from "./settings/watched.ts";
import {
  devices,
  faceStatistics,
  faceValues,
  tellBonds,
  tellMirrors,
  Written,
} from "./status.ts";

/** How a daemon runs. */
export interface DaemonOptions {
  /** Where the database's server is. */
  readonly database: string;
  /** The folder of sockets. */
  readonly folder: string;
  /** Whether there are datapaths of dummy ports. */
  readonly dummy?: "no" | "yes" | "override";
  /** Told what happens. */
  readonly log: Say;
}

const STATS_MS = 5000;
/** Interfaces that could not be are tried again after so long, ms. */
const RETRY_MS = 5000;
/** So often it is looked whether controllers answer, ms. */
const FAIL_OPEN_MS = 500;
/** So often it is looked at the links of bonds, ms. */
const BONDS_MS = 100;
/** Changes of ports are told together. */
const PORTS_MS = 50;
const LOCK = "ovs_vswitchd";
/** A daemon that ends waits so long for the database to take what is told, ms. */
const PATIENCE_MS = 500;
const MAX_ODDITIES = 1000;

/** A daemon. */
export class Daemon implements AsyncDisposable, Neighbours {
  readonly #options: DaemonOptions;
  readonly database: Database;
  readonly datapaths: Datapaths;
  readonly #bridges = new Map<string, Bridge>();
  /** Which bridge has an interface, by names. */
  #owners: ReadonlyMap<string, string> = new Map();
  readonly #written = new Written();
  #working: Promise<void> | undefined;
  #isAsked = false;
  #isClosing = false;
  #isIdle = true;
  #portsTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #timers: Disposable[] = [];
  /** What is at the other end of ports in memory. */
  readonly dummies = new Dummies((error) => this.#failed(error));
  readonly #notes = new Notes((text) => this.#options.log("bridge", "warn", text));
  readonly #ready = Promise.withResolvers<void>();
  readonly #faults = new Faults((message) => this.#say(message));
  #closing: Promise<void> | undefined;

  /** Begins to follow the database. Throws `SyntaxError` for a target that is none. */
  constructor(options: DaemonOptions) {
    this.#options = options;
    const { log, dummy = "no" } = options;
    const failed = (error: unknown): void => this.#failed(error);
    this.datapaths = new Datapaths({
      dummy,
      failed,
      onPorts: () => this.#portsChanged(),
      log,
      onNeighbour: ({ of, port }, frame) => {
        const all = [...this.#bridges.values()];
        all.find((one) => one.of.id === of)?.bonds.receive(port, frame);
      },
      wanted: (kind) => this.#wanted(kind),
    });
    this.database = new Database({
      target: options.database,
      lock: LOCK,
      watched,
      onChange: () => this.configure(),
      onOdd: (text) => this.#odd(text),
      onState: (state, reason) => {
        this.#written.clear();
        const why = reason === undefined ? "" : ` (${reason.message})`;
        log("reconnect", "info", `${options.database}: ${state}${why}`);
      },
    });
    this.#timers.push(
      every(STATS_MS, () => this.#tellStatistics().catch(failed)),
      every(RETRY_MS, () => this.#retry()),
      every(BONDS_MS, () => {
        for (const { bonds } of this.#bridges.values()) bonds.run();
      }),
      every(FAIL_OPEN_MS, () => {
        for (const { peers, config } of this.#bridges.values()) {
          peers.failOpen(config, clockMs());
        }
      }),
    );
  }

  /** Resolves when the first configuration is in force. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Its bridges, by name. */
  get bridges(): ReadonlyMap<string, Bridge> {
    return this.#bridges;
  }

  /** @ignore */
  get folder(): string {
    return this.#options.folder;
  }

  /** @ignore */
  journal(of: Switch): (transport: string) => Journal {
    return journalOf(of, this.#options.log);
  }

  /** @ignore */
  patchEnd(name: string, from: string, backing: Backing): PatchPeer | undefined {
    const bridge = this.#bridges.get(this.#owners.get(name) ?? "");
    return bridge?.backing === backing ? bridge.patchEnd(name, from) : undefined;
  }

  /** @ignore */
  say(module: string, text: string | (() => readonly string[])): void {
    this.#options.log(module, typeof text === "string" ? "info" : "dbg", text);
  }

  /** Looks at all of the configuration, soon. */
  configure(): void {
    this.#isAsked = true;
    if (this.#isClosing) return;
    this.#working ??= this.#work().finally(() => this.#working = undefined);
  }

  async #work(): Promise<void> {
    while (this.#isAsked && !this.#isClosing) {
      this.#isAsked = false;
      await this.#faults.run("", "configure", () => this.#configure());
    }
  }

  async #configure(): Promise<void> {
    const { database } = this;
    const faults = this.#faults;
    if (!database.isRead || !database.isConnected) return;
    if (!database.isLocked) {
      // Another daemon has the switch: it gets the sockets and devices.
      await this.#release(false);
      return;
    }
    const wanted = bridgesOf(database.rows);
    const [root] = database.rows.rows("Open_vSwitch");
    if (root === undefined) return;
    const next = root.next_cfg;
    faults.keep(wanted);
    this.#notes.tell(wanted.values());
    for (const { leftovers } of this.datapaths.all()) await leftovers.retry();
    for (const [name, bridge] of [...this.#bridges]) {
      const now = wanted.get(name);
      const isSame = now !== undefined && now.uuid === bridge.config.uuid &&
        this.datapaths.kindOf(now.type) === bridge.backing.kind &&
        this.datapaths.get(bridge.backing.kind) === bridge.backing;
      if (isSame) continue;
      this.#bridges.delete(name);
      await this.#end(bridge, true);
    }
    for (const [name, config] of wanted) {
      const known = this.#bridges.get(name);
      if (known !== undefined) {
        await faults.run(name, "ports that go", () => known.shrink(config));
        continue;
      }
      await faults.run(name, "make", async () => {
        const backing = await this.#backing(config.type);
        this.#bridges.set(name, new Bridge(config, backing, this));
      });
    }
    const taken = new Map<string, string>();
    this.#owners = taken;
    for (const [name, bridge] of this.#bridges) {
      await faults.run(name, "ports that come", () => bridge.grow(taken));
    }
    this.dummies.wire(this.#bridges.values(), this.folder);
    this.readPorts();
    for (const [name, bridge] of this.#bridges) {
      await faults.run(name, "peers", () => bridge.settle(this.#options.folder));
    }
    this.readPorts(); // Local ports have the addresses of their bridges now.
    await this.datapaths.keep(
      new Set([...this.#bridges.values()].map(({ backing }) => backing.kind)),
    );
    await this.#written.send(this.database, (to) => this.#tell(to, next));
    this.#isIdle = false;
    this.#ready.resolve();
  }

  /** Names of the interfaces that the database has in a kind of datapath. */
  #wanted(kind: DatapathKind): ReadonlySet<string> {
    const all = [...bridgesOf(this.database.rows).values()]
      .filter(({ type }) => this.datapaths.kindOf(type) === kind);
    const faces = all.flatMap(({ ports }) => ports.flatMap(({ faces }) => faces));
    return new Set(faces.map(({ name }) => name));
  }

  async #end(bridge: Bridge, cleanup: boolean): Promise<void> {
    try {
      await bridge.close(cleanup);
    } catch (error) {
      this.#say(`bridge ${bridge.name}: ${(error as Error).message}`);
    }
  }

  #failed(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#options.log("bridge", "info", message);
  }

  #say(message: string): void {
    this.#options.log("bridge", "err", message);
  }

  async #backing(type: string): Promise<Backing> {
    const kind = this.datapaths.kindOf(type);
    if (kind === undefined) throw new Error(`unknown datapath type ${type}`);
    return await this.datapaths.need(kind);
  }

  /** A value of the database that cannot be read is told of once. */
  #odd(text: string): void {
    if (this.#oddities.has(text)) return;
    if (this.#oddities.size >= MAX_ODDITIES) this.#oddities.clear();
    this.#oddities.add(text);
    this.#options.log("ovsdb", "warn", `${text}: it counts as not set`);
  }
  readonly #oddities = new Set<string>();

  /** Has switches know their ports as they are now. */
  readPorts(): void {
    for (const { kind, switches } of this.datapaths.all()) {
      const ofKind = [...this.#bridges.values()].filter(({ backing }) =>
        backing.kind === kind
      );
      try {
        switches.add(...ofKind.map(({ of }) => of));
      } catch (error) {
        this.#failed(error);
      }
    }
  }

  #portsChanged(): void {
    if (this.#isClosing) return;
    this.#portsTimer ??= setTimeout(() => {
      this.#portsTimer = undefined;
      if (!this.#isIdle) this.configure();
    }, PORTS_MS);
  }

  #retry(): void {
    const isLacking = !this.#faults.isEmpty ||
      [...this.#bridges.values()].some((one) =>
        one.peers.isLacking || !one.backing.leftovers.isEmpty || one.isMissing
      );
    if (isLacking) this.configure();
  }

  /** Writes what became of the configuration. */
  #tell(to: Transaction, next: bigint): void {
    const { database: { rows }, datapaths } = this;
    const written = this.#written;
    const [root] = rows.rows("Open_vSwitch");
    if (root === undefined) return;
    const links = devices();
    // A row that is in several bridges is told what became of it in the first.
    const told = new Set<string>();
    for (const bridge of this.#bridges.values()) {
      const id = bridge.of.datapathId.toString(16).padStart(16, "0");
      written.update(to, "Bridge", bridge.config.uuid, {
        datapath_id: id,
        datapath_version: "<unknown>",
      });
      this.#tellFaces(to, bridge, told, (face) => faceValues(bridge, face, links));
      tellBonds(this.#written, to, bridge);
      this.#tellControllers(to, bridge, told);
    }
    for (const [type, uuid] of root.datapaths) {
      const kind = datapaths.kindOf(type);
      const backing = kind === undefined ? undefined : datapaths.get(kind);
      if (backing === undefined) continue;
      written.update(to, "Datapath", uuid, {
        capabilities: capabilitiesOf(backing.dp),
        datapath_version: "<unknown>",
      });
    }
    const kinds: DatapathKind[] = datapaths.kinds;
    written.update(to, "Open_vSwitch", root.uuid, {
      cur_cfg: next,
      datapath_types: new Set(kinds),
      iface_types: new Set(faceTypes(kinds)),
      dpdk_initialized: false,
    });
    written.keep((uuid) => this.#has(uuid));
  }

  #has(uuid: string): boolean {
    const { rows } = this.database;
    const names = [
      "Open_vSwitch",
      "Bridge",
      "Interface",
      "Controller",
      "Datapath",
      "Mirror",
      "Port",
    ] as const;
    return names.some((name) => rows.get(name, uuid) !== undefined);
  }

  #tellFaces(
    to: Transaction,
    bridge: Bridge,
    told: Set<string>,
    what: (face: Face) => Values<"Interface">,
  ): void {
    for (const face of bridge.faces.values()) {
      const { uuid } = face.config;
      if (told.has(uuid)) continue;
      told.add(uuid);
      try {
        this.#written.update(to, "Interface", uuid, what(face));
      } catch (error) {
        this.#failed(error); // Its port went, say: that is told of soon.
      }
    }
  }

  #tellControllers(to: Transaction, bridge: Bridge, told: Set<string>): void {
    for (const [uuid, { isConnected, lastError }] of bridge.peers.controllers()) {
      if (told.has(uuid)) continue;
      told.add(uuid);
      this.#written.update(to, "Controller", uuid, {
        is_connected: isConnected,
        role: isConnected ? "other" : undefined,
        status: new Map([
          ["state", isConnected ? "ACTIVE" : "BACKOFF"],
          ...(lastError === undefined ? [] : [["last_error", lastError] as const]),
        ]),
      });
    }
  }

  /** Writes statistics of interfaces and the state of controllers. */
  async #tellStatistics(): Promise<void> {
    const { isConnected, isLocked } = this.database;
    if (!isConnected || !isLocked || this.#isClosing || this.#working !== undefined) {
      return;
    }
    await this.#written.send(this.database, (to) => {
      const told = new Set<string>();
      for (const bridge of this.#bridges.values()) {
        this.#tellFaces(to, bridge, told, (face) => faceStatistics(bridge, face));
        tellBonds(this.#written, to, bridge);
        tellMirrors(this.#written, to, bridge);
        this.#tellControllers(to, bridge, told);
      }
    });
  }

  async #release(cleanup: boolean): Promise<void> {
    for (const bridge of this.#bridges.values()) await this.#end(bridge, cleanup);
    this.#bridges.clear();
    await this.datapaths.close(cleanup);
    this.#isIdle = true;
  }

  /** Ends it. `cleanup` takes ports and datapaths away too that outlive a program. */
  close({ cleanup = false }: { readonly cleanup?: boolean } = {}): Promise<void> {
    return this.#closing ??= this.#close(cleanup);
  }

  async #close(cleanup: boolean): Promise<void> {
    this.#isClosing = true;
    for (const timer of this.#timers) timer[Symbol.dispose]();
    clearTimeout(this.#portsTimer);
    this.dummies.close();
    // A server that does not answer is hung up on: nothing waits for it then.
    const patience = setTimeout(() => void this.database.close(), PATIENCE_MS);
    await this.#working;
    clearTimeout(patience);
    await this.#release(cleanup);
    await this.database.close();
  }

  /** Ends it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
