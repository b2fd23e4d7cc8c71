// SPDX-License-Identifier: Apache-2.0
/**
 * A bridge: a switch of OpenFlow with the ports that the database says, and its peers.
 *
 * @module
 */
import type { ConnectionOptions } from "../openflow/connection/connection.ts";
import type { PlannedPort, PortsThere } from "../openflow/switch/ports.ts";
import { Switch } from "../openflow/switch/switch.ts";
import { selectionLines } from "../openflow/translate/spread.ts";
import type { Bundle, PatchPeer } from "../openflow/translate/pipeline.ts";
import { Port } from "../openflow/wire/port_number.ts";
import type { Port as DatapathPort, PortRequest } from "../providers/contract/ports.ts";
import { DatapathError } from "../providers/errors.ts";
import type { PortNo } from "../providers/ids.ts";
import type { BridgeConfig, FaceConfig } from "./config.ts";
import type { Backing } from "./datapaths.ts";
import { errorText, isTunnel, MAX_DUMMY_MTU, requestOf, USUAL_MTU } from "./face.ts";
import { setLink } from "./link.ts";
import { isSuch, sayByFlows, textOf } from "./settings/alike.ts";
import { dummyAddress, randomAddress } from "./settings/address.ts";
import { Mirrors } from "./settings/mirrors.ts";
import { Bonds } from "./bonds/bonds.ts";
import { noLacp } from "./bonds/lacp.ts";
import { Numbers } from "./numbers.ts";
import { Peers } from "./peers.ts";
import { Stance } from "./stance.ts";
import { TableLimits } from "./table_limits.ts";

/** Number of the local port in the database, as OpenFlow 1.0 has it. */
const LOCAL = 0xfffe;

/** An interface that there is, or cannot be. */
export interface Face {
  config: FaceConfig;
  /** What was asked of the datapath, as text; undefined for a patch port. */
  readonly asked: string | undefined;
  /** Its port in the datapath. */
  readonly dp: PortNo | undefined;
  /** Why there is none. */
  readonly error: string | undefined;
  /** Number in OpenFlow; -1 for none. */
  number: number;
  readonly bundle: Bundle;
  /** The address of a port in memory. */
  readonly address?: string | undefined;
}

/** What a bridge asks of the others. */
export interface Neighbours {
  /** The folder of sockets. */
  readonly folder: string;
  /** What keeps the conversations of a switch. */
  journal?(of: Switch): ConnectionOptions["journal"];
  /** The end of a patch that is called so, if it leads to a port that is called `from`. */
  patchEnd(name: string, from: string, backing: Backing): PatchPeer | undefined;
  /** Says in the log what a part of a bridge does. */
  say?(module: string, text: string | (() => readonly string[])): void;
}

/** A bridge that runs. */
export class Bridge {
  readonly name: string;
  readonly backing: Backing;
  readonly of: Switch;
  /** Controllers, and programs that came by themselves. */
  readonly peers: Peers;
  readonly mirrors: Mirrors;
  readonly bonds: Bonds;
  readonly #neighbours: Neighbours;
  readonly #limits: TableLimits;
  readonly #stance: Stance;
  readonly #numbers = new Numbers();
  readonly #faces = new Map<string, Face>();
  #config: BridgeConfig;
  /** The address that its controllers know it by, if nothing else is said. */
  #address = "";

  /** Begins without ports. */
  constructor(config: BridgeConfig, backing: Backing, neighbours: Neighbours) {
    this.name = config.name;
    this.backing = backing;
    this.#config = config;
    this.#neighbours = neighbours;
    this.of = new Switch(backing.dp, {
      name: config.name,
      datapathId: config.datapathId ?? 0n,
      tight: false,
      ports: (there) => this.#plan(there),
    });
    this.#limits = new TableLimits(this.of);
    this.#stance = new Stance(this.of);
    this.of.groups.onSelect = (id, content) =>
      neighbours.say?.("ofproto_dpif", () => selectionLines(id, content, this.of.hashes));
    this.mirrors = new Mirrors(this.of);
    this.bonds = new Bonds(this.of, (text) => neighbours.say?.("bond", text));
    this.peers = new Peers(this.of, neighbours.folder, neighbours.journal?.(this.of));
  }

  /** What the database says. */
  get config(): BridgeConfig {
    return this.#config;
  }

