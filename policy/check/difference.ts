// SPDX-License-Identifier: Apache-2.0
/**
 * Where two packets part that should have got one verdict.
 *
 * @module
 */
import { decodeKey } from "../../providers/odp/key.ts";
import type { FlowKey } from "../../providers/types.ts";
import { decide } from "../decide.ts";
import { valueIn } from "../packet/plain.ts";
import { type Carry, textOf } from "../stage.ts";
import { NOW, type Part } from "./outcome.ts";

/** The first thing that a run on the other packet reads and in which the two differ. */
export function firstDifference(
  part: Part,
  key: Uint8Array,
  other: Uint8Array,
): string | undefined {
  try {
    const { reads } = decide(part.decide, other, undefined, { nowMs: NOW });
    const [x, y] = [decodeKey(key), decodeKey(other)];
    const text = (key: FlowKey, leaf: string): string =>
      textOf(valueIn(key, leaf) as Carry);
    const read = reads.find(({ leaf }) => text(x, leaf) !== text(y, leaf));
    return read === undefined ? undefined : `${read.leaf} ${read.how} ${read.at ?? ""}`;
  } catch {
    return undefined;
  }
}
