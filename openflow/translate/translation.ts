// SPDX-License-Identifier: Apache-2.0
/**
 * One packet on its way through the tables: what becomes of it as actions of a datapath, and which
 * of its bits that rests on.
 *
 * @module
 */
import { checkPktLen, ctClear } from "../../providers/odp/constructors.ts";
import type { Action } from "../../providers/types_action.ts";
import {
  type BundleAction,
  type Instructions,
  NO_TABLE,
  type OfAction,
  type SubField,
} from "../wire/action.ts";
import { fieldOfName, isRegister } from "../wire/field.ts";
import { Word } from "../wire/flow.ts";
import { allOf, hasWhatItNeeds, isMpls } from "../wire/match.ts";
import { PacketInReason } from "../wire/message.ts";
import { Port, portFrom10, portTo10 } from "../wire/port_number.ts";
import { writeContinuation } from "./continuation.ts";
import type { Frozen } from "./frozen.ts";
import { isUp, runGroup } from "./group.ts";
import { hashFields, linkOf, steadyOf } from "./hash.ts";
import { learn } from "./learn.ts";
import { track, untrack } from "./track.ts";
import { hasTuple } from "../table/tuple.ts";
import { isMore, restOf } from "./list_end.ts";
import { Walking } from "./walking.ts";
import type { Way } from "./way.ts";

const tunId = fieldOfName("tun_id");
/** The bits of a tag that are its VLAN. */
const VID = 0xfff;
/** FIN and RST. */
const ENDS = 5;

/** Actions that a hash of a packet's fields is worth. */
const HASH_WORK = 8;

/** A translation. */
export class Translation extends Walking implements Way {
  #isDebugged = false;

  /** Whether the program handles each such packet: it changes it, or a test wants it so. */
  get isSlow(): boolean {
    return this.edit !== undefined || this.#isDebugged;
  }

  /** Notes what becomes of the packet, for a trace. */
  tell(_text: string): void {}

  /** @ignore */
  get way(): Way {
    return this;
  }

  /** Has the datapath compute a hash by `how`, and does the group again. */
  hashAgain(how: (frozen: Frozen) => readonly Action[]): void {
    this.freeze(how);
    this.isHashing = true;
  }

