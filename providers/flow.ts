// SPDX-License-Identifier: Apache-2.0
/**
 * A flow as a datapath lists it, decoded when it is looked at.
 *
 * @module
 */
import type { FlowStats, RawFlow } from "./contract/flows.ts";
import type { PmdId, Ufid } from "./ids.ts";
import {
  decodeActions,
  decodeMask,
  formatActions,
  formatKey,
  keyView,
} from "./odp/mod.ts";
import type { Action, FlowKey, FlowMask } from "./types.ts";

/**
 * A flow of a datapath. What a terse listing leaves out is undefined.
 *
 * For a Worker, or a copy, send {@linkcode Flow.plain} and make a `Flow` of it there:
 * `structuredClone()` of a flow of a listing throws `DataCloneError`.
 */
export class Flow {
  /**
   * The flow as the datapath gave it: attribute bytes. Those of a listing share a buffer, and are
   * read when they are looked at.
   */
  readonly raw: RawFlow;
  #key: FlowKey | undefined;
  #mask: FlowMask | undefined;
  #actions: Action[] | undefined;

  /** Makes a flow of its bytes, which are not copied. */
  constructor(raw: RawFlow) {
    this.raw = raw;
  }

  /** Its key. */
  get key(): FlowKey | undefined {
    if (this.#key !== undefined) return this.#key;
    const { key } = this.raw;
    return key && (this.#key = keyView(key));
  }

  /** The bits of the key that matter. */
  get mask(): FlowMask | undefined {
    if (this.#mask !== undefined) return this.#mask;
    const { key, mask } = this.raw;
    return mask && (this.#mask = decodeMask(mask, key));
  }

  /** What happens to its packets; an empty list drops them. */
  get actions(): Action[] | undefined {
    if (this.#actions !== undefined) return this.#actions;
    const { actions } = this.raw;
    return actions && (this.#actions = decodeActions(actions));
  }

  /** Its identifier. */
  get ufid(): Ufid | undefined {
    return this.raw.ufid;
  }

  /** Its counters. */
  get stats(): FlowStats {
    return this.raw.stats;
  }

  /** The poll thread that owns it, where flows have owners. */
  get pmd(): PmdId | undefined {
    return this.raw.pmd;
  }

  /** Layer that forwards it: `ovs`, `tc`, `dpdk`. */
  get layer(): string | undefined {
    return this.raw.layer;
  }

  /** Whether hardware forwards it. */
  get offloaded(): boolean {
    return this.raw.offloaded ?? false;
  }

  /** The flow as data of its own, which can be cloned and sent to a Worker. */
  plain(): RawFlow {
    return this.raw.plain?.() ?? this.raw;
  }

  /** A line as `ovs-dpctl dump-flows` prints it, without the time of the last hit. */
  toString(): string {
    const { key, mask, actions, ufid, stats } = this.raw;
    const parts: string[] = [];
    if (key === undefined) parts.push(`ufid:${ufid}`);
    else parts.push(formatKey(mask === undefined ? { key } : { key, mask }));
    parts.push(`packets:${stats.packets}`, `bytes:${stats.bytes}`);
    if (actions !== undefined) parts.push(`actions:${formatActions(actions)}`);
    return parts.join(", ");
  }
}
