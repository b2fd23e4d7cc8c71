// SPDX-License-Identifier: Apache-2.0
/**
 * What is known of a packet for controllers, beside its bytes.
 *
 * @module
 */
import { anyMatch, type FlowWords, type Match, Word } from "../wire/flow.ts";

/** Metadata of several words, and how many: where one word is said, all are. */
export const wide = [
  [Word.metadata, 2],
  [Word.tunId, 2],
  [Word.tunIpv6Src, 4],
  [Word.tunIpv6Dst, 4],
  [Word.ctLabel, 4],
  [Word.ctIpv6Src, 4],
  [Word.ctIpv6Dst, 4],
] as const;
/** Words of which a field has not all bits. */
const narrow = [[Word.ctState, 0xff], [Word.ctZone, 0xffff], [
  Word.ctNwProto,
  0xff,
]] as const;

/**
 * What is known of a packet: what its key says of tunnel, mark and connection, and, of `words`,
 * what became of it since.
 */
export function metadataOf(
  words: readonly (readonly [word: number, value: number])[],
  known: FlowWords | undefined,
): Match {
  const made = anyMatch();
  const { value, mask } = made;
  for (let i = Word.tunId as number; i < Word.dlDst; i++) {
    const word = known?.[i] ?? 0;
    const isOwn = i === Word.recircId || i === Word.dpHash || i === Word.packetType;
    if (word === 0 || isOwn) continue;
    value[i] = word;
    mask[i] = 0xffffffff;
  }
  for (const [word, bits] of words) {
    value[word] = bits;
    // What was forgotten of a connection, or set to zero of a tunnel, is not said.
    mask[word] = word >= Word.tunId && bits === 0 ? 0 : 0xffffffff;
  }
  for (const [word, count] of wide) {
    if (mask.subarray(word, word + count).some((bits) => bits !== 0)) {
      mask.fill(0xffffffff, word, word + count);
    }
  }
  for (const [word, bits] of narrow) if (mask[word]) mask[word] = bits;
  // As in Open vSwitch: what is said of a connection is read by the protocol of its packets.
  if (mask[Word.ctState] !== 0 && value[Word.ctState] !== 0 && known !== undefined) {
    [value[Word.dlType], mask[Word.dlType]] = [known[Word.dlType] as number, 0xffff];
  }
  return made;
}
