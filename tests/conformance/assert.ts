// SPDX-License-Identifier: Apache-2.0
/**
 * Assertions of the conformance suite.
 *
 * @module
 */
import assert from "node:assert/strict";
import { DatapathError } from "../../providers/errors.ts";
import type { ErrnoName } from "../../providers/errno.ts";
import type { Datapath } from "../../providers/datapath.ts";
import type { Upcall } from "../../providers/upcall.ts";
import { patience } from "../support/wait.ts";

/**
 * Asserts that something throws or rejects with one of `codes`, and that the error tells what was
 * tried.
 */
export async function fails(
  run: () => unknown,
  ...codes: ErrnoName[]
): Promise<DatapathError> {
  try {
    await run();
  } catch (error) {
    assert.ok(error instanceof DatapathError, `not a DatapathError: ${error}`);
    assert.ok(
      codes.includes(error.code),
      `${error.message}: wanted ${codes.join(" or ")}`,
    );
    assert.ok(
      error.operation !== "" && error.message.includes(error.operation),
      error.message,
    );
    return error;
  }
  assert.fail(`did not fail, wanted ${codes.join(" or ")}`);
}

/** Asserts that two lists of frames are equal, showing them in hexadecimal. */
export function sameFrames(
  found: readonly Uint8Array[],
  wanted: readonly Uint8Array[],
): void {
  assert.deepEqual(
    found.map((frame) => frame.toHex()),
    wanted.map((frame) => frame.toHex()),
  );
}

/**
 * The first `count` upcalls that come after `cause` was run. Rejects if they do not come.
 */
export async function upcallsOf(
  dp: Datapath,
  count: number,
  cause: () => unknown,
): Promise<Upcall[]> {
  const upcalls: Upcall[] = [];
  const stream = dp.upcalls({ signal: patience() });
  await cause();
  for await (const upcall of stream) {
    upcalls.push(upcall);
    if (upcalls.length === count) break;
  }
  return upcalls;
}
