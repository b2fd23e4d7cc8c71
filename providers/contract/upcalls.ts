// SPDX-License-Identifier: Apache-2.0
/**
 * Upcalls of a datapath: handlers that receive them, verdicts on them, and callbacks that decide in
 * their place. dpif: `recv*`, `handlers_set`, `register_upcall_cb`.
 *
 * @module
 */
import type { PmdId, PortNo } from "../ids.ts";
import type { MaskInput } from "../types.ts";
import type { OpResult } from "./flows.ts";

/** A packet handed up, as bytes. dpif: `struct dpif_upcall`. */
export interface RawUpcall {
  /** `miss`: no flow matched. `action`: a `userspace` action of a flow. */
  readonly kind: "miss" | "action";
  /** Nested `OVS_KEY_ATTR_*` of the packet. */
  readonly key: Uint8Array;
  /** The port of the key, if the provider knows it without decoding the key. */
  readonly inPort?: PortNo | undefined;
  /** The packet from the Ethernet header on. */
  readonly packet: Uint8Array;
  /** `OVS_USERSPACE_ATTR_USERDATA` of the action. */
  readonly userdata?: Uint8Array | undefined;
  /** The complete action list, if the action asked for it. */
  readonly actions?: Uint8Array | undefined;
  /** Key of the tunnel that the packet would have left by, if the action asked for it. */
  readonly egressTunnelKey?: Uint8Array | undefined;
  /** Size of the largest fragment, bytes, if the packet was reassembled from fragments. */
  readonly mru?: number | undefined;
  /** Hash of the packet, to be passed to "execute". */
  readonly hash?: bigint | undefined;
  /** Length before truncation, bytes, if the packet was truncated. */
  readonly originalLength?: number | undefined;
}

/** Upcalls of a datapath. */
export interface ProviderUpcalls {
  /**
   * Number of handlers that the datapath wants; undefined if any number will do. dpif:
   * `number_handlers_required`.
   */
  required?(): number | undefined;
  /** Spreads upcalls over `count` handlers from now on. dpif: `handlers_set`. */
  setHandlers(count: number): void;
  /** Turns reception on or off. dpif: `recv_set`. */
  setReceive(enable: boolean): void;
  /**
   * Opens handler `id`, 0 to count-1, for this isolate; `EBUSY` if another program or Worker has
   * it.
   */
  handler(id: number): UpcallHandler;
  /** Drops the upcalls that are waiting. dpif: `recv_purge`. */
  purge(): void;
}

/**
 * One receiver of upcalls. It is used by one isolate at a time. `receive` never waits. At most one
 * call of `wait` may be outstanding, and none after `close`.
 */
export interface UpcallHandler {
  /**
   * Returns up to `max` waiting upcalls at once; an empty array if none is waiting. dpif: `recv`.
   */
  receive(max: number): RawUpcall[];
  /** Resolves when an upcall waits, or `wake` or `close` was called. dpif: `recv_wait`. */
  wait(): Promise<void>;
  /** Ends an outstanding `wait`. */
  wake(): void;
  /** Upcalls of this handler that were dropped so far because it was too slow. */
  lost(): bigint;
  /**
   * Ends an outstanding `wait`, drops the waiting upcalls, and gives the handler back. Idempotent.
   */
  close(): Promise<void>;
}

/** Enabling upcalls. While disabled, packets that miss are dropped and counted lost. */
export interface UpcallControlFacet {
  /** dpif: `enable_upcall`. */
  enable(): void;
  /** Returns when no upcall is being handled. dpif: `disable_upcall`. */
  disable(): void;
}

/**
 * A verdict on an upcall, as bytes: put a flow for its key, and execute its packet by the same
 * actions.
 */
export interface RawVerdict {
  /** Which bits of the key matter. Absent: all that the key has. */
  readonly mask?: MaskInput;
  /** Nested `OVS_ACTION_ATTR_*`; none: drop. */
  readonly actions: Uint8Array;
  /**
   * Change the flow if there is one. A provider may answer success instead of `EEXIST` when this
   * is absent.
   */
  readonly modify?: boolean;
}

/**
 * Carries out verdicts on upcalls that the provider still has, so that neither key nor packet is
 * copied back.
 */
export interface VerdictFacet {
  /**
   * Puts the flows and executes the packets, as "put" with a packet does. Returns a result for each
   * verdict. Returns undefined, having done nothing, if any of `upcalls` is not of the batch that
   * was received last; the caller then uses operations.
   */
  give(
    upcalls: readonly RawUpcall[],
    verdicts: readonly (RawVerdict | undefined)[],
  ): (OpResult | undefined)[] | undefined;
}

/** A verdict on a direct upcall: actions for the packet and, if there is a mask, a flow to put. */
export interface DirectVerdict {
  /** Actions for the packet, nested `OVS_ACTION_ATTR_*`. */
  readonly actions: Uint8Array;
  /**
   * Mask of the flow to put. Absent: the packet is executed and no flow is put (dpif: `ENOSPC`).
   */
  readonly mask?: Uint8Array;
}

/**
 * Decides on misses in place of upcalls.
 *
 * A native function pointer (`int (*)(const struct dp_direct_upcall *, void *aux)`, see `c/dp.h`)
 * runs on the poll thread itself.  A TypeScript function is served by the upcall loop.
 */
export type DirectUpcall =
  | ((upcall: RawUpcall) => DirectVerdict | undefined)
  | { readonly native: NonNullable<Deno.PointerValue>; readonly aux?: Deno.PointerValue };

/** Callbacks into the program. */
export interface UpcallCallbackFacet {
  /**
   * Sets a function to be called before the flows of a poll thread are removed, so that their last
   * counters can be read. dpif: `register_dp_purge_cb`.
   */
  onPurge(callback: ((pmd: PmdId) => void) | undefined): void;
  /** Sets the function that decides on misses directly. dpif: `register_upcall_cb`. */
  onUpcall(callback: DirectUpcall | undefined): void;
}
