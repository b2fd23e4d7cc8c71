// SPDX-License-Identifier: Apache-2.0
/**
 * What goes wrong in a policy, as programs are told.
 *
 * @module
 */

/** What went wrong. */
export type PolicyErrorCode =
  /** The policy threw, or returned what is no verdict. */
  | "threw"
  /** A verdict changed and nothing that it was known to rest on did. */
  | "untracked"
  /** The datapath refused a flow. */
  | "refused"
  /** What a packet teaches changes its own verdict, and that what it teaches, without end. */
  | "unstable"
  /** A stage has so many recirculation ids that it must carry something with many values. */
  | "many_ids";

/** A fault of a policy. It is reported at most once a second for each place. */
export class PolicyError extends Error {
  /** Always `PolicyError`. */
  override readonly name = "PolicyError";
  /** What went wrong. */
  readonly code: PolicyErrorCode;
  /** The packet or flow, in text of ovs-dpctl(8). */
  readonly packet: string | undefined;

  /** Says what went wrong. */
  constructor(
    code: PolicyErrorCode,
    message: string,
    options: { readonly packet?: string | undefined; readonly cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.packet = options.packet;
  }
}
