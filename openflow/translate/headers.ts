// SPDX-License-Identifier: Apache-2.0
/**
 * The headers of a packet on its way: what is read and changed, and which of its bits matter for
 * it.
 *
 * @module
 */
import { clone, popMpls, pushMpls } from "../../providers/odp/constructors.ts";
import type { Action } from "../../providers/types_action.ts";
import { type Became, type BecameKey, keyOf, NOTHING_BECAME } from "../table/looked.ts";
import type { PacketFlow } from "../table/packet_flow.ts";
import type { OfAction, SubField } from "../wire/action.ts";
import { modField } from "../wire/actions/action_write.ts";
import {
  type Field,
  fieldOfName,
  isOfTransport,
  isRegister,
  type Needs,
} from "../wire/field.ts";
import {
  FLOW_WORDS,
  type FlowWords,
  flowWords,
  giveWords,
  Nw,
  nwByte,
  ones,
  readBits,
  STAGE_ENDS,
  takeWords,
  VLAN_PRESENT,
  Word,
  writeBits,
} from "../wire/flow.ts";
import { allOf, hasWhatItNeeds, isMpls } from "../wire/match.ts";
import { commit, type PacketState, takeEdit } from "./commit.ts";
import { editFields, type HeaderEdit, isEdited, usesEdited } from "./edit.ts";
import { keepsChange } from "./action_set.ts";
import { stays } from "./entered.ts";
import type { Pipeline } from "./pipeline.ts";

/** Bits of one field at a time: zeros in between. */
const some = flowWords();

const protocol = fieldOfName("nw_proto");

/** Tags that are known of a packet. */
const MAX_TAGS = 2;

/** Headers, and what becomes of them. */
export class Headers {
  pipeline: Pipeline;
  readonly now: PacketState;
  readonly base: PacketState;
  /** Bits of the packet that the outcome rests on. */
  readonly seen: FlowWords = takeWords();
  /** Bits of the second tag that it rests on. */
  seenInner = 0;
  /** Bits that are not those that the packet came with; to be read. */
  protected readonly wrote: FlowWords = takeWords();
  readonly #first: FlowWords;
  #key: BecameKey | undefined;
  actions: Action[] = [];
  /** What the program is to write into the packet, before all actions. */
  edit: HeaderEdit | undefined;
  /** How many of the packet's own tags were taken off, and how many others are before them. */
  popped = 0;
  pushed = 0;
  /** The tags that the packet came with. */
  readonly #tags: PacketFlow["tags"];
  /** Whether a tag went because there was one too many. */
  #hasLost = false;
  /** Whether a label went, and what is below it has not been looked at. */
  isBlind = false;
  /** How many clones and the like it is in, behind which the packet is again what it was. */
  #asides = 0;
  /** Whether the action that was done last sets what only the next pass may. */
  protected isHeld = false;
  /** What cannot be done with the packet. */
  refused: string | undefined;

