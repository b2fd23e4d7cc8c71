// SPDX-License-Identifier: Apache-2.0
/**
 * What a C source is to the build, and to the generated list of all of them.
 *
 * @module
 */

/** A source file that travels with the module. */
export interface Source {
  /** Path in `c/`: `cls/cls.c`. */
  readonly name: string;
  /** SHA-256 of its bytes, hexadecimal. */
  readonly sha256: string;
  /** Fetches its text. */
  readonly load: () => Promise<{ readonly default: string }>;
}
