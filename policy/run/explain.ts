// SPDX-License-Identifier: Apache-2.0
/**
 * Why a packet gets its verdict, stage by stage.
 *
 * @module
 */
import { clockMs } from "../clock.ts";
import { applySet } from "../../providers/odp/apply.ts";
import { decodeKey, encodeKey } from "../../providers/odp/key.ts";
import { formatActions, formatKey } from "../../providers/odp/text/text.ts";
import type { FlowKey } from "../../providers/types.ts";
import type { Action } from "../../providers/types_action.ts";
import { safeText } from "../copy.ts";
import type { Core } from "./core.ts";
import { decisionOf } from "../decision.ts";
import { describeDependency } from "../state/dependency.ts";
import { completed } from "../packet/layout.ts";
import { valueIn } from "../packet/plain.ts";
import type { Effect } from "../packet/effect.ts";

/** What a run read, with its value. */
export interface ExplainedRead {
  /** The leaf or field. */
  readonly leaf: string;
  /** How it was read. */
  readonly how: string;
  /** Its value in this packet. */
  readonly value: string;
  /** Where in the program. */
  readonly at: string | undefined;
}

/** One part of the way of a packet: the policy, or a stage. */
export interface ExplainedStep {
  /** Name of the stage; undefined for the policy itself. */
  readonly stage: string | undefined;
  /** What was carried into it. */
  readonly carry: unknown;
  /** The packet, in text of ovs-dpctl(8). */
  readonly packet: string;
  /** What was read of it. */
  readonly reads: readonly ExplainedRead[];
  /** What state the verdict rests on. */
  readonly dependencies: readonly string[];
  /** What packets like this teach and credit. */
  readonly effects: readonly string[];
  /** The verdict, in text of ovs-dpctl(8). */
  readonly actions: string;
  /** Why it drops, if the policy says. */
  readonly reason: string | undefined;
  /** The flow: the bits that matter. */
  readonly flow: string;
  /** Why there is no flow. */
  readonly uncacheable: string | undefined;
  /** Prefixes are rounded up to multiples of so many bits, because there are many masks. */
  readonly coarse: number;
  /** What was assumed, where only the datapath can know. */
  readonly assumed: string | undefined;
  /** The error that the policy threw. */
  readonly error: string | undefined;
}

/** Why a packet gets its verdict. */
export class Explanation {
  /** The parts of its way. */
  readonly steps: readonly ExplainedStep[];

  /** Made by `explain`. */
  constructor(steps: readonly ExplainedStep[]) {
    this.steps = steps;
  }

  /** A page for people. */
  toString(): string {
    return this.steps.map((step) => {
      const name = step.stage === undefined
        ? "policy"
        : `stage ${step.stage}(${JSON.stringify(step.carry) ?? ""})`;
      const lines = [name, `  packet   ${step.packet}`];
      if (step.assumed !== undefined) lines.push(`  assumed  ${step.assumed}`);
      for (const { leaf, how, value, at } of step.reads) {
        lines.push(
          `  read     ${leaf} ${how}: ${value}${at === undefined ? "" : `  ${at}`}`,
        );
      }
      for (const dependency of step.dependencies) lines.push(`  state    ${dependency}`);
      for (const effect of step.effects) lines.push(`  effect   ${effect}`);
      if (step.error !== undefined) {
        return [...lines, `  threw    ${step.error}`].join("\n");
      }
      const reason = step.reason === undefined ? "" : ` (${step.reason})`;
      lines.push(`  verdict  ${step.actions || "drop"}${reason}`);
      lines.push(
        step.uncacheable === undefined
          ? `  flow     ${step.flow}`
          : `  no flow  ${step.uncacheable}`,
      );
      if (step.coarse > 1) {
        lines.push(`  coarse   prefixes of ${step.coarse} bits: there are many masks`);
      }
      return lines.join("\n");
    }).join("\n");
  }
}

const MAX_STEPS = 16;

