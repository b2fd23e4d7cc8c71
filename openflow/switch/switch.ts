// SPDX-License-Identifier: Apache-2.0
/**
 * A switch of OpenFlow: its tables, groups, meters and ports, and what it tells its peers.
 *
 * It knows no connections and runs no datapath: messages come as objects and go as such.
 *
 * @module
 */
import { clockMs } from "../../policy/clock.ts";
import { Cell } from "../../policy/mod.ts";
import type { Datapath } from "../../providers/datapath.ts";
import type { MeterId } from "../../providers/ids.ts";
import type { Action } from "../../providers/types_action.ts";
import type { FlowTable } from "../table/flow_table.ts";
import { ofPort, type PortOf } from "../table/packet_flow.ts";
import type { Rule } from "../table/rule.ts";
import { TlvTable } from "../table/tlv_table.ts";
import { Stations } from "../translate/forward/stations.ts";
import type { Frozen } from "../translate/frozen.ts";
import type {
  Group,
  Mirror,
  NormalSettings,
  PacketInContext,
  Pipeline,
  SwitchPort,
} from "../translate/pipeline.ts";
import type { FlowWords } from "../wire/flow.ts";
import { tunnelOf } from "../translate/tunnel_port.ts";
import { OfError } from "../wire/error.ts";
import { type MessageOf, PacketInReason, RemovedReason } from "../wire/message.ts";
import { Port } from "../wire/port_number.ts";
import { type Budget, makeBudget } from "./bundles.ts";
import type { Change } from "./change.ts";
import type { Users } from "./facts.ts";
import { Flows } from "./flows.ts";
import { Groups } from "./groups.ts";
import { Learned } from "./learned.ts";
import { Meters } from "./meters.ts";
import { Monitors } from "./monitors.ts";
import { metadataOf } from "./packet_in.ts";
import type { Peer } from "./peer.ts";
import { Removed } from "./removed.ts";
import {
  compare,
  isSeen,
  learnersOf,
  type PlannedPort,
  portOf,
  type PortsThere,
  portsThere,
  queuePriority,
} from "./ports.ts";
import type { Runtime } from "./runtime.ts";
import { type Job, Turns } from "./turns.ts";

/** How a switch is made. */
export interface SwitchOptions {
  /** Its name, that of its local port. */
  readonly name: string;
  readonly datapathId: bigint;
  readonly tight: boolean;
  /**
   * Its ports, of the datapath's as they are now; those of the datapath, by their numbers, if
   * absent.
   */
  readonly ports?: ((there: PortsThere) => Iterable<PlannedPort>) | undefined;
}

/** Numbers of switches. */
const MAX_ID = 0xffff;
let lastId = 0;

/** Bytes of a message, and of what a packet-in has beside packet and userdata, at most. */
const MAX_MESSAGE = 0xffff;
const PACKET_IN_HEADERS = 1024;

/** The reason that a version has for packet-ins: before OpenFlow 1.4 there were three. */
function shownReason(reason: number, version: number): number {
  if (reason === PacketInReason.explicitMiss) return PacketInReason.noMatch;
  return version < 5 && reason >= PacketInReason.actionSet
    ? PacketInReason.action
    : reason;
}

/** A switch. */
export class Switch implements Pipeline {
  readonly id = lastId = lastId % MAX_ID + 1;
  readonly name: string;
  datapathId: bigint;
  readonly tight: boolean;
  readonly flows: Flows;
  readonly groups: Groups;
  readonly meters: Meters;
  readonly ports = new Cell<ReadonlyMap<number, SwitchPort>>(new Map());
  readonly fragments = new Cell(0);
  readonly missToController = new Cell(false);
  readonly stations = new Stations();
  /** Told each message from and to a controller that the switch has called; it keeps no bytes. */
  onSaid: ((message: Uint8Array) => void) | undefined;
  /** Told of addresses whose port went: they may be elsewhere behind other switches, too. */
  onStationGone: (key: string) => void = () => {};
  readonly failOpen = new Cell(false);
  readonly normal = new Cell<NormalSettings>({
    forwardBpdu: false,
    floodVlans: new Set(),
  });
  readonly mirrors = new Cell<readonly Mirror[]>([]);
  readonly peers = new Set<Peer>();
  readonly #removed = new Removed(this.peers, () => this.runtime.refresh());
  /** Bundles that are not used for so long go, ms. */
  bundleIdleMs = 10_000;
  /** What the bundles of all peers take. */
  readonly bundled: Budget = makeBudget();
  /** Changes, one after the other. */
  readonly turns: Turns = new Turns();
  /** When ports came, ms since 1970. */
  readonly portSince = new Map<number, number>();
  /** The last generation that a controller was elected in. */
  generation: bigint | undefined;
  readonly dp: Datapath;
  readonly hashes: Pipeline["hashes"];
  readonly tlv = new TlvTable();
  readonly learned = new Learned(() => this.flows, (error) => this.runtime.failed(error));
  readonly monitors: Monitors = new Monitors(() => this.flows.rules());
  readonly #plan: (there: PortsThere) => Iterable<PlannedPort>;
  /** Numbers of its ports by those of the datapath. */
  readonly #numbers = new Map<number, number>();
  runtime: Runtime = {
    checkPacketOut: () => {},
    packetOut: () => {},
    resume: () => {},
    refresh: () => Promise.resolve(),
    failed: () => {},
  };

