// SPDX-License-Identifier: Apache-2.0
/**
 * What the bare function says of a packet, as text that is equal for equal verdicts; and how the
 * oracle describes a difference.
 *
 * @module
 */
import { formatKey } from "../../providers/odp/text/text.ts";
import type { FlowKey } from "../../providers/types.ts";
import type { Action } from "../../providers/types_action.ts";
import { type Decision, decisionOf, type Policy } from "../decision.ts";
import type { PortsView } from "../state/state.ts";
import { areAlike, frozenCopy, isForever, safeText } from "../copy.ts";
import { plainPacket } from "../packet/plain.ts";
import { type Carry, isStageAction, type Stage, textOf } from "../stage.ts";
import type { Effect } from "../packet/effect.ts";

/** The time of every run, ms since 1970. */
export const NOW = 1_700_000_000_000;

/** A flow that covers a packet with another verdict. */
export class PolicyUnsound extends Error {
  /** Always `PolicyUnsound`. */
  override readonly name = "PolicyUnsound";
  /** The packet whose flow it is, in text of ovs-dpctl(8). */
  readonly packet: string;
  /** The packet that hits the flow and must not. */
  readonly other: string;
  /** The flow. */
  readonly flow: string;

  /** Says what is wrong. `why` is the kind of fault, in words. */
  constructor(
    why: string,
    facts: {
      readonly x: Uint8Array;
      readonly y: Uint8Array;
      readonly mask: Uint8Array;
      readonly said: string;
      readonly saidOther: string;
      readonly read?: string | undefined;
    },
  ) {
    const packet = formatKey({ key: facts.x });
    const other = formatKey({ key: facts.y });
    const flow = formatKey({ key: facts.x, mask: facts.mask });
    super([
      why,
      `packet:   ${packet}`,
      `verdict:  ${facts.said}`,
      `flow:     ${flow}`,
      `other:    ${other}`,
      `verdict:  ${facts.saidOther}`,
      ...facts.read === undefined ? [] : [`differs:  ${facts.read}`],
    ].join("\n"));
    this.packet = packet;
    this.other = other;
    this.flow = flow;
  }
}

/** A function of a packet: a policy, or a stage with what was carried. */
export interface Part {
  readonly decide: Policy;
  /** The ports there are. */
  readonly ports: PortsView;
  readonly at?: { readonly stage: Stage<never>; readonly carry: Carry };
}

/** What came of a bare run. */
export interface Outcome {
  /** The verdict, which nothing changes any more; undefined if the policy threw. */
  readonly decision: Decision | undefined;
  readonly deadline: number;
  readonly said: string;
  /** Whether the policy threw. */
  readonly threw: boolean;
  readonly effects: readonly Effect[];
  readonly stages: readonly { readonly stage: Stage<never>; readonly carry: Carry }[];
}

/** Runs the bare function on a key; `read` gets the names of fields that it asked for. */
export function outcome(part: Part, key: FlowKey, read?: Set<string>): Outcome {
  const packet = plainPacket(key, NOW, read);
  try {
    const decision = frozenCopy(decisionOf(part.decide(packet, part.ports)));
    const { deadline } = packet;
    const effects = packet.effects.map(asTaught);
    return {
      ...{ decision, deadline, effects, threw: false },
      said: say(decision, effects, deadline),
      stages: decision.actions.filter(isStageAction),
    };
  } catch (error) {
    const nothing = { decision: undefined, deadline: Infinity, effects: [], stages: [] };
    return { ...nothing, said: `throws ${safeText(error)}`, threw: true };
  }
}

/** An effect as it is now: programs may teach an object that they change afterwards. */
function asTaught(effect: Effect): Effect {
  if (effect.kind !== "learn") return effect;
  return { ...effect, key: frozenCopy(effect.key), value: frozenCopy(effect.value) };
}

/** Whether the bare function says of another packet what it said of one. */
export function saysTheSame(
  part: Part,
  key: FlowKey,
  said: string,
  of?: Outcome,
): boolean {
  const packet = plainPacket(key, NOW);
  let decision: Decision;
  try {
    decision = decisionOf(part.decide(packet, part.ports));
  } catch (error) {
    return said === `throws ${safeText(error)}`;
  }
  const { effects, deadline } = packet;
  // Mostly equal, which is found out without writing it down.
  const isEqual = of !== undefined && decision.edit === undefined &&
    deadline === of.deadline && areAlike(decision, of.decision) &&
    areAlike(effects, of.effects);
  return isEqual || say(decision, effects, deadline) === said;
}

const actionTexts = new WeakMap<readonly Action[], string>();

function textOfActions(actions: readonly Action[]): string {
  const known = actionTexts.get(actions);
  if (known !== undefined) return known;
  const plain = actions.map((action) =>
    isStageAction(action) ? { to: action.stage.name, carry: action.carry } : action
  );
  const text = textOf(plain as never);
  if (isForever(actions)) actionTexts.set(actions, text);
  return text;
}

/** Text of what a policy teaches: of lists and plain objects what is in them. */
function textOfAny(value: unknown): string {
  return typeof value === "object" && value !== null
    ? textOf(value as Carry)
    : String(value);
}

/** A verdict, credits and effects as text: equal for equal ones. */
export function say(
  decision: Decision,
  effects: readonly Effect[],
  deadline: number,
): string {
  const { actions, edit, ...more } = decision;
  const noted = effects.map((effect) =>
    effect.kind === "credit"
      ? `credit ${effect.counter.name}`
      : `learn ${effect.table.name}[${textOfAny(effect.key)}]=${textOfAny(effect.value)}`
  );
  const parts = [textOfActions(actions), textOf(more as Carry), ...noted];
  if (edit !== undefined) parts.push("edit");
  if (deadline !== Infinity) parts.push(`until ${deadline}`);
  return parts.join(" ");
}
