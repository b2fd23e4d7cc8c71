// SPDX-License-Identifier: Apache-2.0
/**
 * Lookups, also by the tuple that a packet's connection began with: `resubmit(,TABLE,ct)`.
 *
 * @module
 */
import { type Answer, answerOf } from "./answers.ts";
import type { FlowTable, Looking } from "./flow_table.ts";
import { type Became, keyOf } from "./looked.ts";
import { type FlowWords, flowWords, Nw, nwByte, Word } from "../wire/flow.ts";

/** Words that change places. The protocol is a byte of another one, and changes by itself. */
const pairs: readonly (readonly [own: number, began: number])[] = [
  [Word.nwSrc, Word.ctNwSrc],
  [Word.nwDst, Word.ctNwDst],
  [Word.tp, Word.ctTp],
  ...[0, 1, 2, 3].map((i) => [Word.ipv6Src + i, Word.ctIpv6Src + i] as const),
  ...[0, 1, 2, 3].map((i) => [Word.ipv6Dst + i, Word.ctIpv6Dst + i] as const),
];

/** Whether a packet's connection has a tuple. */
export function hasTuple(flow: FlowWords): boolean {
  return flow[Word.ctNwProto] !== 0;
}

/** Has a packet's own tuple and that of its connection change places; of masks too. */
function swapTuple(words: FlowWords): void {
  const proto = nwByte(words, Nw.proto);
  words[Word.nw] = (words[Word.nw] as number) & 0xffffff |
    (words[Word.ctNwProto] as number) << Nw.proto;
  words[Word.ctNwProto] = proto;
  for (const [own, began] of pairs) {
    const before = words[own] as number;
    words[own] = words[began] as number;
    words[began] = before;
  }
}

/** What a packet has become for such a lookup: nothing is known of what changed places. */
function becameOfConnection({ value, mask, known }: Became): Became {
  const [all, some] = [mask.slice(), known.slice()];
  const lose = (word: number, bits: number): void => {
    all[word] = (all[word] as number) | bits;
    some[word] = (some[word] as number) & ~bits;
  };
  lose(Word.nw, 0xff << Nw.proto);
  lose(Word.ctNwProto, 0xff);
  for (const [own, began] of pairs) {
    lose(own, 0xffffffff);
    lose(began, 0xffffffff);
  }
  return { value, mask: all, known: some };
}

/** A packet that is looked up. */
interface Walked extends Looking {
  readonly now: { readonly flow: FlowWords };
  readonly written: FlowWords;
}

/**
 * Looks a packet up: by its connection's tuple, or by its own; without ports where those of
 * fragments are not to be seen, the first one's neither.
 */
export function lookUp(
  table: FlowTable,
  packet: Walked,
  byTuple: boolean,
  hidesPorts: boolean,
): Answer {
  const { flow } = packet.now;
  const look = (): Answer =>
    byTuple ? lookByTuple(table, flow, packet.became()) : table.look(flow, packet);
  if (!hidesPorts) return byTuple ? look() : table.look(flow, packet);
  const { written } = packet;
  const [ports, bits] = [flow[Word.tp] as number, written[Word.tp] as number];
  flow[Word.tp] = 0;
  written[Word.tp] = 0xffffffff;
  const answer = look();
  flow[Word.tp] = ports;
  packet.written[Word.tp] = bits;
  return answer;
}

/** Looks a packet up that has become something, with the tuple of its connection for its own. */
function lookByTuple(table: FlowTable, flow: FlowWords, own: Became): Answer {
  const became = becameOfConnection(own);
  swapTuple(flow);
  const { rule, count, words, bits } = table.look(flow, {
    became: () => became,
    becameKey: () => keyOf(became),
  });
  swapTuple(flow);
  const seen = flowWords();
  for (let i = 0; i < count; i++) seen[words[i] as number] = bits[i] as number;
  swapTuple(seen);
  return answerOf(rule, seen);
}
