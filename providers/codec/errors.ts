// SPDX-License-Identifier: Apache-2.0
/**
 * What is wrong with bytes or text, and where.
 *
 * @module
 */

import type { ErrnoName } from "../errno.ts";

/** Attribute bytes that are malformed, or that cannot be made. */
export class AttributeError extends Error {
  /** Tells it from other errors across Workers. */
  override readonly name = "AttributeError";
  /** What a datapath would answer. */
  readonly code: ErrnoName;
  /** Names of the attributes from the outermost one to the one at fault: `encap/ipv4`. */
  readonly path: string;
  /** Offset of the attribute's header in the bytes that were given. */
  readonly offset: number;

  /** Makes an error; the message is composed from path, offset and `what`. */
  constructor(path: string, offset: number, what: string, code: ErrnoName = "EINVAL") {
    super(`${path === "" ? "attributes" : path} at byte ${offset}: ${what}`);
    this.code = code;
    this.path = path;
    this.offset = offset;
  }
}

/** Text of ovs-dpctl(8) that does not parse. */
export class TextError extends SyntaxError {
  /** As that of its base class: callers catch a `SyntaxError`. */
  override readonly name = "SyntaxError";
  /** Offset of the character at fault, in UTF-16 units. */
  readonly offset: number;

  /** Makes an error for `text` at `offset`; the message shows what is there. */
  constructor(text: string, offset: number, what: string) {
    const rest = text.slice(offset, offset + 40);
    const shown = rest === "" ? "the end" : `"${rest}"`;
    super(`${what} at offset ${offset}: ${shown}`);
    this.offset = offset;
  }
}

/** Joins the parts of an attribute path. */
export function joinPath(path: string, name: string): string {
  if (path === "") return name;
  return name === "" ? path : `${path}/${name}`;
}