  /** Begins without flows. */
  constructor(dp: Datapath, { name, datapathId, tight, ports }: SwitchOptions) {
    this.dp = dp;
    // The kernel has one hash only; others have both, and what is no datapath has none.
    const kinds = { system: ["l4"], netdev: ["l4", "symL4"] } as const;
    this.hashes = new Set(kinds[dp.type as keyof typeof kinds] ?? []);
    this.#plan = ports ?? ((there) => this.#all(there));
    this.name = name;
    this.datapathId = datapathId;
    this.tight = tight;
    this.flows = new Flows(
      {
        hasGroup: (id, change) => this.groups.has(id, change),
        hasMeter: (id) => this.meters.get(id) !== undefined,
      },
      (rule, reason) => this.#removed.add(rule, reason),
      { turns: this.turns, portOf: this.portOf },
    );
    this.flows.onChanged = (tables) => this.learned.changed(tables);
    this.flows.isWatched = () => !this.monitors.isEmpty;
    this.flows.onEvents = ({ events, by }) => this.monitors.tell(events, by);
    this.groups = new Groups(
      (groups, change) => this.#removeUsers({ groups }, change),
      (stage) => this.flows.now(stage),
    );
    this.meters = new Meters(
      dp.meters,
      (meters, change) => this.#removeUsers({ meters }, change),
      (stage) => this.flows.now(stage),
      dp.type !== "system",
    );
    this.readPorts();
  }

