// SPDX-License-Identifier: Apache-2.0
/**
 * Tables: rules, and the flows of a datapath that rest on how packets were looked up.
 *
 * A lookup is a dependency of the flow that it decides: on the rule that was found, or on there
 * being none. A rule that goes has the flows run again that found it; one that comes has those run
 * again that found a lesser one, and only if their packets can fit it. What a packet had become
 * when it was looked up (registers, headers that were set) is part of the dependency.
 *
 * Rules come and go in versions: lookups see those of the one that holds, while the next one is
 * made beside it.
 *
 * @module
 */
import {
  makeDependency,
  notify,
  type Owner,
  type Touches,
} from "../../policy/state/dependency.ts";
import { Cell } from "../../policy/mod.ts";
import { currentTracker } from "../../policy/packet/tracker.ts";
import { type FlowWords, flowWords } from "../wire/flow.ts";
import type { SubField } from "../wire/action.ts";
import type { PackedMatch } from "../wire/packed/packed_match.ts";
import { FlowBitsReader, type PortOf } from "./packet_flow.ts";
import { formatMatch } from "../text/match.ts";
import { Classifier } from "./classifier.ts";
import { type Answer, answerOf, Answers } from "./answers.ts";
import {
  type Became,
  type BecameKey,
  becameMask,
  hashOf,
  isLooked,
  type Looked,
  makeLooked,
  matchOf,
} from "./looked.ts";
import { MeetIndex } from "./meet_index.ts";
import {
  type Clock,
  type Passage,
  Passages,
  type Passed,
  type Step,
} from "./passages.ts";
import type { Rule } from "./rule.ts";
import { type Counter, Tally } from "./tally.ts";

/** Rules that come together, of which each is asked by itself which flows it concerns. */
const FEW = 64;

/** A packet that is looked up. */
export interface Looking {
  /** What it has become; not kept. */
  became(): Became;
  /** The same as a key. */
  becameKey(): BecameKey;
}

/** Has the flows run again that rest on a lookup, those aside that `touches` says no to. */
function tell({ id, within }: Looked, touches?: Touches): void {
  notify(id, touches);
  for (const passage of within ?? []) notify(passage.id, touches);
}

/** Bits that a lookup rests on: zeros in between. */
const seen = flowWords();

/** Packets that were counted. */
export class PacketCounter implements Counter {
  readonly name: string;
  readonly #packets = new Tally();

  /** None so far. */
  constructor(name: string) {
    this.name = name;
  }

  /** Packets so far. */
  get packets(): bigint {
    return this.#packets.value;
  }

  /** @ignore */
  count(packets: number): void {
    this.#packets.add(packets);
  }
}

/** Rules that a lookup rests on. */
function restedOn({ rule, soft }: Looked): readonly Rule[] {
  return rule === undefined ? soft : soft.length === 0 ? [rule] : [rule, ...soft];
}

/** The least priority of a rule that may change what a lookup found. */
function leastOf({ rule, soft }: Looked): number {
  // Rules of conjunctions have another priority than what they find.
  return soft.length > 0 ? 0 : rule?.priority ?? 0;
}

/** A table. */
export class FlowTable implements Owner, Passed {
  /** Its number. */
  readonly id: number;
  readonly #clock: Clock;
  readonly #classifier = new Classifier();
  /** The oldest and the newest of its rules. */
  #first: Rule | undefined;
  #last: Rule | undefined;
  /** Rules of the version that holds, and of the one that is made. */
  size = 0;
  planned = 0;
  readonly #answers = new Answers();
  readonly #passages: Passages;
  /** The last version in which a rule comes or goes. */
  #changedIn = 0;
  /** How many rules had been deleted, of all tables, when one of this table was last. */
  #deletedAt = 0;
  /** Whether what was found in a version holds: nothing has come or gone since. */
  readonly #isValid = (version: number): boolean =>
    version === this.#clock.version || this.#changedIn <= version;
  readonly #looked = new Map<number, Looked[]>();
  readonly #byMatch = new MeetIndex<Looked>();
  /** By the serial of the rule that was found. */
  readonly #byRule = new Map<number, Set<Looked>>();
  readonly #reader: FlowBitsReader;
  /** What it is called by who configures it. */
  name = "";
  /** Whether its name is fixed: controllers may not give it another. */
  isNamed = false;
  /** Whether flows go for others where there is no room, and whether controllers hear of room. */
  limits: {
    /** As controllers say. */
    readonly evicts: boolean;
    /** As who configures it says: flows go then too, by groups of equal parts of their matches. */
    readonly keeps?: { readonly groups: readonly SubField[] } | undefined;
    /** Rules at most; as many as there is room for if absent. */
    readonly most?: number | undefined;
    /** In percent of what is free. */
    readonly vacancy?: { readonly down: number; readonly up: number } | undefined;
  } = { evicts: false };
  /** What a miss does, as in table mods: 0 the usual, 1 continue, 2 drop, 3 controller. */
  readonly miss: Cell<number>;
  /** Packets that were looked up, and that found a rule. */
  readonly lookups: PacketCounter;
  readonly matched: PacketCounter;

