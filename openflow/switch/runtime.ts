// SPDX-License-Identifier: Apache-2.0
/**
 * What runs a switch.
 *
 * @module
 */
import type { PacketOut, Resume } from "../wire/message.ts";

/** What the switch asks of what runs it. */
export interface Runtime {
  /** Throws `OfError` for a packet-out that cannot be done. */
  checkPacketOut(out: PacketOut): void;
  /** Does the actions of a packet-out. */
  packetOut(out: PacketOut): void;
  /** Has a packet go on that a controller gives back. Throws `OfError`. */
  resume(message: Resume): void;
  /** Brings counters up to now. */
  refresh(): Promise<void>;
  /** Is told what went wrong here, and is no peer's fault. */
  failed(error: unknown): void;
}
