// SPDX-License-Identifier: Apache-2.0
/**
 * A packet's way through tables and lists of actions: where it goes on, where it ends, and where it
 * stops to be looked up again.
 *
 * @module
 */
import { hash, meter as meterAction } from "../../providers/odp/constructors.ts";
import type { Action } from "../../providers/types_action.ts";
import type { PacketFlow } from "../table/packet_flow.ts";
import { Trail } from "../table/trail.ts";
import { type Instructions, NO_TABLE, type OfAction } from "../wire/action.ts";
import { fieldOfName } from "../wire/field.ts";
import { readBits, Word, writeBits } from "../wire/flow.ts";
import { Port } from "../wire/port_number.ts";
import { PacketInReason } from "../wire/message.ts";
import { PortConfig } from "../wire/object.ts";
import { addToSet, inOrder, outputOf } from "./action_set.ts";
import { frozenWords, ownMetadata } from "./context.ts";
import { type Entered, isAlike, PEER_WORK } from "./entered.ts";
import { leaveByHash } from "./forward/bond.ts";
import { mirrorIn } from "./forward/mirror.ts";
import { takeSpecial } from "./forward/special.ts";
import { freezeRest, type Frozen, type Rest, textOfActions, thaw } from "./frozen.ts";
import { isMore, looksBelow, restOf } from "./list_end.ts";
import { Lookups } from "./lookups.ts";
import { type PatchPeer, type Pipeline, TABLES } from "./pipeline.ts";
import { Stack } from "./stack.ts";
import type { Credit } from "./way.ts";

/** A packet on its way. */
export abstract class Walking extends Lookups {
  /** Whether nothing becomes of the packet because it was too much, or cannot be done. */
  isRefused = false;
  /** Groups that the packet is in. */
  groups = 0;
  /** Whether the connection tracker said something of it. */
  tracked = false;
  /** Which hash the datapath has computed of it; empty for none. */
  hashed = "";
  #set: OfAction[] = [];
  protected stack = new Stack();
  /** How often the packet was looked up again before. */
  #depth = 0;
  protected listEnded = false;
  /** How the way ends where it goes on later; the lists that are left are in `rests`. */
  protected freezing: ((frozen: Frozen) => readonly Action[]) | undefined;
  protected rests: Rest[] = [];
  /** Whether the action set is done at the end of what is done: not at that of a bucket. */
  protected hasSet = true;

  /** Begins with a packet. `credit` is told which counters it is for. */
  constructor(pipeline: Pipeline, packet: PacketFlow, credit: Credit) {
    super(pipeline, packet, credit, packet.flow[Word.inPort] as number);
    const isPlain = !ownMetadata(packet.flow, this.wrote);
    this.written[Word.actsetOutput] = 0xffffffff;
    this.set = [];
    if (isPlain) this.becameNothing();
  }

  /** The action set, whose output later tables may match. */
  protected get set(): OfAction[] {
    return this.#set;
  }

  protected set set(list: OfAction[]) {
    this.#set = list;
    this.now.flow[Word.actsetOutput] = outputOf(list);
    this.changed();
  }

  /** Whether the freezing is that of a group which wants a hash of the packet. */
  protected isHashing = false;

  /** Does the action at a place of a list of instructions. False if what is behind is done, too. */
  protected abstract do(
    action: OfAction,
    list: readonly OfAction[],
    at: number,
    then: Instructions,
  ): boolean | void;

  /** Runs the tables from the first one on. */
  run(table = 0): void {
    const { fragments, ports } = this.pipeline;
    const config = ports.value.get(this.inPort)?.config ?? 0;
    const isOff = config & (PortConfig.noReceive | PortConfig.down);
    if (isOff) return this.drop("port is down");
    const isFragment = (this.now.flow[Word.nw] as number) & 3;
    const isSpecial = takeSpecial(this.way);
    mirrorIn(this.way);
    if (this.stopped || isSpecial) return;
    if (isFragment && fragments.value === 1) return this.drop("fragment");
    if (this.pipeline.failOpen.value) this.output(Port.normal);
    else this.goTo(table, true);
    this.end();
  }

