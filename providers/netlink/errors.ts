// SPDX-License-Identifier: Apache-2.0
/**
 * Failure of a netlink conversation, and how it becomes the failure of a datapath operation.
 *
 * @module
 */
import { WaitError } from "../../ffi/waiter.ts";
import { type ErrnoName, errnoName, errnoNumber, errnoText } from "../errno.ts";
import { DatapathError, type OperationContext } from "../errors.ts";

/** What a {@linkcode NetlinkError} is made of. */
export interface NetlinkErrorInit {
  /** Errno, by name or by positive number. */
  code: ErrnoName | number;
  /** What went wrong here; replaces the errno's own text. */
  detail?: string | undefined;
  /** What the kernel said of it (extended acknowledgement). */
  kernelMessage?: string | undefined;
  /** Byte of the request that the kernel objects to, from its `nlmsghdr` on. */
  offset?: number | undefined;
}

/**
 * The kernel refused a request, or an exchange of messages failed.
 *
 * `EBADMSG` and `EPROTO` mean that the answer was not one; `ETIMEDOUT` that none came.
 */
export class NetlinkError extends Error {
  /** Always `NetlinkError`. */
  override readonly name = "NetlinkError";
  /** Name of the errno. */
  readonly code: ErrnoName;
  /** Positive number of the errno. */
  readonly errno: number;
  /** What the kernel said of it, if it did. */
  readonly kernelMessage: string | undefined;
  /** Byte of the request that the kernel objects to, if it said. */
  readonly offset: number | undefined;

  /** Makes an error from its parts. */
  constructor(init: NetlinkErrorInit) {
    const code = typeof init.code === "number" ? errnoName(init.code) : init.code;
    super(init.kernelMessage ?? init.detail ?? errnoText(code));
    this.code = code;
    this.errno = typeof init.code === "number" ? init.code : errnoNumber(code);
    this.kernelMessage = init.kernelMessage;
    this.offset = init.offset;
  }
}

/** What of an error belongs into a {@linkcode DatapathError}. */
export function reasonOf(
  error: NetlinkError,
): { code: ErrnoName | number; detail: string | undefined; cause: NetlinkError } {
  const { message, code, errno } = error;
  return {
    // An errno that has no name here keeps its number.
    code: errnoNumber(code) === errno ? code : errno,
    detail: message === errnoText(code) ? undefined : message,
    cause: error,
  };
}

/** A `NetlinkError` or `WaitError` as the failure of an operation; other errors as they are. */
export function asDatapathError(error: unknown, context: OperationContext): Error {
  if (error instanceof NetlinkError) {
    return new DatapathError({ ...context, ...reasonOf(error) });
  }
  if (error instanceof WaitError) {
    return new DatapathError({ ...context, code: error.errno, cause: error });
  }
  return error instanceof Error ? error : new Error(String(error));
}

/** Runs `action`; a `NetlinkError` in it becomes a `DatapathError`. */
export function inContext<T>(context: OperationContext, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw asDatapathError(error, context);
  }
}
