// SPDX-License-Identifier: Apache-2.0
/**
 * Stages: the rest of a policy behind a recirculation.
 *
 * A stage sees the packet as it is after the actions, and what the first part carried over. Equal
 * (stage, carry) is one recirculation id: carry what has few values, for each costs an id and flows
 * of its own.
 *
 * @module
 */
import { clockMs } from "./clock.ts";
import { frozenCopy, isPlain } from "./copy.ts";
import type { RecircId } from "../providers/ids.ts";
import { ct as ctAction, type CtOptions } from "../providers/odp/constructors.ts";
import type { Action, RecircAction } from "../providers/types_action.ts";
import type { Verdict } from "./decision.ts";
import type { PortsView } from "./state/state.ts";
import type { Packet } from "./packet/packet.ts";

/** Small plain data that goes with a packet into a stage. */
export type Carry =
  | undefined
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly Carry[]
  | { readonly [name: string]: Carry };

/** The rest of a policy. */
export interface Stage<C extends Carry = Carry> {
  /** Its name, unique in its policy. */
  readonly name: string;
  /** Decides on packets that come to it. */
  readonly then: (packet: Packet, carry: C, ports: PortsView) => Verdict;
}

/** A recirculation into a stage; the runtime gives it its id. */
export interface StageAction extends RecircAction {
  /** Where it goes. */
  readonly stage: Stage<never>;
  /** What goes with it. */
  readonly carry: Carry;
}

/** Declares a stage. */
export function stage<C extends Carry>(
  name: string,
  then: (packet: Packet, carry: C, ports: PortsView) => Verdict,
): Stage<C> {
  if (name === "") throw new TypeError("a stage needs a name");
  return Object.freeze({ name, then });
}

/**
 * Sends the packet through the connection tracker and on into a stage, which then reads `ctState`
 * and its kin.
 */
export function track<C extends Carry>(
  ct: CtOptions,
  next: Stage<C>,
  ...carry: undefined extends C ? [carry?: C] : [carry: C]
): readonly Action[] {
  // The same list each time: its bytes are made once.
  let known = lists.get(next);
  if (known === undefined) lists.set(next, known = new Map());
  const text = `${textOf(ct as unknown as Carry)} ${textOfCarried(carry[0])}`;
  let list = known.get(text);
  if (list === undefined) {
    list = frozenCopy([ctAction({ ...frozenCopy(ct) }), goTo(next, carry[0] as C)]);
    if (known.size < MANY) known.set(text, list);
  }
  return list;
}

/** Lists that `track` made. */
const lists = new WeakMap<object, Map<string, readonly Action[]>>();

/**
 * Runs actions, and looks the packet up again in a stage: after `popMpls`, `hash`, a decapsulation.
 */
export function again<C extends Carry>(
  actions: readonly Action[],
  next: Stage<C>,
  ...carry: undefined extends C ? [carry?: C] : [carry: C]
): Action[] {
  return [...actions, goTo(next, carry[0] as C)];
}

function goTo<C extends Carry>(next: Stage<C>, carry: C): StageAction {
  return { type: "recirc", id: 0, stage: next as unknown as Stage<never>, carry };
}

/** Whether an action goes into a stage. */
export function isStageAction(action: Action): action is StageAction {
  return action.type === "recirc" && "stage" in action;
}

/** Where packets with a recirculation id go on. */
export interface Continuation {
  /** The id. */
  readonly id: RecircId;
  /** Its stage and what was carried, as text. */
  readonly key: string;
  /** The stage; another one of its name when the policy is replaced. */
  stage: Stage<never>;
  /** What was carried. */
  readonly carry: Carry;
  /** Verdicts that name it. */
  users: number;
  /** When nobody named it any more, ms since 1970; undefined while somebody does. */
  unusedMs: number | undefined;
}

/** Ids stay unused for so long before another stage may have them: packets may be on their way. */
const GRACE_MS = 60_000;
/** More ids of one stage than this are a sign that something with many values is carried. */
const MANY = 10_000;
/** Unused ones that are kept at most, and characters of what they carry: the oldest go first. */
const MAX_UNUSED = 32_768;
const MAX_UNUSED_TEXT = 1 << 25;