  /** Does actions that a controller sent with a packet. */
  runActions(list: readonly OfAction[]): void {
    this.reasonOfOutput = PacketInReason.packetOut;
    mirrorIn(this.way);
    if (!this.stopped) this.apply(list);
    this.end();
  }

  /** Goes on with a packet where it was frozen. */
  resume(frozen: Frozen): void {
    const { flow } = this.now;
    // Not that of the datapath's key: controllers and patch ports have none there.
    flow[Word.inPort] = this.inPort = frozen.inPort;
    this.written[Word.inPort] = 0xffffffff;
    for (const [word, value, mask] of frozen.words) {
      flow[word] = (flow[word] as number) & ~mask | value;
      this.written[word] = (this.written[word] as number) | mask;
    }
    this.stack = new Stack(frozen.stack);
    this.#depth = frozen.depth;
    this.tracked = frozen.tracked;
    this.hashed = frozen.hashed;
    this.mirrored = frozen.mirrored;
    if (frozen.bond !== "") return leaveByHash(this.way, frozen.bond);
    const { set, rests } = thaw(frozen, this.pipeline.tlv) ??
      { set: [], rests: undefined };
    if (rests === undefined) this.drop("an option of tunnels is gone");
    this.set = set;
    for (const rest of rests ?? []) {
      this.rule = undefined;
      if (this.stopped || this.freezing !== undefined) this.rests.push(rest);
      else this.doRest(rest);
    }
    if (frozen.table !== NO_TABLE && !this.stopped) this.goTo(frozen.table, true);
    this.end();
  }

  protected doRest({ table, cookie, what }: Rest): void {
    this.table = table;
    this.cookie = cookie;
    const next = this.instructions(what);
    if (next !== undefined) this.walk(next, true);
  }

  /** As in Open vSwitch: nothing becomes of a packet that was too much work. */
  protected end(): void {
    // As in Open vSwitch: the action set is of the flow that the packet met first.
    const { table, cookie } = this.first ?? this;
    if (this.set.length > 0) Object.assign(this, { table, cookie });
    this.finishSet();
    this.finishFreezing();
    if (this.refused !== undefined) this.drop(this.refused);
    else {
      this.bounds.told(this.actions, this.handedBytes);
      if (this.goesOn()) return;
    }
    const nothing = { actions: [], edit: undefined, lessons: [] };
    Object.assign(this, { ...nothing, isRefused: true });
  }