  /** Those of a packet. */
  constructor(pipeline: Pipeline, packet: PacketFlow) {
    this.pipeline = pipeline;
    this.#tags = packet.tags;
    this.now = { flow: packet.flow, tags: packet.tags, priority: 0 };
    this.#first = takeWords();
    this.#first.set(packet.flow);
    this.base = { flow: this.#first, tags: packet.tags, priority: 0 };
  }

  /** Gives room back for the next packet: nothing of this one is read or written any more. */
  release(): void {
    giveWords(this.seen, this.wrote, this.#first);
  }

  /** The same, to be written. Who changes the flow asks for them, before or behind that. */
  get written(): FlowWords {
    this.#key = undefined;
    return this.wrote;
  }

  /** Notes that all that was written says nothing: no register has a value. */
  protected becameNothing(): void {
    this.#key = NOTHING_BECAME;
  }

  /** Notes that the flow was changed in bits that were written before. */
  protected changed(): void {
    this.#key = undefined;
  }

  /** Has bits of the packet matter, as far as they are still its own. */
  see(field: Field, mask: bigint = allOf(field)): void {
    if (field.word === Word.vlan) return this.seeTag(Number(mask) << field.shift);
    if (field.wordCount === 1) {
      return this.seeWord(field.word, Number(mask) << field.shift);
    }
    writeBits(some, field, mask);
    for (let i = field.word; i < field.word + field.wordCount; i++) {
      const own = this.pipeline.tight ? ~(this.wrote[i] as number) : ~0;
      this.seen[i] = (this.seen[i] as number) | (some[i] as number) & own;
      some[i] = 0;
    }
  }

  protected seeWord(word: number, bits: number): void {
    const own = this.pipeline.tight ? ~(this.wrote[word] as number) : ~0;
    this.seen[word] = (this.seen[word] as number) | bits & own;
  }

  /** Bits of the outermost tag matter: of the first or the second that the packet came with. */
  seeTag(bits: number): void {
    if (bits === 0 || this.pushed > 0) return;
    if (this.popped === 0) {
      this.seen[Word.vlan] = (this.seen[Word.vlan] as number) | bits;
    } else if (this.popped === 1) this.seenInner |= bits;
  }

  /**
   * Whether the packet has what a field needs. That it has not rests on its protocol too, or on the
   * state of its connection; later fragments have no header of layer 4.
   */
  has(needs: Needs): boolean {
    const { flow } = this.now;
    if (needs === "none") return true;
    if (isOfTransport.has(needs) && hasWhatItNeeds("ip", flow)) {
      this.see(protocol);
      if ((flow[Word.nw] as number) & 2) return false;
      if (needs.startsWith("nd") && hasWhatItNeeds("icmp6", flow)) {
        this.see(fieldOfName("icmpv6_type"));
        this.see(fieldOfName("icmpv6_code"));
      }
    }
    if (needs === "ct") this.see(fieldOfName("ct_state"));
    return hasWhatItNeeds(needs, flow);
  }

  /** The bits of a field, which matter then; zero where the packet has none. */
  read({ field, offset, bits }: SubField): bigint {
    if (!this.has(field.needs)) return 0n;
    const mask = ones(bits) << BigInt(offset);
    this.see(field, mask);
    return (readBits(this.now.flow, field) & mask) >> BigInt(offset);
  }

  /** A whole field. */
  readWhole(field: Field): bigint {
    return this.read({ field, offset: 0, bits: field.bits });
  }

  /** Changes a part of a field. */
  put({ field, offset, bits }: SubField, value: bigint): void {
    const shift = BigInt(offset);
    this.write(field, (value & ones(bits)) << shift, ones(bits) << shift, false);
  }

  /**
   * Changes bits of a field. As in Open vSwitch they matter then: an equal value costs no action.
   * `isSet` says whether the value was the flow's own, and not that of another field.
   */
  write(field: Field, value: bigint, mask: bigint, isSet = true): void {
    const { flow } = this.now;
    const { word, shift } = field;
    if (isRegister(field)) {
      const bits = Number(mask) << shift;
      flow[word] = (flow[word] as number) & ~bits | Number(value) << shift & bits;
      this.written[word] = (this.written[word] as number) | bits;
      return;
    }
    if (word >= (STAGE_ENDS[0] as number) || word === Word.pktMark) this.see(field, mask);
    // Who sets a part of an IP header rests on the protocol (CVE-2023-1668): of 0 none is set.
    const isTold = isSet && field.name !== "ip_dscp" || nwByte(flow, Nw.proto) === 0;
    if (isTold && /^ip(v4|v6)?$/.test(field.needs)) this.see(protocol);
    const before = readBits(flow, field);
    const after = (before & ~mask | value & mask) & allOf(field);
    const edits = after !== before && isEdited(field, flow);
    if (edits && (this.#asides > 0 || this.actions.some(usesEdited))) {
      this.isHeld = true;
      return;
    }
    writeBits(flow, field, after);
    writeBits(some, field, mask);
    for (let i = field.word; i < field.word + field.wordCount; i++) {
      this.written[i] = (this.written[i] as number) | (some[i] as number);
      some[i] = 0;
    }
    if (field.word === Word.vlan) this.tagWritten();
    if (field.option !== undefined) this.#optionWritten(field.option, true);
    if (edits) this.#edited();
  }

  /** The program writes what differs now, in each packet. */
  #edited(): void {
    const edit = takeEdit(this.now.flow, this.base.flow);
    this.edit = { ...this.edit, ...edit };
    for (const name of Object.keys(edit ?? {}) as (keyof HeaderEdit)[]) {
      this.see(fieldOfName(editFields[name]));
    }
  }

  /** Whether what was done is to be done again in the next pass; asked once. */
  protected takeHeld(): boolean {
    const { isHeld } = this;
    this.isHeld = false;
    return isHeld;
  }

  #optionWritten(option: number, isThere: boolean): void {
    const { flow } = this.now;
    const [word, bit] = [Word.tunPresent + (option >> 5), 1 << (option & 31)];
    flow[word] = isThere ? (flow[word] as number) | bit : (flow[word] as number) & ~bit;
    this.written[word] = (this.written[word] as number) | bit;
  }

  /** Takes an option off the tunnel's. */
  deleteOption(field: Field): void {
    this.write(field, 0n, allOf(field));
    if (field.option !== undefined) this.#optionWritten(field.option, false);
  }

  /** The outermost tag is what the flow says of it. */
  tagWritten(): void {
    const { now } = this;
    const tci = now.flow[Word.vlan] as number;
    const [first, ...rest] = now.tags;
    if (tci & VLAN_PRESENT) now.tags = [{ tpid: first?.tpid ?? 0x8100, tci }, ...rest];
    else now.tags = rest;
  }

  /** Does an action of OpenFlow 1.0 or 1.1 that changes a header. */
  mod(action: OfAction & { readonly type: "mod" }): void {
    const { name, value, pushes = false } = action;
    if (name === "vlan_vid" || name === "vlan_pcp") {
      if (this.now.tags.length === 0) {
        if (!pushes) return;
        this.pushTag(0x8100);
      }
    }
    if (name === "tp_src" || name === "tp_dst") this.has("tcp");
    const proto = nwByte(this.now.flow, Nw.proto);
    const field = modField(name, proto);
    if (field === undefined || !this.has(field.needs)) return;
    if (name === "vlan_vid") return this.write(field, value | 0x1000n, allOf(field));
    this.write(field, name === "nw_tos" ? value >> 2n : value, allOf(field));
  }

  /** Adds a tag. */
  pushTag(tpid: number): void {
    const { now } = this;
    this.seeTag(now.tags.length > 0 ? 0xffff : 0);
    // As in Open vSwitch: the tag is empty, and a third one is one too many.
    this.#hasLost ||= now.tags.length === MAX_TAGS;
    now.tags = [{ tpid, tci: VLAN_PRESENT }, ...now.tags].slice(0, MAX_TAGS);
    now.flow[Word.vlan] = VLAN_PRESENT;
    this.written[Word.vlan] = 0xffff;
    this.pushed++;
  }

  /** Takes the outermost tag off. */
  popTag(): void {
    const { now } = this;
    if (now.tags.length === 0) return;
    if (this.pushed > 0) this.pushed--;
    else {
      this.seeTag(0xffff);
      this.popped++;
    }
    now.tags = now.tags.slice(1);
    now.flow[Word.vlan] = now.tags[0]?.tci ?? 0;
    this.written[Word.vlan] = 0xffff;
  }

  /** Adds a label. */
  pushLabel(etherType: number): void {
    this.commit();
    const { flow } = this.now;
    const type = flow[Word.dlType] as number;
    const isIp = hasWhatItNeeds("ip", flow);
    // As in Open vSwitch: a label begins as that below it, or as IP's service and TTL.
    if (isIp) { for (const name of ["ip_dscp", "nw_ttl"]) this.see(fieldOfName(name)); }
    if (isMpls(type)) {
      for (const name of ["mpls_label", "mpls_tc", "mpls_ttl", "mpls_bos"]) {
        this.see(fieldOfName(name));
      }
    }
    const below = flow[Word.mpls] as number;
    const ttl = isMpls(type) ? below & 0xff : isIp ? nwByte(flow, Nw.ttl) || 64 : 64;
    const label = isMpls(type) ? below >>> 12 : type === 0x86dd ? 2 : 0;
    const tc = isMpls(type) ? below >>> 9 & 7 : isIp ? nwByte(flow, Nw.tos) >>> 2 & 7 : 0;
    const bos = isMpls(type) ? 0 : 1;
    this.actions.push(pushMpls({ label, tc, ttl, bos, etherType }));
    flow[Word.mpls] = (label << 12 | tc << 9 | bos << 8 | ttl) >>> 0;
    flow[Word.dlType] = etherType;
    this.written[Word.mpls] = 0xffffffff;
    this.written[Word.dlType] = 0xffff;
    this.base.flow = flow.slice();
  }

  /** Takes a label off. */
  popLabel(etherType: number): void {
    const { flow } = this.now;
    if (!isMpls(flow[Word.dlType] as number)) return;
    this.commit();
    this.see(fieldOfName("mpls_bos"));
    this.actions.push(popMpls(etherType));
    this.isBlind = true;
    flow[Word.dlType] = etherType;
    flow[Word.mpls] = 0;
    this.written[Word.mpls] = 0xffffffff;
    this.written[Word.dlType] = 0xffff;
    this.base.flow = flow.slice();
  }

  /**
   * What the packet has become. Its second tag, behind one that was taken off, is the same in all
   * packets of the flow as far as it was looked at.
   */
  became(): Became {
    const { wrote: mask, now: { flow: value } } = this;
    if (this.popped !== 1 || this.pushed > 0 || this.now.tags.length === 0) {
      return { value, mask, known: mask };
    }
    const known = mask.slice();
    known[Word.vlan] = this.seenInner | VLAN_PRESENT;
    return { value, mask, known };
  }

  /** A key of what it has become. */
  becameKey(): BecameKey {
    // What the second tag is known to be grows without a change.
    if (this.popped === 1) this.#key = undefined;
    return this.#key ??= keyOf(this.became());
  }

  /**
   * Has the packet be again what it was, once something was done with it; of a clone, addresses
   * that were translated too.
   */
  apart(what: () => void, isClone = false): void {
    const { popped, pushed, isBlind, actions: outer, now: { tags, priority } } = this;
    const [flow, written] = [this.now.flow.slice(), this.wrote.slice()];
    const base = { ...this.base, flow: this.base.flow.slice() };
    this.actions = [];
    this.#asides++;
    what();
    this.#asides--;
    const inner = this.actions;
    this.actions = outer;
    const keeps = (action: Action): boolean =>
      keepsChange.has(action.type) ||
      isClone && action.type === "ct" && action.nat !== undefined;
    if (inner.some(keeps)) {
      outer.push(clone(inner));
      Object.assign(this.base, base);
    } else outer.push(...inner);
    Object.assign(this, { popped, pushed, isBlind });
    Object.assign(this.now, { flow, tags, priority });
    this.written.set(written);
  }

  /** The packet comes into another switch, without what only the one before it knew. */
  enter(port: number): void {
    for (let word = 0; word < Word.dlDst; word++) {
      if (stays.has(word)) continue;
      this.now.flow[word] = word === Word.inPort ? port : 0;
      this.written[word] = 0xffffffff;
    }
  }

  /** Sends the packet as it is now. */
  send(...actions: Action[]): void {
    this.commit();
    this.actions.push(...actions);
  }

  /** Whether the datapath's packet is what the flow says, registers and metadata aside. */
  #isAsSent(): boolean {
    const { now, base } = this;
    if (now.tags !== base.tags || now.priority !== base.priority) return false;
    const [flow, before] = [now.flow, base.flow];
    const actset: number = Word.actsetOutput;
    for (let i: number = Word.tunId; i < FLOW_WORDS; i++) {
      if (flow[i] !== before[i] && i !== actset) return false;
    }
    return true;
  }

  /** A tag is put on in whole: all matters of the packet's own one that it replaces. */
  #seeWhole(place: number): void {
    if (place >= this.#tags.length) return;
    if (place === 0) this.seen[Word.vlan] = (this.seen[Word.vlan] as number) | 0xffff;
    else if (place === 1) this.seenInner |= 0xffff;
  }

  /** Has the datapath's packet be what the flow says. */
  commit(): void {
    if (this.#isAsSent()) return;
    const known = this.seen.map((word, i) => word | (this.wrote[i] as number));
    const count = this.base.tags.length;
    const { actions, popped } = commit(this.now, this.base, known);
    this.actions.push(...actions);
    for (let i = 0; i < popped.length; i++) {
      // As in Open vSwitch, that in its place; and that which it may be what became of.
      this.#seeWhole(i);
      this.#seeWhole(this.#hasLost ? 1 : this.#tags.length - (count - i));
    }
  }
}
