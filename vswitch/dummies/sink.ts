// SPDX-License-Identifier: Apache-2.0
/**
 * Who is at the other end of a port in memory.
 *
 * @module
 */

/** Who gets the frames that leave a port. */
export interface Sink {
  put(frame: Uint8Array): void;
  /** Is told of a frame that comes by the port. */
  came?(frame: Uint8Array): void;
  close(): void;
  /** Whether a cable has another end; absent for what is none. */
  readonly isConnected?: boolean;
}