/** Explains a key. Nothing is changed, learned or counted. */
export function explainKey(core: Core, key: Uint8Array): Explanation {
  const steps: ExplainedStep[] = [];
  const queue: { key: Uint8Array; assumed: string | undefined }[] = [
    { key: completed(key), assumed: undefined },
  ];
  for (let next = queue.shift(); next && steps.length < MAX_STEPS; next = queue.shift()) {
    const { step, list } = explainOne(core, next.key, next.assumed);
    steps.push(step);
    queue.push(...continuationsOf(decodeKey(next.key), list));
  }
  return new Explanation(steps);
}

function explainOne(
  core: Core,
  key: Uint8Array,
  assumed: string | undefined,
): { step: ExplainedStep; list: readonly Action[] } {
  const { runner, ledger, settings } = core;
  const { tracker } = runner;
  const at = core.stageOf(key) ?? undefined;
  const { chooser } = ledger;
  let coarse = 1;
  const packet = formatKey({ key });
  const fields = decodeKey(key);
  tracker.reads = [];
  const common = () => ({
    stage: at?.stage.name,
    carry: at?.carry,
    packet,
    reads: (tracker.reads ?? []).map((read): ExplainedRead => ({
      ...read,
      value: textOfValue(valueIn(fields, read.leaf)),
    })),
    dependencies: tracker.dependencies.flatMap(describeDependency),
    effects: tracker.effects.map(textOfEffect),
    coarse,
    assumed,
  });
  try {
    const nowMs = clockMs();
    const ran = runner.run(core.policy, key, nowMs, at);
    const { mask, step } = chooser.choose(settings.maxMasks, tracker);
    coarse = step;
    const { reason } = decisionOf(ran.decision);
    return {
      list: ran.actions.list,
      step: {
        ...common(),
        actions: formatActions(ran.actions.bytes),
        reason,
        flow: formatKey({ key: runner.key, mask: mask.bytes }),
        uncacheable: ran.uncacheable,
        error: undefined,
      },
    };
  } catch (error) {
    return {
      list: [],
      step: {
        ...common(),
        actions: "",
        reason: undefined,
        flow: "",
        uncacheable: undefined,
        error: safeText(error),
      },
    };
  } finally {
    tracker.reads = undefined;
    tracker.dropDependencies();
  }
}

function textOfValue(value: unknown): string {
  if (value === undefined) return "absent";
  return typeof value === "object"
    ? JSON.stringify(value, (_, one) => typeof one === "bigint" ? `${one}` : one)
    : String(value);
}

/** What an effect does, in words. */
export function textOfEffect(effect: Effect): string {
  return effect.kind === "credit"
    ? `credits ${effect.counter.name}`
    : `teaches ${effect.table.name}[${String(effect.key)}] = ${String(effect.value)}`;
}

/** The packets that a list of actions sends into stages, as far as can be known. */
function continuationsOf(
  key: FlowKey,
  actions: readonly Action[],
): { key: Uint8Array; assumed: string | undefined }[] {
  let now = key;
  let assumed: string | undefined;
  const found: { key: Uint8Array; assumed: string | undefined }[] = [];
  for (const action of actions) {
    switch (action.type) {
      case "set":
        now = applySet(now, action);
        break;
      case "pushVlan": {
        const { type: _, ...tag } = action;
        now = { ...now, vlans: [tag, ...now.vlans ?? []] } as FlowKey;
        break;
      }
      case "popVlan": {
        const { vlans = [], ...rest } = now;
        now = (vlans.length > 1 ? { ...rest, vlans: vlans.slice(1) } : rest) as FlowKey;
        break;
      }
      case "ct":
        assumed = "the connection is new: ct_state(+new+trk)";
        now = { ...now, ctState: 0x21, ctZone: action.zone ?? 0 } as FlowKey;
        break;
      case "hash":
        assumed = "dp_hash is what only the datapath knows";
        break;
      case "recirc":
        found.push({
          key: completed(encodeKey({ ...now, recircId: action.id })),
          assumed,
        });
        return found;
      case "clone":
      case "sample":
        found.push(...continuationsOf(now, action.actions));
        break;
      default:
    }
  }
  return found;
}