  /** Makes an empty table; `portOf` has the switch's numbers of the datapath's ports. */
  constructor(
    id: number,
    clock: Clock = { version: 0, deletions: 0 },
    portOf?: PortOf,
  ) {
    this.id = id;
    this.#clock = clock;
    this.#passages = new Passages(clock);
    this.#reader = new FlowBitsReader(portOf);
    this.miss = new Cell(0);
    this.lookups = new PacketCounter(`table ${id} lookups`);
    this.matched = new PacketCounter(`table ${id} matched`);
  }

  /** The rules of a version, the oldest first: of the one that holds, if none is said. */
  *rules(version = this.#clock.version): IterableIterator<Rule> {
    for (let rule = this.#first; rule !== undefined; rule = rule.after) {
      if (rule.isIn(version)) yield rule;
    }
  }

  /** The rule of a version with this very match and priority. */
  get(match: PackedMatch, priority: number, version: number): Rule | undefined {
    return this.#classifier.exact(match, priority, version);
  }

  /**
   * Adds a rule, which lookups see from its version on; `before` is one of its match and priority,
   * whose place it takes, and which is still to be deleted.
   */
  insert(rule: Rule, before?: Rule): void {
    this.changesIn(rule.addedIn);
    if (before === undefined) this.#classifier.add(rule);
    else {
      this.#classifier.addBeside(rule);
      rule.beside = before;
      before.isReplaced = true;
    }
    rule.before = this.#last;
    if (this.#last === undefined) this.#first = rule;
    else this.#last.after = rule;
    this.#last = rule;
  }

  /** Notes that a rule comes or goes in a version. */
  changesIn(version: number): void {
    this.#changedIn = Math.max(this.#changedIn, version);
  }

  /** Versions begin anew: what is kept of earlier ones is forgotten. */
  renew(): void {
    this.#changedIn = 0;
    this.#answers.clear();
    this.#passages.clear();
  }

  /** Takes a rule out that no lookup sees any more, or none has seen. */
  delete(rule: Rule): void {
    // What it cost lookups it does no more.
    this.#answers.clear();
    this.#deletedAt = ++this.#clock.deletions;
    const { beside, before, after } = rule;
    if (beside !== undefined) {
      beside.isReplaced = false;
      rule.beside = undefined;
      this.#classifier.deleteBeside(rule);
    } else if (rule.isReplaced) this.#classifier.deleteBeside(rule);
    else this.#classifier.delete(rule);
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    rule.before = undefined;
    rule.after = undefined;
  }

  /**
   * Has the flows run again that rules concern which went, or came into no other's place. Yields
   * where the event loop may have its turn.
   */
  *changed(gone: readonly Rule[], come: readonly Rule[]): IterableIterator<void> {
    if (this.#looked.size === 0) return;
    for (const { serial } of gone) {
      const some = this.#byRule.get(serial);
      if (some === undefined) continue;
      for (const looked of [...some]) {
        tell(looked);
        yield;
      }
    }
    if (come.length <= FEW) {
      for (const rule of come) yield* this.#came(rule);
    } else yield* this.#manyCame(come);
  }

  *#came(rule: Rule): IterableIterator<void> {
    for (const looked of [...this.#byMatch.meeting(rule.match)]) {
      if (leastOf(looked) > rule.priority) continue;
      tell(looked, this.#touches(rule.match, looked));
      yield;
    }
  }

  /** A flow cannot meet a rule that differs from it in a bit that both care for. */
  #touches({ shape, values }: PackedMatch, looked: Looked): Touches {
    const { words } = shape;
    const bits = shape.bits.map((some, i) =>
      some & ~becameMask(looked, words[i] as number)
    );
    return (flowBits) => {
      const { flow, seen } = this.#reader.readWords(flowBits, shape);
      for (let i = 0; i < words.length; i++) {
        const word = words[i] as number;
        const cared = (bits[i] as number) & (seen[word] as number);
        if (((values[i] as number) ^ (flow[word] as number)) & cared) return false;
      }
      return true;
    };
  }

  *#manyCame(come: readonly Rule[]): IterableIterator<void> {
    const index = new MeetIndex<Rule>();
    for (const rule of come) {
      index.add(rule);
      yield;
    }
    for (const looked of [...this.#looked.values()].flat()) {
      const least = leastOf(looked);
      const meets = (match: PackedMatch): boolean => {
        for (const rule of index.meeting(match)) if (rule.priority >= least) return true;
        return false;
      };
      if (meets(looked.match)) {
        tell(looked, (flowBits) => {
          const { flow, seen } = this.#reader.read(flowBits);
          return meets(matchOf(looked, flow, seen));
        });
      }
      yield;
    }
  }

  /**
   * The rule that a packet fits, with the bits that told so, on which a run that is under way
   * depends. What is returned may be overwritten by the next lookup.
   */
  look(flow: FlowWords, packet: Looking): Answer {
    const { version } = this.#clock;
    const tracker = currentTracker();
    if (tracker === undefined) {
      return answerOf(this.#classifier.find(flow, seen, version), seen);
    }
    const key = packet.becameKey();
    const known = this.#answers.find(flow, key, this.#isValid);
    if (known !== undefined) {
      tracker.depend(known.looked.id);
      return known;
    }
    const rule = this.#classifier.find(flow, seen, version);
    const answer = answerOf(rule, seen);
    const looked = this.#lookedOf(rule, key, packet);
    tracker.depend(looked.id);
    const { soft, walked } = this.#classifier;
    if (soft.length === 0) {
      this.#answers.put(answer, flow, walked, { version, became: key, looked });
    }
    return answer;
  }

  /** Whether what was found in a version, when so many rules had been deleted, still is found. */
  holds(version: number, deletions: number): boolean {
    return this.#isValid(version) && this.#deletedAt <= deletions;
  }

  /** The lookups that packets like this go through from here; a run depends on them then. */
  pass(flow: FlowWords, packet: Looking): Passage | undefined {
    const tracker = currentTracker();
    if (tracker === undefined) return undefined;
    const found = this.#passages.find(flow, packet.becameKey());
    if (found !== undefined) tracker.depend(found.id);
    return found;
  }

  /**
   * Notes lookups that a packet went through from here, all of which were known before. Answers
   * those behind the ones that this table keeps together.
   */
  passed(steps: readonly Step[]): readonly Step[] {
    return this.#passages.put(steps);
  }

  #lookedOf(rule: Rule | undefined, key: BecameKey, packet: Looking): Looked {
    const hash = hashOf(rule, key);
    const same = this.#looked.get(hash);
    const { soft } = this.#classifier;
    for (let i = 0; same !== undefined && i < same.length; i++) {
      const one = same[i] as Looked;
      if (isLooked(one, rule, key, soft)) return one;
    }
    const made = makeLooked(rule, packet.became(), key, hash, soft);
    made.id = makeDependency(this, made);
    if (same === undefined) this.#looked.set(hash, [made]);
    else same.push(made);
    this.#byMatch.add(made);
    for (const { serial } of restedOn(made)) {
      const some = this.#byRule.get(serial);
      if (some === undefined) this.#byRule.set(serial, new Set([made]));
      else some.add(made);
    }
    return made;
  }

  /** @ignore */
  forget(_id: number, key: unknown): void {
    const looked = key as Looked;
    looked.id = 0;
    const same = this.#looked.get(looked.hash) ?? [];
    if (same.length === 1) this.#looked.delete(looked.hash);
    else same.splice(same.indexOf(looked), 1);
    this.#byMatch.delete(looked);
    for (const { serial } of restedOn(looked)) {
      const some = this.#byRule.get(serial);
      some?.delete(looked);
      if (some?.size === 0) this.#byRule.delete(serial);
    }
  }

  /** @ignore */
  describe(key: unknown): string {
    const { rule } = key as Looked;
    if (rule === undefined) return `table ${this.id}: no flow fits`;
    const match = formatMatch(rule.match, rule.priority);
    const cookie = `cookie=0x${rule.cookie.toString(16)}`;
    return `table ${this.id}: ${cookie}${match === "" ? "" : `, ${match}`}`;
  }
}
