// SPDX-License-Identifier: Apache-2.0
/**
 * The one error class of datapaths.
 *
 * @module
 */
import { type ErrnoName, errnoName, errnoNumber, errnoText } from "./errno.ts";

/** Which operation it was, and on what. */
export interface OperationContext {
  /** What was tried, as a verb phrase: `add port`, `put flow`. */
  readonly operation: string;
  /** Full name of the datapath, `netdev@br0`; absent when none is involved. */
  readonly datapath?: string | undefined;
  /** What it was tried on: a port name, a flow in text, a device. */
  readonly object?: string | undefined;
}

/** Which operation failed, on what, and why. */
export interface DatapathErrorInit extends OperationContext {
  /** Errno, by name or by positive number. */
  readonly code: ErrnoName | number;
  /** What went wrong, and what to do; replaces the errno's own text. */
  readonly detail?: string | undefined;
  /** The error behind this one. */
  readonly cause?: unknown;
}

/** A flow may have thousands of actions; its error has what tells it from others. */
function shortened(text: string): string {
  return text.length <= 1000 ? text : `${text.slice(0, 999)}\u2026`;
}

/**
 * A datapath refused or failed an operation.
 *
 * The message is a sentence such as
 * `Cannot add port "eth1" (netdev@br0): no such device (ENODEV)`.
 */
export class DatapathError extends Error {
  /** Always `DatapathError`. */
  override readonly name = "DatapathError";
  /** What was tried, as a verb phrase. */
  readonly operation: string;
  /** Full name of the datapath, or undefined when none is involved. */
  readonly datapath: string | undefined;
  /** What it was tried on, or undefined. */
  readonly object: string | undefined;
  /** Name of the errno. */
  readonly code: ErrnoName;
  /** Positive number of the errno. */
  readonly errno: number;
  /** What went wrong in words of its own; undefined when the errno's text says it all. */
  readonly detail: string | undefined;

  /** Makes an error from its parts; the message is composed from them. */
  constructor(init: DatapathErrorInit) {
    const code = typeof init.code === "number" ? errnoName(init.code) : init.code;
    const object = init.object === undefined ? "" : ` "${shortened(init.object)}"`;
    const where = init.datapath === undefined ? "" : ` (${init.datapath})`;
    const detail = init.detail ?? errnoText(code);
    super(`Cannot ${init.operation}${object}${where}: ${detail} (${code})`, {
      cause: init.cause,
    });
    this.operation = init.operation;
    this.datapath = init.datapath;
    this.object = init.object;
    this.code = code;
    this.detail = init.detail;
    this.errno = typeof init.code === "number" ? init.code : errnoNumber(code);
  }
}