  /** As in {@linkcode Way}: one that goes on and on, from switch to switch, soon floods no more. */
  spendOnFlood(): boolean {
    return this.spend(Math.max(1, this.#entered.length - 1) ** 2);
  }

  /** What is known of the packet, to go on at a table, or with the lists that are left. */
  protected frozen(table: number, tracked: boolean, rests: readonly Rest[]): Frozen {
    const { flow } = this.now;
    const depth = this.#depth + 1;
    this.bounds.recirculate(depth);
    return {
      of: this.pipeline.id,
      table,
      inPort: this.inPort,
      words: frozenWords(flow, this.wrote),
      stack: [...this.stack.items],
      set: textOfActions(this.set),
      rests: rests.map(freezeRest),
      hashed: "",
      bond: "",
      mirrored: this.mirrored,
      tracked,
      depth,
    };
  }

  /** As in {@linkcode Way}. */
  sendByHash(bond: string, basis: number): void {
    this.commit();
    const frozen = this.frozen(NO_TABLE, this.tracked, []);
    const hashed = `l4 ${basis}`;
    const again = { ...frozen, bond, hashed, set: "", stack: [] };
    this.actions.push(hash("l4", { basis }), this.pipeline.recirculation(again));
  }

  /** The action that has the packet looked up again, in a table. */
  recirculate(table: number, tracked: boolean): Action {
    return this.pipeline.recirculation(this.frozen(table, tracked, []));
  }

  /**
   * Stops here: what is left of all lists is done when the packet comes again. `how` makes the
   * actions by which it does.
   */
  freeze(how: (frozen: Frozen) => readonly Action[]): void {
    this.freezing = how;
    this.rests = [];
  }

  protected finishFreezing(): void {
    const how = this.freezing;
    if (how === undefined || this.stopped) return;
    this.freezing = undefined;
    this.commit();
    this.actions.push(...how(this.frozen(NO_TABLE, this.tracked, this.rests)));
    this.rests = [];
  }

  /** Has the rest be done when the packet comes again. The set of others is not done there. */
  #nextPass(what: Instructions, hasSet = true): false {
    const { table, cookie } = this;
    this.freeze((frozen) => [
      this.pipeline.recirculation(hasSet ? frozen : { ...frozen, set: "" }),
    ]);
    this.rests.push({ table, cookie, what });
    return false;
  }

  /** Goes to a table, and to those after it. */
  protected goTo(id: number, honoursMiss: boolean): void {
    const { cookie, rule } = this;
    this.walk(id, honoursMiss);
    this.cookie = cookie;
    this.rule = rule;
  }

  protected walk(id: number, honoursFirst: boolean): void {
    const trail = new Trail();
    this.#walkOn(id, honoursFirst, trail);
    trail.end();
    const { left, lists } = trail;
    if (left === undefined) return;
    this.bounds.leave(lists);
    const { rule } = left;
    this.table = left.table;
    this.rule = rule;
    this.cookie = rule.cookie;
  }

  #walkOn(id: number, honoursFirst: boolean, trail: Trail): void {
    let honoursMiss = honoursFirst;
    for (let at = id; at < TABLES;) {
      this.bounds.lookUp();
      if (!this.goesOn()) return;
      if (this.isBlind) return void this.#nextPass({ goto: at });
      const table = this.pipeline.table(at);
      this.table = at;
      const rule = this.pass(table, trail) ?? this.find(table, trail);
      if (!this.goesOn()) return;
      if (rule !== undefined) {
        this.isMiss = rule.priority === 0 && rule.match.shape.words.length === 0;
        this.cookie = rule.cookie;
        this.rule = rule;
        const { onward } = rule;
        if (onward !== undefined) {
          const { isResubmit } = onward;
          if (isResubmit) this.goOn(trail, { table: this.table, rule }, 1);
          [at, honoursMiss] = [onward.table, !isResubmit];
          continue;
        }
        trail.end();
        const next = this.instructions(rule.instructions);
        if (next === undefined) return;
        [at, honoursMiss] = [next, true];
        continue;
      }
      if (!honoursMiss) return;
      const config = table.miss.value;
      // As in Open vSwitch: behind the last table controllers are asked.
      if (config === 1 && at + 1 < TABLES) at++;
      else if (config === 1) return this.missed();
      else if (config === 2 || config === 0 && !this.pipeline.missToController.value) {
        // As in Open vSwitch: what the action set has is done all the same.
        this.reason ??= `table ${at}: no flow fits`;
        return;
      } else return this.missed();
    }
  }

  /** Does instructions; the table that they go on to, if any. */
  protected instructions(what: Instructions): number | undefined {
    const { meter, apply, clear, write, metadata, goto } = what;
    if (meter !== undefined) this.meter(meter);
    if (apply !== undefined && !this.apply(apply, what)) return undefined;
    if (clear) this.set = [];
    if (write !== undefined && !this.spend(write.length)) return undefined;
    if (write !== undefined) this.set = addToSet(this.set, write);
    if (metadata !== undefined) {
      const field = fieldOfName("metadata");
      const { flow } = this.now;
      const before = readBits(flow, field);
      writeBits(flow, field, before & ~metadata.mask | metadata.value & metadata.mask);
      this.changed();
    }
    return goto;
  }

  protected meter(id: number): void {
    const meter = this.pipeline.meter(id);
    if (meter !== undefined) this.actions.push(meterAction(meter));
  }

  protected finishSet(): void {
    if (this.stopped || this.freezing !== undefined || this.set.length === 0) return;
    const list = inOrder(this.set);
    this.set = [];
    this.reasonOfOutput = PacketInReason.actionSet;
    this.apply(list);
  }

