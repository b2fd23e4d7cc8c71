// SPDX-License-Identifier: Apache-2.0
/**
 * Runs a policy on a key, and says what came of it.
 *
 * @module
 */
import {
  type Decision,
  decisionOf,
  handUp,
  type Policy,
  type Verdict,
} from "./decision.ts";
import { withMetadata } from "./packet/layout.ts";
import { placeOf, prefixMask } from "./packet/leaf.ts";
import { type Packet, packetOf } from "./packet/packet.ts";
import type { PortsView } from "./state/state.ts";
import type { Continuation, Continuations } from "./stage.ts";
import { Tracker } from "./packet/tracker.ts";
import { type Actions, ActionTable } from "./verdicts.ts";

/** What came of a run. */
export interface Ran {
  /** The verdict. */
  readonly decision: Decision;
  /** Its actions as flows have them. */
  readonly actions: Actions;
  /** The key: that which was given, with metadata that was read and absent. */
  readonly key: Uint8Array;
  /** Why there is to be no flow; undefined if there may be one. */
  readonly uncacheable: string | undefined;
}

const recircId = placeOf("recircId");
const protocols = [placeOf("ipv4.proto"), placeOf("ipv6.proto")] as const;

/** Runs policies, one packet at a time. What a run read is in its tracker until the next. */
export class Runner {
  /** What the last run read. */
  readonly tracker: Tracker = new Tracker();
  /** Action lists. */
  readonly actions: ActionTable;
  readonly #packet: Packet;
  readonly #ports: PortsView;

  /** `continuations` give stages their ids; `ports` are what policies flood to. */
  constructor(continuations: Continuations, ports: PortsView) {
    this.#ports = ports;
    this.actions = new ActionTable(continuations);
    this.#packet = packetOf(this.tracker);
  }

  /**
   * Runs `policy`, or the stage of `at`, on a key. With `fence` the mask starts from that, and what
   * it has counts as read. Throws what the policy throws; what it read until then is in the
   * tracker.
   */
  run(
    policy: Policy,
    key: Uint8Array,
    nowMs: number,
    options: { readonly at?: Continuation | undefined; readonly fence?: Uint8Array } = {},
  ): Ran {
    const { at, fence } = options;
    const ran = this.#once(policy, key, nowMs, at, fence);
    if (this.tracker.missing.size === 0) return ran;
    // Metadata that is not in the key was read: it is zero, and has to be there to be masked.
    const whole = withMetadata(key, this.tracker.missing);
    this.tracker.dropDependencies();
    return this.#once(policy, whole, nowMs, at, undefined);
  }

  #once(
    policy: Policy,
    key: Uint8Array,
    nowMs: number,
    at: Continuation | undefined,
    fence: Uint8Array | undefined,
  ): Ran {
    const { tracker } = this;
    tracker.begin(key, nowMs, fence);
    try {
      const verdict: Verdict = at === undefined
        ? policy(this.#packet, this.#ports)
        : at.stage.then(this.#packet, at.carry as never, this.#ports);
      const decision = decisionOf(verdict);
      if (decision.edit !== undefined) {
        // What it will read of each packet is not known: all packets come up, whatever they are.
        const actions = this.actions.of(handUp);
        return { decision, actions, key, uncacheable: this.#why(decision) };
      }
      const actions = this.actions.of(decision.actions);
      if (actions.setsNetwork) this.#coverProtocol();
      return { decision, actions, key, uncacheable: this.#why(decision) };
    } finally {
      tracker.end();
    }
  }

  #why(decision: Decision): string | undefined {
    const { tracker } = this;
    if (decision.cache === false) return "policy";
    if (tracker.readClock && tracker.deadline === Infinity) return "clock";
    return tracker.uncacheable;
  }

  /** The recirculation id of a key; 0 if it has none. */
  recircOf(key: Uint8Array): number {
    const at = this.tracker.prepare(key).key[recircId.slot] as number;
    return at === 0 ? 0 : recircId.wire.get(key, at) as number;
  }

  /** Runs `edit` of a decision on a frame, with a packet that it may read. */
  edit(decision: Decision, frame: Uint8Array, key: Uint8Array): Uint8Array | undefined {
    this.tracker.begin(key, Date.now());
    try {
      return decision.edit?.(frame, this.#packet);
    } finally {
      this.tracker.end();
      this.tracker.dropDependencies();
    }
  }

  #coverProtocol(): void {
    const { layout } = this.tracker;
    for (const place of protocols) {
      if (layout.key[place.slot] !== 0) {
        this.tracker.layBits(place, prefixMask(8));
      }
    }
  }

  /** The mask of the last run; a view that the next run overwrites. */
  get mask(): Uint8Array {
    return this.tracker.mask.subarray(0, this.tracker.maskSize);
  }

  /** The packet that policies see; it can be read during a run. */
  get packet(): Packet {
    return this.#packet;
  }
}
