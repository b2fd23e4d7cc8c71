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
import { frozenCopy } from "./copy.ts";
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
  const text = `${textOf(ct as unknown as Carry)} ${textOf(carry[0])}`;
  let list = known.get(text);
  if (list === undefined) {
    const kept = frozenCopy(carry[0] as C);
    list = Object.freeze([ctAction({ ...frozenCopy(ct) }), goTo(next, kept)]);
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

/** Gives stages their recirculation ids, equal ones the same. */
export class Continuations {
  readonly #byKey = new Map<string, Continuation>();
  readonly #byId = new Map<RecircId, Continuation>();
  readonly #names = new Map<string, { stage: Stage<never>; ids: number }>();
  #others: Map<string, Stage<never>> | undefined;
  readonly #onMany: (stage: string, ids: number) => void;
  #next: number;

  /** Ids count from `first`. `onMany` is told once of each stage that has 10,000 of them. */
  constructor(first = 1, onMany: (stage: string, ids: number) => void = () => {}) {
    this.#next = first;
    this.#onMany = onMany;
  }

  /**
   * The continuation of a stage with what it carries. Throws `TypeError` if another stage has its
   * name.
   */
  of(stage: Stage<never>, carry: Carry): Continuation {
    let named = this.#names.get(stage.name);
    if (named === undefined) this.#names.set(stage.name, named = { stage, ids: 0 });
    const expected = this.#others === undefined
      ? named.stage
      : this.#others.get(stage.name) ?? stage;
    if (expected !== stage) {
      throw new TypeError(`two stages have the name "${stage.name}"`);
    }
    this.#others?.set(stage.name, stage);
    const key = `${stage.name}\n${textOf(carry)}`;
    let known = this.#byKey.get(key);
    if (known === undefined) {
      const id = this.#next++;
      known = {
        id,
        key,
        stage,
        carry: frozenCopy(carry),
        users: 0,
        unusedMs: Date.now(),
      };
      this.#byKey.set(key, known);
      this.#byId.set(id, known);
      if (++named.ids === MANY) this.#onMany(stage.name, MANY);
    } else if (known.users === 0) known.unusedMs = Date.now();
    return known;
  }

  /** The continuation that has an id. */
  get(id: RecircId): Continuation | undefined {
    return this.#byId.get(id);
  }

  /** Says that a verdict names it. */
  hold(id: RecircId): void {
    const known = this.#byId.get(id);
    if (known === undefined) return;
    known.users++;
    known.unusedMs = undefined;
  }

  /** Says that a verdict names it no longer. */
  release(id: RecircId, nowMs: number): void {
    const known = this.#byId.get(id);
    if (known === undefined) return;
    if (--known.users === 0) known.unusedMs = nowMs;
  }

  /** Forgets ids that nobody named for a minute. */
  sweep(nowMs: number): void {
    for (const known of this.#byId.values()) {
      if (known.users > 0 || nowMs - (known.unusedMs ?? nowMs) < GRACE_MS) continue;
      this.#byKey.delete(known.key);
      this.#byId.delete(known.id);
      const named = this.#names.get(known.stage.name);
      if (named !== undefined && --named.ids <= 0) this.#names.delete(known.stage.name);
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

  /** The other policy is taken, or not: if it is, ids lead to its stages. */
  endOther(isTaken: boolean): void {
    const others = this.#others;
    this.#others = undefined;
    if (!isTaken || others === undefined) return;
    for (const known of this.#byId.values()) {
      known.stage = others.get(known.stage.name) ?? known.stage;
    }
    for (const [name, stage] of others) {
      const named = this.#names.get(name);
      if (named !== undefined) named.stage = stage;
    }
  }

  /** Continuations there are. */
  get size(): number {
    return this.#byId.size;
  }
}

/** Text that is equal for equal data. */
export function textOf(carry: Carry): string {
  if (typeof carry === "bigint") return `${carry}n`;
  if (typeof carry === "string") return JSON.stringify(carry);
  if (carry === null || typeof carry !== "object") {
    return Object.is(carry, -0) ? "-0" : String(carry);
  }
  if (Array.isArray(carry)) return `[${carry.map(textOf).join()}]`;
  const pairs = Object.entries(carry).sort(([a], [b]) => a < b ? -1 : 1);
  return `{${
    pairs.map(([name, value]) => `${JSON.stringify(name)}:${textOf(value)}`).join()
  }}`;
}