/** Ids at most, and characters of what they carry: packets may choose what that is. */
const MOST = 1 << 16;
const MOST_TEXT = 1 << 26;

/** Gives stages their recirculation ids, equal ones the same. */
export class Continuations {
  readonly #byKey = new Map<string, Continuation>();
  readonly #byId = new Map<RecircId, Continuation>();
  /** Those that nobody names, from the one that is so for longest, and the text of their keys. */
  readonly #unused = new Set<Continuation>();
  #unusedText = 0;
  /** Stages by name. Undefined: one of a policy that was replaced, until one takes its place. */
  readonly #names = new Map<string, { stage: Stage<never> | undefined; ids: number }>();
  #others: Map<string, Stage<never>> | undefined;
  /** What was made while another policy is looked at. */
  #ofOthers: Continuation[] = [];
  readonly #onMany: (stage: string, ids: number) => void;
  #next: number;
  /** Characters of all keys. */
  #text = 0;

  /** Ids count from `first`. `onMany` is told once of each stage that has 10,000 of them. */
  constructor(first = 1, onMany: (stage: string, ids: number) => void = () => {}) {
    this.#next = first;
    this.#onMany = onMany;
  }

  /**
   * The continuation of a stage with what it carries. Throws `TypeError` if another stage has its
   * name, and `RangeError` for a new one where there are 65,536, or they carry too much: until some
   * were not used for a minute.
   */
  of(stage: Stage<never>, carry: Carry): Continuation {
    let named = this.#names.get(stage.name);
    const expected = this.#others === undefined
      ? named?.stage
      : this.#others.get(stage.name);
    if ((expected ?? stage) !== stage) {
      throw new TypeError(`two stages have the name "${stage.name}"`);
    }
    if (this.#others !== undefined) this.#others.set(stage.name, stage);
    else if (named !== undefined) named.stage = stage;
    const key = `${stage.name}\n${textOfCarried(carry)}`;
    let known = this.#byKey.get(key);
    if (known === undefined) {
      if (this.#byId.size >= MOST || this.#text + key.length > MOST_TEXT) {
        throw new RangeError(
          `no id for stage "${stage.name}": ${this.#byId.size} carry ${this.#text} characters`,
        );
      }
      this.#text += key.length;
      const id = this.#next++;
      known = {
        id,
        key,
        stage,
        carry: frozenCopy(carry),
        users: 0,
        unusedMs: clockMs(),
      };
      this.#byKey.set(key, known);
      this.#byId.set(id, known);
      if (this.#others !== undefined) this.#ofOthers.push(known);
      if (named === undefined) this.#names.set(stage.name, named = { stage, ids: 0 });
      if (++named.ids === MANY) this.#onMany(stage.name, MANY);
      this.#letGo(known, clockMs());
    } else if (known.users === 0) this.#renew(known);
    return known;
  }

  /** Has one be the last to go of those that nobody names. */
  #letGo(known: Continuation, nowMs: number): void {
    known.unusedMs = nowMs;
    this.#unused.add(known);
    this.#unusedText += known.key.length;
    for (const oldest of this.#unused) {
      const isMany = this.#unused.size > MAX_UNUSED || this.#unusedText > MAX_UNUSED_TEXT;
      if (!isMany || oldest === known) break;
      this.#forget(oldest);
    }
  }

  /** Has one be named again, or on its way to it. */
  #take(known: Continuation): void {
    if (this.#unused.delete(known)) this.#unusedText -= known.key.length;
  }

  #forget(known: Continuation): void {
    this.#take(known);
    if (this.#byKey.get(known.key) === known) this.#byKey.delete(known.key);
    this.#text -= known.key.length;
    this.#byId.delete(known.id);
    const named = this.#names.get(known.stage.name);
    if (named !== undefined && --named.ids <= 0) this.#names.delete(known.stage.name);
  }

  /** The continuation that has an id. */
  get(id: RecircId): Continuation | undefined {
    return this.#byId.get(id);
  }

  /** Says that packets are on their way to it; false if there is no such id any more. */
  touch(id: RecircId): boolean {
    const known = this.#byId.get(id);
    if (known === undefined) return false;
    if (known.users === 0) this.#renew(known);
    return true;
  }

  #renew(known: Continuation): void {
    this.#take(known);
    this.#letGo(known, clockMs());
  }

