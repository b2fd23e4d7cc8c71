// SPDX-License-Identifier: Apache-2.0
/**
 * An upcall as programs see it.
 *
 * @module
 */
import type { RawUpcall } from "./contract/upcalls.ts";
import type { PortNo } from "./ids.ts";
import { decodeActions, keyView } from "./odp/mod.ts";
import type { Action, FlowKey } from "./types.ts";

/**
 * A packet that a datapath handed up.
 *
 * Its bytes are the program's own: they stay as they are for as long as the program keeps them. The
 * packets of one batch share one copy, so that keeping one keeps that copy; `packet.slice()` makes
 * it independent.
 */
export class Upcall {
  /** The upcall as the datapath gave it: attribute bytes. */
  readonly raw: RawUpcall;
  #key: FlowKey | undefined;

  /** Makes an upcall of its bytes, which are not copied. */
  constructor(raw: RawUpcall) {
    this.raw = raw;
  }

  /** `miss`: no flow matched. `action`: a `userspace` action asked for it. */
  get kind(): "miss" | "action" {
    return this.raw.kind;
  }

  /**
   * The packet's key, each field decoded when it is read. Given back to `put` or `execute` it costs
   * nothing: it still knows its bytes.
   */
  get key(): FlowKey {
    return this.#key ??= keyView(this.raw.key);
  }

  /** The port that it came in by; sooner told than `key.inPort`. */
  get inPort(): PortNo | undefined {
    return this.raw.inPort ?? this.key.inPort;
  }

  /** The packet from the Ethernet header on. */
  get packet(): Uint8Array {
    return this.raw.packet;
  }

  /** Bytes that the `userspace` action carried. */
  get userdata(): Uint8Array | undefined {
    return this.raw.userdata;
  }

  /** The actions that the packet was subject to, if the `userspace` action asked for them. */
  get actions(): Action[] | undefined {
    return this.raw.actions === undefined ? undefined : decodeActions(this.raw.actions);
  }

  /** Attribute bytes of the tunnel that it would have left by, if the action asked for it. */
  get egressTunnelKey(): Uint8Array | undefined {
    return this.raw.egressTunnelKey;
  }

  /** Largest fragment, when the packet was put together from fragments; bytes. */
  get mru(): number | undefined {
    return this.raw.mru;
  }

  /**
   * Hash of the packet, to be given back on execute. Undefined: neither device nor kernel gave one.
   */
  get hash(): bigint | undefined {
    return this.raw.hash;
  }

  /** Length before it was truncated; bytes. Undefined: it is whole. */
  get originalLength(): number | undefined {
    return this.raw.originalLength;
  }
}