  /**
   * Does actions on what the packet is now, and has it be again what it was before. A clone does
   * the action set too, as in Open vSwitch.
   */
  aside(
    list: readonly OfAction[],
    reason = this.reasonOfOutput,
    isClone = false,
    then = () => {},
  ): void {
    this.separately(isClone, reason, () => {
      this.apply(list);
      then();
      if (isClone) this.finishSet();
    });
  }

  /** Has the packet be again what it was before; of its own the set and the stack too. */
  protected separately(isOwn: boolean, reason: number, what: () => void): void {
    const [set, before] = [this.set, this.reasonOfOutput];
    const stack = new Stack(this.stack.items);
    const { freezing, rests, tracked, hasSet } = this;
    this.freezing = undefined;
    this.hasSet = isOwn;
    this.reasonOfOutput = reason;
    this.apart(() => {
      what();
      this.finishFreezing();
    }, isOwn);
    Object.assign(this, { freezing, rests, tracked, hasSet });
    this.stopped = this.bounds.reached !== undefined;
    this.listEnded = false;
    this.reasonOfOutput = before;
    this.stack = stack;
    if (isOwn) this.set = set;
  }

  /** How the packet came into switches that it is still in, by patch ports. */
  readonly #entered: Entered[] = [];

  /** Goes on in the switch behind a patch port, which knows nothing of registers and tunnels. */
  protected override enterPeer({ pipeline, port }: PatchPeer): void {
    if (!this.spend(PEER_WORK)) return;
    const before = { pipeline: this.pipeline, inPort: this.inPort };
    const { cookie, table, isMiss, mirrored } = this;
    this.separately(true, PacketInReason.action, () => {
      Object.assign(this, { pipeline, inPort: port, tracked: false, mirrored: 0 });
      this.enter(port);
      [this.set, this.stack] = [[], new Stack()];
      const { now: { flow, tags }, groups, isBlind } = this;
      const entered = { pipeline, flow: flow.slice(), tags, groups, isBlind };
      // One that comes again as it was goes round for ever: its end need not be waited for.
      if (this.#entered.some((one) => isAlike(one, entered))) {
        this.bounds.goesRound();
        return void this.goesOn();
      }
      this.#entered.push(entered);
      this.back(() => this.run());
      this.#entered.pop();
    });
    Object.assign(this, { ...before, cookie, table, isMiss, mirrored });
  }

  /** As in {@linkcode Way}. */
  back(look: () => void): void {
    this.bounds.back(look);
    this.goesOn();
  }

  /**
   * Does a list; false if something in it ended the list, or all of the way. `then` are the
   * instructions that it is of: what they have behind it is done later.
   */
  protected apply(list: readonly OfAction[], then: Instructions = {}): boolean {
    const went = this.bounds.enter() && this.applyEach(list, then);
    this.bounds.leave(1);
    return this.goesOn() && went;
  }

  protected applyEach(list: readonly OfAction[], then: Instructions): boolean {
    const { table, cookie } = this;
    for (let i = 0; i < list.length; i++) {
      const action = list[i] as OfAction;
      if (this.stopped || !this.spend(1)) return false;
      // What is below a label is known in the next pass, and ARP and ICMP are set at its start.
      if (this.isBlind && looksBelow(action)) {
        return this.#nextPass(restOf(then, list, i));
      }
      const went = this.do(action, list, i, then);
      if (this.takeHeld()) return this.#nextPass(restOf(then, list, i), this.hasSet);
      if (went === false) return false;
      if (this.freezing !== undefined) {
        // A group that hashes is done again, with the hash.
        const isAgain = action.type === "group" && this.isHashing;
        this.isHashing = false;
        const what = restOf(then, list, isAgain ? i : i + 1);
        const isLeft = what.apply?.length !== 0 || isMore(then);
        if (isLeft) this.rests.push({ table, cookie, what });
        return false;
      }
      if (!this.listEnded) continue;
      this.listEnded = false;
      return false;
    }
    return !this.stopped;
  }
}