  *#removeUsers(of: Users, change: Change): Job<void> {
    const reason = of.groups === undefined
      ? RemovedReason.meterDelete
      : RemovedReason.groupDelete;
    for (const rule of this.flows.users(of, change.version)) {
      this.flows.remove(rule, reason, change);
      yield;
    }
  }

  /** @ignore */
  table(id: number): FlowTable {
    return this.flows.table(id);
  }

  /** @ignore */
  group(id: number): Group | undefined {
    return this.groups.get(id);
  }

  /** @ignore */
  meter(id: number): MeterId | undefined {
    return this.meters.get(id)?.id;
  }

  /** What makes the action that has a packet looked up again; those that run it say so. */
  recirculates: (frozen: Frozen) => Action = () => ({ type: "recirc", id: 0 });

  /** @ignore */
  reduceTimeouts(rule: Rule, idle: number, hard: number): void {
    this.flows.reduceTimeouts(rule, idle, hard);
  }

  /** @ignore */
  recirculation(frozen: Frozen): Action {
    return this.recirculates(frozen);
  }

  /** @ignore */
  priorityOf(queue: number): number | undefined {
    return queuePriority(this.dp.type, queue);
  }

  /** A peer came. */
  join(peer: Peer): void {
    this.peers.add(peer);
    this.missesOf();
  }

  /** A peer went. */
  leave(peer: Peer): void {
    this.peers.delete(peer);
    this.monitors.leave(peer);
    this.missesOf();
  }

  /** Before OpenFlow 1.3 what no flow fits goes to controllers: looks who they are. */
  missesOf(): void {
    // A peer that is told nothing does not count: each of its visits would run flows again.
    this.missToController.value = [...this.peers].some((
      { version, controllerId, isDeaf },
    ) => version < 4 && controllerId === 0 && !isDeaf);
  }

  /** Ends when what packet-outs hand to controllers is on its way; undefined if it is. */
  handing: Promise<void> | undefined;

  /** Ends when peers were told of all flows that went so far; undefined if they were. */
  get telling(): Promise<void> | undefined {
    return this.#removed.telling;
  }

  /** Lets go of flows whose time is over. */
  async expire(): Promise<void> {
    const nowMs = clockMs();
    if (nowMs >= this.#stationsEndMs) {
      this.#stationsEndMs = Math.min(this.stations.expire(nowMs), nowMs + 1000);
    }
    if (this.#isExpiring || this.flows.timed.expired(clockMs()).next().done) return;
    this.#isExpiring = true;
    try {
      // What datapaths have counted since may keep a flow alive.
      await this.runtime.refresh();
    } finally {
      this.#isExpiring = false;
    }
    const { flows } = this;
    await flows.soon(function* (change) {
      for (const { rule, reason } of flows.timed.expired(clockMs())) {
        flows.remove(rule, reason, change);
        yield;
      }
    });
  }
  #isExpiring = false;
  /** When to look again which addresses were silent for too long. */
  #stationsEndMs = 0;

  /** A packet for controllers. */
  packetIn(
    packet: Uint8Array,
    context: PacketInContext,
    known: FlowWords | undefined = undefined,
  ): void {
    const { reason, controllerId, table, cookie, userdata, continuation } = context;
    const metadata = metadataOf(context.words, known);
    const room = Math.max(
      0,
      MAX_MESSAGE - PACKET_IN_HEADERS - (userdata?.length ?? 0) -
        (continuation?.length ?? 0),
    );
    for (const peer of this.peers) {
      const shown = shownReason(reason, peer.version);
      if (!peer.wants("packetIn", shown) || peer.controllerId !== controllerId) continue;
      peer.tell({
        kind: "packetIn",
        format: peer.format,
        table,
        cookie,
        reason,
        totalLength: packet.length,
        metadata,
        // As in Open vSwitch, which buffers none: all of it, whatever was asked for.
        packet: packet.subarray(0, room),
        ...(userdata !== undefined && { userdata }),
        ...(continuation !== undefined && { continuation }),
      });
    }
  }

  /** All ports of the datapath. */
  *#all(there: PortsThere): IterableIterator<PlannedPort> {
    for (const known of there().values()) {
      const { no, mac, link } = known;
      const name = no === 0 ? this.name : known.name;
      yield { port: ofPort(no), name, dp: no, mac, link, tunnel: tunnelOf(known) };
    }
  }

  /** The number of a port of the datapath here; `Port.none` for one of others. */
  readonly portOf: PortOf = (no) => this.#numbers.get(no) ?? Port.none;

  /**
   * Has the ports be those that are there now, of which one may be used otherwise from now on, and
   * tells what changed.
   */
  readPorts(
    there: PortsThere = portsThere(this.dp),
    other?: { readonly port: number; readonly config: number },
  ): void {
    const before = this.ports.value;
    const now = new Map<number, SwitchPort>();
    this.#numbers.clear();
    for (const planned of this.#plan(there)) {
      const { port, name, dp } = planned;
      if (dp !== undefined) this.#numbers.set(dp, port);
      const old = before.get(port);
      const kept = old?.name === name ? old.config : 0;
      const config = port === other?.port ? other.config : kept;
      now.set(port, portOf(planned, old, config));
    }
    this.#setPorts(before, new Map([...now].sort(([a], [b]) => a - b)));
  }

  #setPorts(
    before: ReadonlyMap<number, SwitchPort>,
    now: ReadonlyMap<number, SwitchPort>,
  ): void {
    const { changes, isOther } = compare(before, now);
    for (const { reason, desc: { port } } of changes) {
      if (reason === "add") this.portSince.set(port, clockMs());
      else if (reason === "delete") this.portSince.delete(port);
    }
    if (changes.length === 0 && !isOther) return;
    this.ports.value = now;
    this.#forgetStations(before, now);
    const reasons = ["add", "delete", "modify"];
    for (const change of changes) {
      for (const peer of this.peers) {
        const isWanted = peer.wants("portStatus", reasons.indexOf(change.reason));
        if (isWanted && isSeen(peer.version, change)) peer.tell(change);
      }
    }
  }

  /** As in Open vSwitch: what was learned at a port goes when it is another, or in other VLANs. */
  #forgetStations(
    before: ReadonlyMap<number, SwitchPort>,
    now: ReadonlyMap<number, SwitchPort>,
  ): void {
    const others = learnersOf(before, now);
    if (others.size === 0) return;
    for (const table of [this.stations, this.stations.fixed]) {
      for (const [key, port] of table.entries()) {
        if (!others.has(port)) continue;
        table.delete(key);
        if (!now.has(port)) this.onStationGone(key);
      }
    }
  }

  /** Throws {@linkcode OfError} for a change of a port that is not there, or is another one. */
  checkPortMod({ port, mac }: MessageOf<"portMod">): void {
    const desc = this.ports.value.get(port);
    if (desc === undefined) throw new OfError("OFPPMFC_BAD_PORT");
    if (mac !== desc.mac) throw new OfError("OFPPMFC_BAD_HW_ADDR");
  }

  /** Changes how a port is used; one that went meanwhile is left alone. */
  portMod({ port, config, mask }: MessageOf<"portMod">): void {
    const desc = this.ports.value.get(port);
    if (desc === undefined) return;
    const other = { port, config: desc.config & ~mask | config & mask };
    this.readPorts(portsThere(this.dp), other);
  }
}
