// SPDX-License-Identifier: Apache-2.0
/**
 * Runs a policy on a key, and says what came of it.
 *
 * @module
 */
import { clockMs } from "./clock.ts";
import type { Decision, Policy } from "./decision.ts";
import { type Layout, withMetadata } from "./packet/layout.ts";
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
  /** Why there is to be no flow; undefined if there may be one. */
  readonly uncacheable: string | undefined;
}

/** A frame that a policy changed, and what happens to it. */
export interface Edited {
  readonly packet: Uint8Array;
  readonly actions: Actions;
}

/** A key that is kept among others as words in host order, of a layout that is known. */
export interface StoredKey {
  readonly chunk: { readonly words: Uint32Array };
  /** First of its words. */
  readonly keyAt: number;
  readonly layout: Layout;
}

/** What is masked already: words in host order, and how many bytes they are. */
export interface Fence {
  readonly words: Uint32Array;
  readonly bytes: Uint8Array;
}

const recircId = placeOf("recircId");
const protocols = [placeOf("ipv4.proto"), placeOf("ipv6.proto")] as const;

/** Runs policies, one packet at a time. What a run read is in its tracker until the next. */
export class Runner {
  /** What the last run read. */
  readonly tracker: Tracker = new Tracker();
  /** Action lists. */
  readonly actions: ActionTable;
  /** The key of the last `run`: that which was given, with metadata that was read and absent. */
  key: Uint8Array = new Uint8Array();
  readonly #packet: Packet;
  readonly #ports: PortsView;
  /** The key that the tracker has taken for the run to come. */
  #taken: Uint8Array | undefined;

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
    at?: Continuation | undefined,
    fence?: Fence,
  ): Ran {
    const { tracker } = this;
    this.key = key;
    if (key !== this.#taken) tracker.take(key);
    this.#taken = undefined;
    const ran = this.#once(policy, nowMs, at, fence);
    if (tracker.missing.size === 0) return ran;
    // Metadata that is not in the key was read: it is zero, and has to be there to be masked.
    this.key = withMetadata(key, tracker.missing);
    tracker.dropDependencies();
    tracker.take(this.key);
    return this.#once(policy, nowMs, at, undefined);
  }

  /**
   * As `run`, on the key of a flow. One that lacks metadata which is read now cannot have that
   * flow.
   */
  runStored(
    policy: Policy,
    stored: StoredKey,
    nowMs: number,
    at: Continuation | undefined,
    fence: Fence | undefined,
  ): Ran {
    const { tracker } = this;
    this.#taken = undefined;
    tracker.takeStored(stored.chunk.words, stored.keyAt, stored.layout);
    const ran = this.#once(policy, nowMs, at, fence);
    if (tracker.missing.size === 0) return ran;
    return { ...ran, uncacheable: "metadata" };
  }

  #once(
    policy: Policy,
    nowMs: number,
    at: Continuation | undefined,
    fence: Fence | undefined,
  ): Ran {
    const { tracker } = this;
    tracker.begin(nowMs, fence?.words, fence?.bytes.length);
    try {
      const verdict = at === undefined
        ? policy(this.#packet, this.#ports)
        : at.stage.then(this.#packet, at.carry as never, this.#ports);
      const { decision, actions } = this.actions.said(verdict);
      if (actions.setsNetwork) this.#coverProtocol();
      const uncacheable = decision.cache === false ? "policy" : tracker.whyNone;
      return { decision, actions, uncacheable };
    } finally {
      tracker.end();
    }
  }

  /** The recirculation id of a key; 0 if it has none. */
  recircOf(key: Uint8Array): number {
    const at = this.tracker.take(key).key[recircId.slot] as number;
    this.#taken = key;
    return at === 0 ? 0 : this.tracker.keyWords[at >> 2] as number;
  }

  /**
   * Runs `edit` of a decision on a frame, with a packet that it may read; what then happens to it
   * may have parts of the packet in it, too.
   */
  edit(decision: Decision, frame: Uint8Array, key: Uint8Array): Edited | undefined {
    this.#taken = undefined;
    this.tracker.take(key);
    this.tracker.begin(clockMs());
    try {
      const packet = decision.edit?.(frame, this.#packet);
      return packet && { packet, actions: this.actions.of(decision.actions) };
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
