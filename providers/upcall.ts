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

/** Upcalls by their packets, where there is something that has to come back with the packet. */
const origins = new WeakMap<Uint8Array, RawUpcall>();

/** The upcall that brought `packet`, this very array, if its `mru` or `hash` should come back. */
export function originOf(packet: Uint8Array): RawUpcall | undefined {
  return origins.get(packet);
}

/**
 * A packet that a datapath handed up.
 *
 * Its bytes belong to the program and do not change while the program keeps them. The packets of a
 * batch share one buffer, so keeping one packet keeps that buffer; `packet.slice()` copies it out.
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
   * The key of the packet. Each field is decoded when it is read. Passing this key to `put` or
   * `execute` needs no encoding, because it still has its bytes.
   */
  get key(): FlowKey {
    return this.#key ??= keyView(this.raw.key);
  }

  /** The port that the packet came in by. Cheaper to read than `key.inPort`. */
  get inPort(): PortNo | undefined {
    return this.raw.inPort ?? this.key.inPort;
  }

  /**
   * The packet from the Ethernet header on. Given back to `put` or `execute` as it is, this very
   * array, it brings its `mru` and `hash` with it.
   */
  get packet(): Uint8Array {
    const { raw } = this;
    const { packet } = raw;
    // A hash that has to be computed for the asking is none that the datapath wants back.
    if (raw.mru !== undefined || Object.hasOwn(raw, "hash")) origins.set(packet, raw);
    return packet;
  }

  /** Bytes that the `userspace` action carried. */
  get userdata(): Uint8Array | undefined {
    return this.raw.userdata;
  }

  /** The actions of the flow that the packet hit, if the `userspace` action asked for them. */
  get actions(): Action[] | undefined {
    return this.raw.actions === undefined ? undefined : decodeActions(this.raw.actions);
  }

  /**
   * Attribute bytes of the tunnel that the packet would have left by, if the action asked for them.
   */
  get egressTunnelKey(): Uint8Array | undefined {
    return this.raw.egressTunnelKey;
  }

  /** Size of the largest fragment, bytes, if the packet was reassembled from fragments. */
  get mru(): number | undefined {
    return this.raw.mru;
  }

  /**
   * Hash of the packet, to be passed to `execute`. Undefined if neither the device nor the kernel
   * computed one.
   */
  get hash(): bigint | undefined {
    return this.raw.hash;
  }

  /** Length before the packet was truncated, bytes. Undefined if it is whole. */
  get originalLength(): number | undefined {
    return this.raw.originalLength;
  }
}