  /** Says that a verdict names it. */
  hold(id: RecircId): void {
    const known = this.#byId.get(id);
    if (known === undefined) return;
    known.users++;
    known.unusedMs = undefined;
    this.#take(known);
  }

  /** Says that a verdict names it no longer. */
  release(id: RecircId, nowMs: number): void {
    const known = this.#byId.get(id);
    if (known === undefined) return;
    if (--known.users === 0) this.#letGo(known, nowMs);
  }

  /** Forgets ids that nobody named for a minute; where there are many, the oldest go before. */
  sweep(nowMs: number): void {
    for (const known of this.#unused) {
      if (nowMs - (known.unusedMs ?? nowMs) >= GRACE_MS) this.#forget(known);
    }
  }

  /**
   * Another policy is looked at: stages of the same name may be other ones from now on, until
   * `endOther`.
   */
  beginOther(): void {
    this.#others = new Map();
  }

  /**
   * A continuation as the policy that is looked at has it; undefined if it has no stage of the
   * name.
   */
  inOther(known: Continuation): Continuation | undefined {
    const stage = this.#others?.get(known.stage.name);
    return stage && { ...known, stage };
  }

  /**
   * The other policy is taken, or not. If it is, ids lead to its stages. A stage that it has not
   * named yet gets ids of its own when it does: packets and flows that are on the old ones go on as
   * they began. If it is not taken, its ids are forgotten: they would lead the policy that stays
   * into stages of the other.
   */
  endOther(isTaken: boolean): void {
    const others = this.#others;
    const made = this.#ofOthers;
    this.#others = undefined;
    this.#ofOthers = [];
    if (others === undefined) return;
    if (!isTaken) {
      for (const known of made) if (this.#byId.has(known.id)) this.#forget(known);
      return;
    }
    for (const [name, named] of this.#names) named.stage = others.get(name);
    for (const known of this.#byId.values()) {
      const stage = others.get(known.stage.name);
      if (stage !== undefined) known.stage = stage;
      else if (this.#byKey.get(known.key) === known) this.#byKey.delete(known.key);
    }
  }

  /** Continuations there are. */
  get size(): number {
    return this.#byId.size;
  }
}

/** Text that is equal for equal data; of objects that are no data what is listed of them. */
export function textOf(carry: Carry): string {
  return written(carry, false);
}

/** The same of what a stage carries. Throws `TypeError` for what is no plain data. */
function textOfCarried(carry: Carry): string {
  return written(carry, true);
}

function written(carry: Carry, isStrict: boolean): string {
  if (typeof carry === "bigint") return `${carry}n`;
  if (typeof carry === "string") return JSON.stringify(carry);
  if (carry === null || typeof carry !== "object") {
    const isData = typeof carry !== "function" && typeof carry !== "symbol";
    if (isStrict && !isData) {
      throw new TypeError(`a stage cannot carry a ${typeof carry}`);
    }
    return Object.is(carry, -0) ? "-0" : String(carry);
  }
  if (Array.isArray(carry)) {
    return `[${carry.map((one) => written(one, isStrict)).join()}]`;
  }
  // Other objects may be more than what is listed of them, and two would pass for one.
  if (isStrict && !isPlain(carry)) {
    throw new TypeError(`a stage cannot carry a ${carry.constructor?.name}`);
  }
  const pairs = Object.entries(carry).sort(([a], [b]) => a < b ? -1 : 1);
  return `{${
    pairs.map(([name, value]) => `${JSON.stringify(name)}:${written(value, isStrict)}`)
      .join()
  }}`;
}
