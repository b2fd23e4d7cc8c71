// SPDX-License-Identifier: Apache-2.0
/**
 * Switches that share a datapath: one policy, which has each packet go through the switch that its
 * port belongs to.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { clockMs, every } from "../policy/clock.ts";
import {
  again,
  Cell,
  type Decision,
  drop,
  type HandedPacket,
  type Packet,
  type Policy,
  type PolicyOptions,
  type PolicyRun,
  runPolicy,
  stage,
} from "../policy/mod.ts";
import { Layouts } from "../policy/packet/layout.ts";
import { type Tracked, TRACKER } from "../policy/packet/packet.ts";
import { joined } from "../policy/packet/effect.ts";
import { load, placeOf, words } from "../policy/packet/leaf.ts";
import type { Tracker } from "../policy/packet/tracker.ts";
import type { Datapath } from "../providers/datapath.ts";
import type { Action } from "../providers/types_action.ts";
import { DatapathError } from "../providers/errors.ts";
import { extractKey } from "../providers/odp/extract.ts";
import { encodeKey } from "../providers/odp/key.ts";
import { Decisions } from "./decisions.ts";
import { portsThere } from "./switch/ports.ts";
import type { Switch } from "./switch/switch.ts";
import { layOptions } from "./table/options.ts";
import { flowOfKey, layFlow } from "./table/packet_flow.ts";
import { CONTROLLER, readContext } from "./translate/context.ts";
import { metadataOf, readContinuation, resumed } from "./translate/continuation.ts";
import { editFrame } from "./translate/edit.ts";
import type { Thaw } from "./translate/frozen.ts";
import { Crediting } from "./translate/credits.ts";
import { Translation } from "./translate/translation.ts";
import type { Credit } from "./translate/way.ts";
import { OfError } from "./wire/error.ts";
import { flowWords, giveWords, Word } from "./wire/flow.ts";
import { Port } from "./wire/port_number.ts";
import type { PacketOut, Resume } from "./wire/message.ts";

/** The port of packets that came by none. */
const NO_PORT = 0xffff;
const inPort = placeOf("inPort");
const dpHash = placeOf("dpHash");
const priority = placeOf("priority");
const scratch = words();

const everything = flowWords().fill(0xffffffff);

/** How switches run. */
export interface SwitchesOptions extends PolicyOptions {
  /** A policy around the tables; they alone if absent. */
  readonly policy?: Policy;
  /** Told of what goes wrong here, and is no peer's fault. */
  readonly failed: (error: unknown) => void;
}

const TICK_MS = 500;

/** The tracker of a packet that a run is about. */
function trackerOf(packet: Packet): Tracker {
  const tracker = (packet as Packet & Tracked)[TRACKER];
  if (tracker === undefined) {
    throw new TypeError("tables decide on packets of datapaths");
  }
  return tracker;
}

/** Whether a packet may have come by a port: by one that is there, or by none. */
function hasPort(of: Switch, port: number): boolean {
  return of.ports.value.has(port) || port >= Port.max && port !== Port.local;
}

function checkPacketOut({ packet }: PacketOut): void {
  if (packet.length < 14) throw new OfError("OFPBRC_BAD_PACKET");
}

/** Switches over one datapath. */
export class Switches {
  readonly #dp: Datapath;
  readonly #abort = new AbortController();
  #run: PolicyRun | undefined;
  #ticker: Disposable | undefined;
  #watching: Promise<void> | undefined;
  #failed: (error: unknown) => void = () => {};
  readonly #layouts = new Layouts();
  readonly #all = new Map<number, Switch>();
  /** Whether each flow is for packets like one only, in all of their bits: for tests. */
  readonly exact = new Cell(false);
  readonly #crediting = new Crediting();
  readonly #credit: Credit = (counter) => this.#crediting.put(counter);
  readonly #decisions = new Decisions();
  /** Which switch has a port of the datapath. A flow rests on it. */
  readonly #owners = new Cell<ReadonlyMap<number, Switch>>(new Map());

