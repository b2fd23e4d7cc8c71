// SPDX-License-Identifier: Apache-2.0
/**
 * Flows that the oracle keeps.
 *
 * @module
 */
import type { FlowKey } from "../../providers/types.ts";
import { areAlike } from "../copy.ts";
import type { FlowBits } from "../state/dependency.ts";
import type { Covered } from "./covered.ts";
import type { Flips } from "./flips.ts";
import type { FreeBits } from "./model.ts";
import type { Outcome, Part } from "./outcome.ts";

/** A flow that is kept while state changes. */
export interface KeptFlow extends FlowBits {
  readonly part: Part;
  readonly key: Uint8Array;
  readonly mask: Uint8Array;
  readonly free: FreeBits;
  /** The packet, and which others hit the flow. */
  readonly x: FlowKey;
  readonly covered: Covered;
  readonly flips: Flips;
  /** Fields that the bare function asked for. */
  readonly read: ReadonlySet<string>;
  /** What the bare function said of the packet; undefined since state changed. */
  bare: Outcome | undefined;
  /** What it rests on, and how many changes there had been when it said so. */
  dependencies: readonly number[];
  changes: number;
  said: string;
}

/** Whether a packet is alike in all that the function asked for: then it says the same of it. */
export function isReadAlike({ read, x }: KeptFlow, other: FlowKey): boolean {
  const [mine, theirs] = [x, other] as unknown as [Fields, Fields];
  for (const field of read) if (!areAlike(mine[field], theirs[field])) return false;
  return true;
}

type Fields = Readonly<Record<string, unknown>>;
