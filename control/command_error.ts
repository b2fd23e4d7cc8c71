// SPDX-License-Identifier: Apache-2.0
/**
 * How a command of a control socket fails.
 *
 * @module
 */

/** A command that failed; the message is the answer. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}
