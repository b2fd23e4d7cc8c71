// SPDX-License-Identifier: Apache-2.0
/**
 * Action lists as bytes: made once for each list that policies say, and named by a number.
 *
 * @module
 */
import { frozenCopy, isForever } from "./copy.ts";
import { toActionBytes } from "../providers/odp/input.ts";
import { keyTable } from "../providers/odp/key.ts";
import { StructCodec } from "../providers/codec/codec.ts";
import type { Action, SetAction } from "../providers/types_action.ts";
import { type Decision, decisionOf, handUp, type Verdict } from "./decision.ts";
import type { Continuations } from "./stage.ts";
import { isStageAction } from "./stage.ts";

/** A list of actions as flows have it. */
export interface Actions {
  /** Its number: equal lists have the same one. */
  readonly id: number;
  /** Nested `OVS_ACTION_ATTR_*`. */
  readonly bytes: Uint8Array;
  /** The list, recirculations with their ids. */
  readonly list: readonly Action[];
  /** Recirculation ids in it. */
  readonly stages: readonly number[];
  /**
   * Whether it sets part of an IP header or of what is in one: the protocol is then part of the
   * match.
   */
  readonly setsNetwork: boolean;
}

/** A verdict with its actions as flows have them. */
export interface Said {
  readonly decision: Decision;
  readonly actions: Actions;
}

const networkFields: ReadonlySet<string> = new Set([
  "ipv4",
  "ipv6",
  "tcp",
  "udp",
  "sctp",
  "icmp",
  "icmpv6",
  "nd",
]);

/** Lists of actions by their bytes. */
export class ActionTable {
  readonly #continuations: Continuations;
  readonly #byText = new Map<string, Actions>();
  /** By the list itself, where it cannot change. */
  #byList = new WeakMap<readonly Action[], Said>();
  /** The list that was asked for last: most packets after each other have the same. */
  #last: readonly Action[] | undefined;
  #lastSaid: Said | undefined;
  #next = 1;

  /** `continuations` give stages their ids. */
  constructor(continuations: Continuations) {
    this.#continuations = continuations;
  }

  /** Forgets which lists it saw: stages have other ids from now on. */
  forgetLists(): void {
    this.#byList = new WeakMap();
    this.#last = undefined;
  }

  /** What a policy said. Throws what encoding throws, and `TypeError` for what is no verdict. */
  said(verdict: Verdict): Said {
    if (Array.isArray(verdict)) return this.#saidBy(verdict);
    const given = decisionOf(verdict);
    // As it is now: a program may use its object again for the next packet.
    const decision = Object.isFrozen(given) ? given : { ...given };
    // What an edit will read of each packet is not known: all of them come up, whatever they are.
    const list = decision.edit === undefined ? decision.actions : handUp;
    return { decision, actions: this.#saidBy(list).actions };
  }

  /** The list's record. Throws what encoding throws: a policy that says nonsense. */
  of(list: readonly Action[]): Actions {
    return this.#saidBy(list).actions;
  }

  #saidBy(list: readonly Action[]): Said {
    const known = list === this.#last ? this.#lastSaid : this.#byList.get(list);
    if (known === undefined || !this.#isAlive(known.actions)) return this.#make(list);
    this.#last = list;
    this.#lastSaid = known;
    return known;
  }

  #make(list: readonly Action[]): Said {
    const stages: number[] = [];
    const resolved = list.map((action) => this.#resolve(action, stages));
    const bytes = toActionBytes(resolved);
    const text = textOfBytes(bytes);
    let actions = this.#byText.get(text);
    if (actions === undefined) {
      actions = {
        id: this.#next++,
        bytes: bytes.slice(),
        list: frozenCopy(resolved),
        stages,
        setsNetwork: resolved.some(setsNetwork),
      };
      if (this.#byText.size >= MAX_LISTS) this.#byText.clear();
      this.#byText.set(text, actions);
    }
    const said = { decision: { actions: list }, actions };
    // One that is frozen may have actions in it that are not.
    if (isForever(list)) this.#byList.set(list, said);
    return said;
  }

  /** Whether its ids lead where they did; packets are on their way to them again then. */
  #isAlive({ stages }: Actions): boolean {
    for (const id of stages) {
      if (!this.#continuations.touch(id)) return false;
    }
    return true;
  }

  #resolve(action: Action, stages: number[]): Action {
    const inner = (list: readonly Action[]) =>
      list.map((one) => this.#resolve(one, stages));
    switch (action.type) {
      case "recirc": {
        if (!isStageAction(action)) return action;
        const { id } = this.#continuations.of(action.stage, action.carry);
        stages.push(id);
        return { type: "recirc", id };
      }
      case "set":
        return wholeSet(action);
      case "clone":
      case "sample":
      case "decTtl":
        return { ...action, actions: inner(action.actions) };
      case "checkPktLen":
        return {
          ...action,
          greater: inner(action.greater),
          lessEqual: inner(action.lessEqual),
        };
      default:
        return action;
    }
  }
}

/** Lists that are kept; a policy with more has made one for each packet. */
const MAX_LISTS = 65_536;

function textOfBytes(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += String.fromCharCode(bytes[i] as number);
  return text;
}

/**
 * A set of some fields of a header changes those and no others: datapaths take a set without mask
 * for one of the whole header, and what it does not name would be zero.
 */
function wholeSet(action: SetAction): SetAction {
  if (action.mask !== undefined) return action;
  const [name, value] = Object.entries(action.key)[0] ?? [];
  if (name === undefined || typeof value !== "object") return action;
  const wire =
    (keyTable as unknown as Record<string, { wire: unknown } | undefined>)[name]
      ?.wire;
  if (!(wire instanceof StructCodec)) return action;
  const given = Object.keys(value as object);
  if (wire.fields.every((field) => given.includes(field.name))) return action;
  const mask = { [name]: Object.fromEntries(given.map((field) => [field, true])) };
  return { ...action, mask: mask as NonNullable<SetAction["mask"]> };
}

function setsNetwork(action: Action): boolean {
  switch (action.type) {
    case "set":
      return Object.keys(action.key).some((name) => networkFields.has(name));
    case "clone":
    case "sample":
    case "decTtl":
      return action.actions.some(setsNetwork);
    case "checkPktLen":
      return action.greater.some(setsNetwork) || action.lessEqual.some(setsNetwork);
    default:
      return false;
  }
}

/** Whether two lists do the same. */
export function sameActions(a: Actions, b: Actions): boolean {
  if (a === b) return true;
  const { length } = a.bytes;
  if (length !== b.bytes.length) return false;
  for (let i = 0; i < length; i++) if (a.bytes[i] !== b.bytes[i]) return false;
  return true;
}