  /** Where packets go on that were frozen: in the switch that they were in. */
  readonly #thaw: Thaw = stage("openflow", (packet, frozen) => {
    const of = this.#all.get(frozen.of);
    if (of === undefined) return drop("the switch is gone");
    const { key, layout } = trackerOf(packet);
    const at = layout.key[dpHash.slot] as number;
    return this.#decide(packet, of, (way) => {
      if (frozen.hashed !== "" && at !== 0) {
        load(dpHash, key, at + dpHash.at, scratch);
        way.now.flow[Word.dpHash] = scratch[0] as number;
      }
      way.resume(frozen);
    });
  });

  /** Begins without switches. */
  constructor(dp: Datapath) {
    this.#dp = dp;
  }

  /** The switches. */
  all(): IterableIterator<Switch> {
    return this.#all.values();
  }

  /** Has packets go through the tables. */
  async start(options: SwitchesOptions): Promise<void> {
    const { policy = (packet) => this.decide(packet), failed } = options;
    this.#failed = failed;
    this.#run = await runPolicy(this.#dp, policy, {
      ...options,
      onPacket: (packet) => {
        if (packet.reason === CONTROLLER) this.handed(packet);
        else options.onPacket?.(packet);
      },
    });
    this.#watching = this.#watchPorts().catch(failed);
    this.#ticker = every(TICK_MS, () => this.expire());
  }

  /** Lets go of flows whose time is over; called by itself twice a second. */
  async expire(): Promise<void> {
    await Promise.allSettled([...this.all()].map((of) => of.expire()));
  }

  /** The policy that keeps the datapath's flows true. */
  get run(): PolicyRun {
    if (this.#run === undefined) throw new TypeError("the switch does not run");
    return this.#run;
  }

  async #watchPorts(): Promise<void> {
    try {
      for await (const _ of this.#dp.ports.changes({ signal: this.#abort.signal })) {
        if (this.#dp.closed) return;
        this.readPorts();
      }
    } catch (error) {
      if (!this.#abort.signal.aborted && !this.#dp.closed) throw error;
    }
  }

  /** Ends the policy; the datapath and its flows stay. */
  async close(): Promise<void> {
    this.#ticker?.[Symbol.dispose]();
    this.#abort.abort();
    await this.#watching;
    await this.#run?.close();
  }

  /**
   * Adds switches, if they are not here yet, and reads the ports of all. Their packet-outs are done
   * here.
   */
  add(...some: readonly Switch[]): void {
    for (const of of some) {
      if (this.#all.get(of.id) === of) continue;
      this.#all.set(of.id, of);
      of.runtime = {
        checkPacketOut,
        packetOut: (out) => this.packetOut(of, out),
        resume: (message) => this.resume(of, message),
        refresh: async () => void await this.#run?.statistics(),
        failed: (error) => this.#failed(error),
      };
      // As in Open vSwitch: an address that moves was known behind patch ports, too.
      of.onStationGone = (key) => {
        for (const other of this.#all.values()) {
          if (other !== of) other.stations.delete(key);
        }
      };
      of.recirculates = (frozen) => again([], this.#thaw, frozen)[0] as Action;
    }
    this.readPorts();
  }

  /** Takes a switch away: packets of its ports are dropped. */
  delete(of: Switch): void {
    this.#all.delete(of.id);
    this.readPorts();
  }

  /** Reads the ports of all switches anew, in one pass. Where they cannot be read they stay. */
  readPorts(): void {
    const owners = new Map<number, Switch>();
    const there = portsThere(this.#dp);
    try {
      there();
    } catch (error) {
      if (!(error instanceof DatapathError)) throw error;
      if (!this.#dp.closed) this.#failed(error);
      return;
    }
    for (const of of this.#all.values()) {
      of.readPorts(there);
      for (const { dp } of of.ports.value.values()) {
        if (dp !== undefined) owners.set(dp, of);
      }
    }
    const before = this.#owners.value;
    const isSame = before.size === owners.size &&
      [...owners].every(([no, of]) => before.get(no) === of);
    if (!isSame) this.#owners.value = owners;
  }

  /** Decides on a packet that a run is about. */
  decide(packet: Packet): Decision {
    const { key, layout } = trackerOf(packet);
    load(inPort, key, (layout.key[inPort.slot] as number) + inPort.at, scratch);
    const of = this.#owners.value.get((scratch[0] as number) >>> 0);
    if (of === undefined) return drop("no switch has the port");
    return this.#decide(packet, of, (way) => way.run());
  }

  #decide(packet: Packet, of: Switch, run: (way: Translation) => void): Decision {
    const tracker = trackerOf(packet);
    if (tracker.reads !== undefined) tracker.note("packet", "the tables of OpenFlow");
    this.#crediting.begin();
    const flow = flowOfKey(tracker.key, tracker.layout, 0, of.portOf);
    layOptions(of.tlv, flow.flow, tracker.key.subarray(0, tracker.keySize));
    const way = new Translation(of, flow, this.#credit);
    run(way);
    const credits = this.#crediting.end();
    if (credits !== undefined) tracker.effects = joined(tracker.effects, credits.effects);
    if (this.exact.value) {
      layFlow(tracker, everything, 0xffff);
      tracker.layPrefix(priority, priority.width); // No flow has that.
    } else layFlow(tracker, way.seen, way.seenInner);
    way.release();
    giveWords(flow.flow);
    for (const { table, key, value } of way.lessons) packet.learn(table, key, value);
    const { actions, edit, reason } = way;
    if (way.isSlow && actions.length > 0) {
      return {
        actions,
        edit: (frame) => edit === undefined ? frame : editFrame(frame, edit),
      };
    }
    if (actions.length > 0) return this.#decisions.of(actions);
    return drop(reason ?? "no output");
  }

  /** A packet that the tables handed up. */
  handed({ packet, key, userdata }: HandedPacket): void {
    try {
      const context = readContext(userdata);
      const { flow } = flowOfKey(key, this.#layouts.of(key));
      this.#all.get(context.of)?.packetIn(packet, context, flow);
    } catch (error) {
      // Bytes of an upcall that another program wrote.
      if (!(error instanceof OfError)) throw error;
    }
  }

  /** Does the actions of a packet-out. Throws {@linkcode OfError}. */
  packetOut(of: Switch, out: PacketOut): void {
    checkPacketOut(out);
    const { packet, inPort, actions, metadata } = out;
    const no = of.ports.value.get(inPort)?.dp ?? NO_PORT;
    const key = encodeKey(extractKey(packet, { inPort: no }));
    const flow = flowOfKey(key, this.#layouts.of(key));
    for (let i = 0; i < Word.dlDst; i++) {
      flow.flow[i] = (flow.flow[i] as number) | (metadata.value[i] as number);
    }
    flow.flow[Word.inPort] = inPort;
    const nowMs = clockMs();
    const way = new Translation(
      of,
      flow,
      (counter) => counter.count(1, packet.length, nowMs, flow.flow[Word.tcpFlags] ?? 0),
    );
    // The packet was in no tunnel: what is said of one is no more than was written.
    for (let i = Word.tunId; i < Word.dlDst; i++) {
      if (metadata.value[i] !== 0) way.written[i] = 0xffffffff;
    }
    way.runActions(actions);
    this.#execute(of, way, packet, key);
  }

  /**
   * Has a packet go on that a controller gives back, as that has changed it, in the switch that it
   * was in. Throws {@linkcode OfError}; `NXR_STALE` where that is another one, or the port is gone.
   */
  resume(of: Switch, { packet, metadata, continuation }: Resume): void {
    if (packet.length < 14) throw new OfError("OFPBRC_BAD_PACKET");
    const kept = readContinuation(continuation, of.tlv);
    if (kept.of !== of.id || !hasPort(of, kept.inPort)) throw new OfError("NXR_STALE");
    const frozen = resumed(kept, metadata);
    const no = of.ports.value.get(frozen.inPort)?.dp ?? NO_PORT;
    const key = encodeKey(extractKey(packet, { inPort: no, ...metadataOf(metadata) }));
    const nowMs = clockMs();
    const flow = flowOfKey(key, this.#layouts.of(key));
    const way = new Translation(
      of,
      flow,
      (counter) => counter.count(1, packet.length, nowMs, flow.flow[Word.tcpFlags] ?? 0),
    );
    way.resume(frozen);
    this.#execute(of, way, packet, key);
  }

  /** Does what came of a packet that a controller sent. */
  #execute(of: Switch, way: Translation, packet: Uint8Array, key: Uint8Array): void {
    // As in Open vSwitch, of what became too much on its way.
    if (way.isRefused) throw new OfError("OFPFMFC_UNKNOWN", way.reason ?? "refused");
    for (const { table, key: text, value } of way.lessons) {
      if ("mayAdd" in table) table.hear(text, value, clockMs());
    }
    if (way.actions.length === 0) return;
    const frame = way.edit === undefined ? packet : editFrame(packet.slice(), way.edit);
    const before = isHanding(way.actions) ? this.run.stats.upcalls : undefined;
    try {
      this.run.execute(frame, key, way.actions);
    } catch (error) {
      if (error instanceof DatapathError) throw new OfError("OFPBRC_BAD_PACKET");
      throw error;
    }
    if (before === undefined) return;
    of.handing ??= this.#handed(before).finally(() => void (of.handing = undefined));
  }

  /** Waits a little until more upcalls came than there were. */
  async #handed(before: number): Promise<void> {
    const end = performance.now() + HANDED_MS;
    while (this.run.stats.upcalls <= before && performance.now() < end) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

/** What packet-outs hand to controllers is waited for so long at most, ms. */
const HANDED_MS = 100;

/** Whether packets of some actions are handed to controllers, as far as that is plain. */
function isHanding(actions: readonly Action[]): boolean {
  return actions.some((action) => action.type === "userspace");
}
