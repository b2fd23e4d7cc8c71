// SPDX-License-Identifier: Apache-2.0
/**
 * How packets come into switches by patch ports, so that one which goes round is known.
 *
 * @module
 */
import type { Tag } from "../table/packet_flow.ts";
import { type FlowWords, Word } from "../wire/flow.ts";
import type { Pipeline } from "./pipeline.ts";

/** What it is to come into a switch by a patch port, as so many actions. */
export const PEER_WORK = 4;

/** All that the way through a switch rests on when a packet comes by a patch port. */
export interface Entered {
  readonly pipeline: Pipeline;
  /** With the port. */
  readonly flow: FlowWords;
  readonly tags: readonly Tag[];
  /** Groups that the packet is in. */
  readonly groups: number;
  /** Whether what is below a label is not known. */
  readonly isBlind: boolean;
}

/** Whether the same becomes of two. */
export function isAlike(a: Entered, b: Entered): boolean {
  return a.pipeline === b.pipeline && a.groups === b.groups && a.isBlind === b.isBlind &&
    a.flow.every((word, i) => word === b.flow[i]) && a.tags.length === b.tags.length &&
    a.tags.every(({ tpid, tci }, i) => tpid === b.tags[i]?.tpid && tci === b.tags[i].tci);
}

/** Words before the headers that a packet keeps on its way into another switch. */
export const stays: ReadonlySet<number> = new Set([
  Word.pktMark,
  Word.dpHash,
  Word.recircId,
  Word.packetType,
]);
