// SPDX-License-Identifier: Apache-2.0
/**
 * What goes wrong with a database.
 *
 * @module
 */
import { formatJson, type Json } from "./json.ts";

/** A server refused a request, or said what is no answer to it. */
export class OvsdbError extends Error {
  override readonly name = "OvsdbError";
  /** The error's name in the protocol: `constraint violation`, `not owner`, `timed out`. */
  readonly code: string;

  /** `operation` is the method, or the operation of a transaction. */
  constructor(operation: string, code: string, details?: string) {
    super(`Cannot ${operation}: ${code}${details === undefined ? "" : ` (${details})`}`);
    this.code = code;
  }

  /** Of what a server answers: an object with `error` and `details`, or something else. */
  static of(operation: string, answer: Json): OvsdbError {
    if (typeof answer !== "object" || answer === null || Array.isArray(answer)) {
      return new OvsdbError(operation, typeof answer === "string" ? answer : "error");
    }
    const { error, details } = answer as { readonly [name: string]: Json };
    const code = typeof error === "string" ? error : formatJson(answer);
    return new OvsdbError(
      operation,
      code,
      typeof details === "string" ? details : undefined,
    );
  }
}

/** What a server sends is not what the protocol says. */
export class OvsdbProtocolError extends Error {
  override readonly name = "OvsdbProtocolError";
}
