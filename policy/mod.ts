// SPDX-License-Identifier: Apache-2.0
/**
 * Policies: a switch as a function from packets to actions, whose flows follow from what it read.
 *
 * ```ts
 * import { decide, drop, forward, type Packet } from "./mod.ts";
 *
 * const policy = (packet: Packet) =>
 *   packet.equals("tcp.dst", 80) ? forward(2) : drop("only the web");
 * const { actions, mask } = decide(
 *   policy,
 *   "in_port(1),eth(),eth_type(0x0800),ipv4(proto=6),tcp(dst=443)",
 * );
 * ```
 *
 * A policy reads its packet and tracked state (`Cell`, `StateMap`, `PrefixMap`, `RuleTable`,
 * `PortsView`), and returns. The runtime derives the widest mask for which the verdict is the same
 * whatever the other bits are, and keeps flows true when state changes. {@linkcode decide} and
 * {@linkcode checkPolicy} need no datapath.
 *
 * @module
 */
export type { Hints } from "./check/arbitrary.ts";
export type { Random } from "./check/random.ts";
export { checkPolicy } from "./check/check.ts";
export type { CheckOptions, CheckReport } from "./check/check.ts";
export { decide, type Decided, type DecideOptions } from "./decide.ts";
export {
  type Decision,
  drop,
  type Edit,
  flood,
  forward,
  limit,
  mirrorTo,
  type Policy,
  slowly,
  toProgram,
  type ToProgramOptions,
  type Verdict,
} from "./decision.ts";
export { PolicyError, type PolicyErrorCode } from "./run/errors.ts";
export type { Counters, GoneReason, HandedPacket, PutFlow } from "./run/core.ts";
export type { FlowChange, FlowDiff } from "./run/diff.ts";
export { type ExplainedRead, type ExplainedStep, Explanation } from "./run/explain.ts";
export type { Leaf, PairPart, PlainField, TuplePart, Value } from "./packet/leaf.ts";
export type { Packet, PacketFields, TunnelView } from "./packet/packet.ts";
export { PolicyUnsound } from "./check/outcome.ts";
export { PolicyRun, policyRunOf, portsOf, runPolicy } from "./run/policy_run.ts";
export type { PolicyOptions } from "./run/settings.ts";
export type { PolicyFlow, PolicyStats } from "./run/policy_flow.ts";
export { PrefixMap } from "./state/prefix_map.ts";
export { type RecordedEvent, Recorder, type RecorderOptions } from "./run/recorder.ts";
export {
  replay,
  type ReplayDifference,
  type ReplayedState,
  type ReplayReport,
} from "./run/replay.ts";
export { type Rule, type RuleChanges, RuleTable } from "./state/rule_table.ts";
export type { Match, Wanted } from "./state/subtable.ts";
export {
  again,
  type Carry,
  type Stage,
  stage,
  type StageAction,
  track,
} from "./stage.ts";
export type { Owner } from "./state/dependency.ts";
export { type Keepable, keepState } from "./state/keep.ts";
export { Cell, Counter, PortsView } from "./state/state.ts";
export type { StateEvent } from "./state/state_event.ts";
export { StateMap, type StateMapOptions } from "./state/state_map.ts";
export type { Credited, Effect, Learner, Taught } from "./packet/effect.ts";
export type { Read } from "./packet/call_site.ts";