  /** Interfaces by name. */
  get faces(): ReadonlyMap<string, Face> {
    return this.#faces;
  }

  /** Whether an interface is not there, and may be later. */
  get isMissing(): boolean {
    return [...this.#faces.values()].some(({ error, dp, config: { type } }) =>
      error !== undefined || dp === undefined && type !== "patch"
    );
  }

  /** The address of its local port. */
  get address(): string {
    return this.#address;
  }

  *#plan(there: PortsThere): IterableIterator<PlannedPort> {
    for (const face of this.#faces.values()) {
      const { number, dp, bundle, config: { name, type, options } } = face;
      if (number < 0) continue;
      const port = number === LOCAL ? Port.local : number;
      if (type === "patch") {
        const peer = options.get("peer") ?? "";
        const patch = this.#neighbours.patchEnd(peer, name, this.backing);
        yield { port, name, patch, bundle };
      } else if (dp !== undefined) {
        const known = there().get(dp);
        // One that went, and whose number another has by now, is no port of this bridge.
        if (known?.name !== name) continue;
        const mac = this.#addressOf(face, known);
        const tunnel = sayByFlows(face.config);
        yield { port, name, dp, bundle, tunnel, mac, link: known.link };
      }
    }
  }

  /** Its end of a patch, if that is called `name` and leads to `to`. */
  patchEnd(name: string, to: string): PatchPeer | undefined {
    const face = this.#faces.get(name);
    if (face?.config.type !== "patch" || face.number < 0) return undefined;
    if (face.config.options.get("peer") !== to) return undefined;
    return { pipeline: this.of, port: face.number };
  }

  /**
   * Takes ports away that are not to be there any more, or not so, and forgets those that went by
   * themselves. What other bridges are to have is free then.
   */
  async shrink(config: BridgeConfig): Promise<void> {
    this.#config = config;
    const wanted = new Map(this.#wanted().map((one) => [one.config.name, one]));
    for (const [name, face] of this.#faces) {
      const now = wanted.get(name);
      const isThere = face.dp === undefined || this.portOf(face) !== undefined;
      const stays = now !== undefined && face.error === undefined && isThere &&
        now.asked === face.asked && now.error === undefined;
      if (stays) continue;
      this.#faces.delete(name);
      await this.#detach(face);
    }
  }

  async #detach({ dp, config: { name } }: Face): Promise<void> {
    const { closed } = this.backing.dp;
    if (dp !== undefined && !closed) await this.backing.leftovers.remove(dp, name);
  }

  /** Interfaces that are to be there, with what is asked of the datapath for them. */
  #wanted(): (Omit<Face, "dp" | "number"> & { readonly request?: PortRequest })[] {
    const all = this.#config.ports.flatMap(({ name, faces, bundle }) =>
      faces.map((config) => ({ config, of: name, bundle }))
    );
    return all.map(({ config, of, bundle }) => {
      const whole: Bundle = { ...bundle, name: of, ports: [] };
      try {
        const isLocal = config.name === this.name;
        const own = isLocal && config.type !== "patch" && config.type === "system"
          ? { ...config, type: "internal" }
          : config;
        const { folder } = this.#neighbours;
        const request = requestOf(own, this.backing.kind, folder);
        // Its MTU is changed while it is there.
        const asked = JSON.stringify(
          requestOf({ ...own, mtu: undefined }, this.backing.kind, folder),
        );
        return {
          config,
          asked,
          error: undefined,
          bundle: whole,
          ...(request && { request }),
        };
      } catch (error) {
        const text = errorText(config.name, error);
        return { config, asked: undefined, error: text, bundle: whole };
      }
    });
  }

  /** Adds ports that are to be there, and numbers them all. `taken` has names of other bridges. */
  async grow(taken: Map<string, string>): Promise<void> {
    const made: Face[] = [];
    for (const { request, ...face } of this.#wanted()) {
      const { name } = face.config;
      const owner = taken.get(name);
      if (owner !== undefined) {
        const error = `${name} is a port of bridge ${owner} already`;
        if (owner !== this.name) made.push({ ...face, dp: undefined, number: -1, error });
        continue;
      }
      taken.set(name, this.name);
      const before = this.#faces.get(name);
      if (before !== undefined) {
        const { dp, address } = before;
        made.push({ ...face, dp, address, number: -1 });
      } else made.push(await this.#attach(face, request));
    }
    this.#faces.clear();
    const isGood = ({ error, config }: Face): boolean =>
      error === undefined && config.name !== this.name;
    const numbers = this.#numbers.assign(made.filter(isGood).map(({ config }) => config));
    const members = new Map<string, number[]>();
    for (const face of made) {
      const { name } = face.config;
      const number = name === this.name && face.error === undefined
        ? LOCAL
        : numbers.get(name);
      face.number = number ?? -1;
      const of = face.bundle.name;
      const port = number === LOCAL ? Port.local : number;
      if (port !== undefined) members.set(of, [...members.get(of) ?? [], port]);
      this.#faces.set(name, face);
    }
    const bundles = new Map<string, Bundle>();
    for (const [name, face] of this.#faces) {
      const { bundle } = face;
      const ports = members.get(bundle.name) ?? [];
      const config = this.#config.ports.find(({ name }) => name === bundle.name);
      const bond = config?.bond && this.bonds.need(config.bond);
      const whole = bundles.get(bundle.name) ??
        this.#known({
          ...bundle,
          ports,
          ...(bond && { bond, speaksLacp: config.bond?.lacp !== undefined }),
        });
      bundles.set(bundle.name, whole);
      this.#faces.set(name, { ...face, bundle: whole });
    }
    this.#bundles = bundles;
  }

  /** Bundles as they were last: the same object while nothing changed. */
  #bundles: ReadonlyMap<string, Bundle> = new Map();

  #known(bundle: Bundle): Bundle {
    const before = this.#bundles.get(bundle.name);
    const isSame = before?.bond === bundle.bond && before !== undefined &&
      textOf(before) === textOf(bundle);
    return isSame ? before : bundle;
  }

  async #attach(
    face: Omit<Face, "dp" | "number">,
    request: PortRequest | undefined,
  ): Promise<Face> {
    const { config: { name }, error } = face;
    if (error !== undefined) return { ...face, dp: undefined, number: -1 };
    if (request === undefined) return { ...face, dp: undefined, number: 0 };
    const { ports } = this.backing.dp;
    try {
      if (this.backing.leftovers.has(name)) {
        throw new Error("the port that it was before cannot be taken away");
      }
      // One that a daemon before this one left in the kernel is taken over, if it is such a one.
      const there = ports.get(name);
      if (there !== undefined) {
        if (isSuch(there, request)) return { ...face, dp: there.no, number: 0 };
        await ports.delete(there.no);
      }
      const free = request.no !== undefined && ports.get(request.no) !== undefined
        ? { ...request, no: undefined }
        : request;
      const { no: _, ...rest } = free;
      const { no } = await ports.add(
        free.no === undefined ? rest : { ...rest, no: free.no },
      );
      const address = this.backing.kind === "dummy" ? dummyAddress() : undefined;
      return { ...face, dp: no, number: 0, address };
    } catch (error) {
      return { ...face, dp: undefined, number: -1, error: errorText(name, error) };
    }
  }

  /**
   * Has controllers, and what NORMAL is told, be what the database says. Throws what keeps it from
   * its sockets in the folder; all else is done then.
   */
  async settle(folder: string): Promise<void> {
    const { datapathId, forwardBpdu, floodVlans, controllers, failMode } = this.#config;
    this.#address = this.#chooseAddress();
    for (const face of this.#faces.values()) await this.#adapt(face);
    const before = this.of.datapathId;
    this.of.datapathId = datapathId ?? BigInt(`0x${this.#address.replaceAll(":", "")}`);
    const isOther = before !== 0n && before !== this.of.datapathId;
    const { normal } = this.of;
    const isSame = normal.value.forwardBpdu === forwardBpdu &&
      [...normal.value.floodVlans].join() === [...floodVlans].join();
    if (!isSame) normal.value = { forwardBpdu, floodVlans };
    this.#setBonds();
    this.mirrors.set(this.#config.mirrors);
    this.of.stations.limit(this.#config.stations);
    await this.#limits.set(this.#config.tables);
    this.of.bundleIdleMs = this.#config.bundleIdleMs;
    const callable = controllers.filter(({ target }) => !target.startsWith("p"));
    const isControlled = callable.length > 0;
    this.#stance.take(failMode === "standalone" && !isControlled, isControlled);
    await this.peers.call(this.#config, isOther);
    await this.peers.listen(`${folder}/${this.name}`, this.#config.versions);
  }

  #setBonds(): void {
    this.bonds.set(
      this.#config.ports.flatMap(({ bond, faces }) => {
        if (bond === undefined) return [];
        const members = faces.flatMap(({ name }) => {
          const face = this.#faces.get(name);
          const port = face?.number ?? -1;
          return face === undefined || port < 0 ? [] : [{
            name,
            port,
            mac: this.macOf(face) ?? "",
            lacp: face.config.lacp ?? noLacp,
          }];
        });
        return [{ config: bond, members }];
      }),
      this.#address,
    );
  }

  /** Has a port the MTU and the address that it is to have. What cannot be is told. */
  async #adapt(face: Face): Promise<void> {
    const { config: { name, type }, dp } = face;
    const isDummy = this.backing.kind === "dummy";
    const asked = face.config.mtu ?? (isDummy ? this.#commonMtu(face) : undefined);
    const mtu = isDummy && asked !== undefined ? Math.min(asked, MAX_DUMMY_MTU) : asked;
    const port = this.portOf(face);
    if (port === undefined || dp === undefined || isTunnel(type)) return;
    const isOwn = this.backing.kind !== "dummy" &&
      (name === this.name || type === "internal" || type === "tap");
    try {
      if (mtu !== undefined && port.mtu !== mtu) {
        const isDevice = this.backing.kind !== "dummy" && (isOwn || type === "system");
        if (isDevice) setLink(port.device ?? name, { mtu });
        else await this.backing.dp.ports.setConfig(dp, { mtu: `${mtu}` });
      }
      const address = this.macOf(face);
      if (isOwn && address !== undefined && address !== port.mac) {
        setLink(port.device ?? name, { address });
      }
    } catch (error) {
      if (!(error instanceof DatapathError)) throw error;
      this.of.runtime.failed(error);
    }
  }

  /** The MTU of an internal port of which none is asked: the least of the other ports. */
  #commonMtu({ config: { name, type } }: Face): number | undefined {
    if (name !== this.name && type !== "internal") return undefined;
    const others = [...this.#faces.values()].flatMap((face) => {
      const { config } = face;
      if (config.name === this.name || config.type === "internal") return [];
      if (config.type === "patch" || isTunnel(config.type)) return [];
      return config.mtu ?? this.portOf(face)?.mtu ?? [];
    });
    return others.length === 0 ? USUAL_MTU : Math.min(...others);
  }

  /** An interface's port of the datapath, as it is now; undefined if that is not there any more. */
  portOf({ dp, config: { name } }: Face): DatapathPort | undefined {
    const port = dp === undefined ? undefined : this.backing.dp.ports.get(dp);
    return port?.name === name ? port : undefined;
  }

  /** The address of an interface. */
  macOf(face: Face): string | undefined {
    return this.#addressOf(face, this.portOf(face));
  }

  #addressOf(face: Face, port: DatapathPort | undefined): string | undefined {
    if (face.config.name === this.name && this.#address !== "") return this.#address;
    return face.config.address ?? face.address ?? port?.mac;
  }

  /** The least address of its ports, as Open vSwitch has it, but for one that it is told. */
  #chooseAddress(): string {
    const { address } = this.#config;
    if (address !== undefined) return address;
    const own = this.#faces.get(this.name);
    const macs = [...this.#faces.values()].flatMap((face) => {
      const mac = this.macOf(face);
      const isPlain = face.config.type !== "internal" && face.config.name !== this.name;
      return isPlain && mac !== undefined && !/^[0:]+$/.test(mac) ? [mac] : [];
    }).sort();
    const local = own?.address ?? (own === undefined ? undefined : this.portOf(own)?.mac);
    const zero = local === undefined || /^[0:]+$/.test(local);
    return macs[0] ?? (zero ? this.#random ??= randomAddress() : local);
  }
  #random: string | undefined;

  /** Ends it and its peers; `cleanup` takes its ports out of the datapath. */
  async close(cleanup: boolean): Promise<void> {
    try {
      await this.peers.close();
      this.backing.switches.delete(this.of);
    } finally {
      if (cleanup) {
        for (const face of this.#faces.values()) await this.#detach(face);
        this.#faces.clear();
      }
    }
  }
}
