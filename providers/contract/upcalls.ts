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
  /** The port of the key, where the provider has it at hand. */
  readonly inPort?: PortNo | undefined;
  /** The packet from the Ethernet header on. */
  readonly packet: Uint8Array;
  /** `OVS_USERSPACE_ATTR_USERDATA` of the action. */
  readonly userdata?: Uint8Array | undefined;
  /** The complete action list, if the action asked for it. */
  readonly actions?: Uint8Array | undefined;
  /** Tunnel that it would have left by, if the action asked for it. */
  readonly egressTunnelKey?: Uint8Array | undefined;
  /** Largest fragment, when the packet was put together from fragments; bytes. */
  readonly mru?: number | undefined;
  /** Hash of the packet, to be given back on execute. */
  readonly hash?: bigint | undefined;
  /** Length before truncation, when the packet was truncated; bytes. */
  readonly originalLength?: number | undefined;
}

/** Upcalls of a datapath. */
export interface ProviderUpcalls {
  /**
   * Number of handlers that the datapath wants; undefined: as many as you like. dpif:
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
  /** Drops upcalls that wait. dpif: `recv_purge`. */
  purge(): void;
}

/**
 * One receiver of upcalls.  Used by one isolate at a time.  `receive` never waits; `wait` has at
 * most one call outstanding, and none after `close`.
 */
export interface UpcallHandler {
  /** Up to `max` waiting upcalls, at once; empty when none waits. dpif: `recv`. */
  receive(max: number): RawUpcall[];
  /** Resolves when an upcall waits, or `wake` or `close` was called. dpif: `recv_wait`. */
  wait(): Promise<void>;
  /** Ends a `wait` under way. */
  wake(): void;
  /** Upcalls of this handler that were dropped so far, because it was slow. */
  lost(): bigint;
  /** Ends a `wait` under way, drops what waits, gives the handler back. Idempotent. */
  close(): Promise<void>;
}

/** Enabling upcalls. While disabled, packets that miss are dropped and counted lost. */
export interface UpcallControlFacet {
  /** dpif: `enable_upcall`. */
  enable(): void;
  /** Returns when no upcall is under way. dpif: `disable_upcall`. */
  disable(): void;
}

/**
 * A verdict on an upcall, as bytes: a flow for its key, and its packet on its way by the same
 * actions.
 */
export interface RawVerdict {
  /** Which bits of the key matter; all that the key has when absent. */
  readonly mask?: MaskInput;
  /** Nested `OVS_ACTION_ATTR_*`; none: drop. */
  readonly actions: Uint8Array;
  /** Change the flow if there is one. */
  readonly modify?: boolean;
}

/** Verdicts on what the provider still has: neither key nor packet goes back to it. */
export interface VerdictFacet {
  /**
   * Puts the flows and executes the packets, as "put" with a packet does; one result for each
   * verdict. Undefined: nothing was done, because not all of `upcalls` were received last;
   * operations do it then.
   */
  give(
    upcalls: readonly RawUpcall[],
    verdicts: readonly (RawVerdict | undefined)[],
  ): (OpResult | undefined)[] | undefined;
}

/** Verdict on a direct upcall: what to do with the packet, and a flow to put or not. */
export interface DirectVerdict {
  /** Actions for the packet, nested `OVS_ACTION_ATTR_*`. */
  readonly actions: Uint8Array;
  /** Mask of the flow to put; absent: execute, but put no flow (dpif: `ENOSPC`). */
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
   * Called before the flows of a poll thread go, so that last counters can be read. dpif:
   * `register_dp_purge_cb`.
   */
  onPurge(callback: ((pmd: PmdId) => void) | undefined): void;
  /** Takes misses directly. dpif: `register_upcall_cb`. */
  onUpcall(callback: DirectUpcall | undefined): void;
}