  /** What is behind it in the list is done twice: for long packets, and for the others. */
  #checkLength(
    { length, dst }: OfAction & { readonly type: "checkPktLarger" },
    what: Instructions,
  ): void {
    const { table, cookie, rule } = this;
    this.commit();
    const outer = this.actions;
    const base = { ...this.base, flow: this.base.flow.slice() };
    const branch = (value: bigint): Action[] => {
      this.actions = [];
      this.separately(true, this.reasonOfOutput, () => {
        this.put(dst, value);
        if (this.takeHeld()) this.refused = "a length is put into ARP or ICMP";
        this.doRest({ table, cookie, what });
        this.finishSet();
      });
      this.rule = rule;
      Object.assign(this.base, { ...base, flow: base.flow.slice() });
      return this.actions;
    };
    const greater = branch(1n);
    const lessEqual = branch(0n);
    this.actions = outer;
    this.actions.push(checkPktLen(length, { greater, lessEqual }));
  }

  protected do(
    action: OfAction,
    list: readonly OfAction[],
    at: number,
    then: Instructions,
  ): boolean | void {
    const { now } = this;
    switch (action.type) {
      case "output":
        return this.output(action.port, action.maxLength);
      case "enqueue": {
        const before = now.priority;
        this.#queue(action.queue);
        this.output(action.port);
        now.priority = before;
        return;
      }
      case "setQueue":
        return this.#queue(action.queue);
      case "popQueue":
        now.priority = 0;
        return;
      case "controller":
        if (!action.pause) return this.toController(action);
        return this.freeze((frozen) => this.#paused(action, frozen));
      case "outputReg": {
        // As in Open vSwitch: ports are those of OpenFlow 1.0 there.
        const port = Number(this.read(action.src));
        if (port <= 0xffff) this.output(portFrom10(port), action.maxLength);
        return;
      }
      case "outputTrunc":
        return this.outputCut(action.port, action.maxLength);
      case "group":
        return runGroup(this, action.group);
      case "setField":
        if (!this.has(action.field.needs)) return;
        return this.write(action.field, action.value, action.mask);
      case "mod":
        return this.mod(action);
      case "move":
        return this.#move(action.src, action.dst);
      case "push":
        this.bounds.stacked(this.stack.push(this.read(action.of)));
        return void this.goesOn();
      case "pop": {
        const value = this.stack.pop();
        if (value !== undefined) this.put(action.of, value);
        if (value !== undefined && this.isHeld) this.stack.push(value);
        return;
      }
      case "pushVlan":
        return this.pushTag(action.etherType);
      case "popVlan":
        return this.popTag();
      case "pushMpls":
        return this.pushLabel(action.etherType);
      case "popMpls":
        return this.popLabel(action.etherType);
      case "decTtl":
        return this.#decrement();
      case "decMplsTtl": {
        if (!isMpls(now.flow[Word.dlType] as number)) return;
        const field = fieldOfName("mpls_ttl");
        const ttl = this.readWhole(field);
        if (ttl <= 1n) return this.#endList("MPLS TTL");
        return this.write(field, ttl - 1n, allOf(field));
      }
      case "resubmit":
        return this.#resubmit(action);
      case "finTimeout":
        return this.#finTimeout(action.idle, action.hard);
      case "setTunnel":
        return this.write(tunId, action.id, allOf(tunId));
      case "clone":
        return this.aside(action.actions, undefined, true);
      case "exit":
        return void (this.stopped = true);
      case "meter":
        return this.meter(action.meter);
      case "checkPktLarger": {
        const behind = restOf(then, list, at + 1);
        // As in Open vSwitch: nothing comes of it at the end of a list.
        if (behind.apply?.length === 0 && !isMore(behind)) return;
        this.#checkLength(action, behind);
        return false;
      }
      case "bundle": {
        if (!this.spend(action.ports.length)) return false;
        const port = this.#memberOf(action);
        if (action.dst === undefined) return this.output(port);
        return this.put(action.dst, BigInt(portTo10(port)));
      }
      case "multipath": {
        if (!this.spend(HASH_WORK)) return false;
        const hash = hashFields(this, action.fields, action.basis);
        return this.put(action.dst, BigInt(linkOf(action, hash)));
      }
      case "learn":
        return learn(this, action);
      case "deleteField":
        return this.deleteOption(action.field);
      case "ct":
        return track(this, action);
      case "debugRecirc":
        return this.freeze((frozen) => [this.pipeline.recirculation(frozen)]);
      case "debugSlow":
        return void (this.#isDebugged = true);
      case "ctClear":
        if (this.tracked) this.actions.push(ctClear());
        return untrack(this);
      default:
        // A note is for people.
        return;
    }
  }

  /** Copies a part of a field. */
  #move(src: SubField, dst: SubField): void {
    if (!this.has(src.field.needs) || !this.has(dst.field.needs)) return;
    const isWithin = src.offset + src.bits <= src.field.bits;
    if (isWithin && src.field.wordCount === 1 && isRegister(dst.field)) {
      this.#moveWord(src, dst);
    } else this.put(dst, this.read(src));
  }

  /** The same, of a field of one word into a register. */
  #moveWord(src: SubField, dst: SubField): void {
    const { flow } = this.now;
    const { word: from } = src.field;
    const { word: to } = dst.field;
    const low = src.bits === 32 ? -1 : 2 ** src.bits - 1;
    const [right, left] = [src.field.shift + src.offset, dst.field.shift + dst.offset];
    if (from === Word.vlan) this.seeTag(low << right);
    else this.seeWord(from, low << right);
    const value = (flow[from] as number) >>> right & low;
    flow[to] = (flow[to] as number) & ~(low << left) | value << left;
    this.written[to] = (this.wrote[to] as number) | low << left;
  }

  /** Has packets that are sent from here on go into a queue, if there is one. */
  #queue(queue: number): void {
    this.now.priority = this.pipeline.priorityOf(queue) ?? this.now.priority;
  }

  /** The port that a bundle chooses; `Port.none` where none of them is up. */
  #memberOf({ algorithm, fields, basis, ports }: BundleAction): number {
    const known = this.pipeline.ports.value;
    const live = ports.filter((port) => isUp(known.get(port)));
    if (algorithm === "active_backup") return live[0] ?? Port.none;
    const hash = hashFields(this, fields, basis);
    return live[steadyOf(hash, live.length)] ?? Port.none;
  }

  #decrement(): void {
    const { flow } = this.now;
    if (!hasWhatItNeeds("ip", flow)) return;
    const field = fieldOfName("nw_ttl");
    this.see(fieldOfName("nw_proto"));
    const ttl = this.readWhole(field);
    if (ttl > 1n) return this.write(field, ttl - 1n, allOf(field));
    const reason = PacketInReason.invalidTtl;
    this.toController({ maxLength: 0xffff, controllerId: 0, reason });
    this.#endList("TTL");
  }

  /** As in Open vSwitch: what comes behind in the list is not done, but the action set is. */
  #endList(reason: string): void {
    this.reason ??= reason;
    this.listEnded = true;
  }

  /** A flow is to go soon once a connection of its ends: its packets are counted by their flags. */
  #finTimeout(idle: number, hard: number): void {
    const { pipeline, rule } = this;
    this.see(fieldOfName("nw_proto"));
    if (rule === undefined) return;
    this.credit({
      name: `the end of connections of ${rule.counter.name}`,
      count: (_packets, _bytes, _usedMs, tcpFlags) => {
        if (tcpFlags & ENDS) pipeline.reduceTimeouts(rule, idle, hard);
      },
    });
  }

  #resubmit(
    { port, table, isOfConnection = false }: OfAction & { readonly type: "resubmit" },
  ): void {
    const { flow } = this.now;
    // As in Open vSwitch: of a packet without such a tuple nothing is looked up.
    const hasNone = isOfConnection && !(this.has("ct") && hasTuple(flow));
    if (hasNone || isOfConnection && !hasWhatItNeeds("ip", flow)) return;
    const from = this.table;
    if (port !== Port.inPort) {
      const written = this.written[Word.inPort] as number;
      this.ownPort = { port: flow[Word.inPort] as number, written };
      [flow[Word.inPort], this.written[Word.inPort]] = [port, 0xffffffff];
    }
    const to = table === NO_TABLE ? from : table;
    const reason = this.reasonOfOutput;
    // As in Open vSwitch: what flows do that a bucket leads to is no more the group's.
    if (reason === PacketInReason.group) this.reasonOfOutput = PacketInReason.action;
    const look = (): void => {
      this.isOfConnection = isOfConnection;
      this.goTo(to, false);
    };
    // As in Open vSwitch: on the way to later tables nothing goes in circles.
    if (to > from) look();
    else this.back(look);
    this.takeOwnPort();
    this.reasonOfOutput = reason;
    this.table = from;
  }

  /** As in {@linkcode Way}. */
  seeInnerVlan(): number {
    const place = 1 + this.popped - this.pushed;
    if (place === 1) this.seenInner |= VID;
    else if (place === 0) {
      this.seen[Word.vlan] = (this.seen[Word.vlan] as number) | VID;
    }
    return (this.now.tags[1]?.tci ?? 0) & VID;
  }

  /** @ignore */
  again(): void {
    this.back(() => this.goTo(0, true));
  }

  /** Hands the packet to controllers, with what they give back to have it go on. */
  #paused(
    action: OfAction & { readonly type: "controller" },
    frozen: Frozen,
  ): readonly Action[] {
    this.toController({
      ...action,
      continuation: writeContinuation(frozen, this.pipeline.tlv),
    });
    return [];
  }
}
