// SPDX-License-Identifier: Apache-2.0
/**
 * What the parts of a datapath of this process share: its handle in the library, and its name.
 *
 * @module
 */
import type { OperationContext } from "../errors.ts";
import type { Symbols } from "./library.ts";

/** One handle on a datapath. */
export interface Context {
  /** Functions of the library. */
  readonly symbols: Symbols;
  /** Handle of the datapath; `EBADF` once it is closed or destroyed. */
  readonly dp: bigint;
  /** `netdev@br0`. */
  readonly fullName: string;
  /** An operation on this datapath, for errors. */
  subject(operation: string, object?: string): OperationContext;
}
