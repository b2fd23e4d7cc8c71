// SPDX-License-Identifier: Apache-2.0
/**
 * What goes with a packet that is handed to controllers, as bytes of an upcall.
 *
 * @module
 */
import { Reader, Writer } from "../wire/bytes.ts";
import { type FlowWords, Word } from "../wire/flow.ts";
import type { PacketInContext } from "./pipeline.ts";

/** The reason under which a policy hands packets to the switch. */
export const CONTROLLER = "openflow controller";

/** Words of metadata and registers: what packets do not have themselves. */
export const METADATA_WORDS: readonly number[] = [
  Word.metadata,
  Word.metadata + 1,
  ...Array.from({ length: 16 }, (_, i) => Word.reg0 + i),
];

/** Notes that packets do not have them themselves. Whether one of them says anything. */
export function ownMetadata(flow: FlowWords, written: FlowWords): boolean {
  let any = 0;
  for (let i = 0; i < METADATA_WORDS.length; i++) {
    const word = METADATA_WORDS[i] as number;
    written[word] = 0xffffffff;
    any |= flow[word] as number;
  }
  return any !== 0;
}

/**
 * Words before those of headers that are not the packet's own, and not zero; with the port that it
 * came by. Of the others the packet's key knows.
 */
export function wordsOf(
  flow: FlowWords,
  written: FlowWords,
  inPort: number,
): [word: number, value: number][] {
  const words: [number, number][] = [[Word.inPort, inPort]];
  const actset: number = Word.actsetOutput;
  for (let i = Word.metadata; i < Word.dlDst; i++) {
    const value = flow[i] as number;
    // As in Open vSwitch, which does not tell where the action set leads.
    const isOwn = written[i] === 0 || i === actset;
    if (!isOwn && (value !== 0 || i >= Word.tunId)) words.push([i, value]);
  }
  return words;
}

/** Words of metadata and registers, which are zero in packets that come. */
const METADATA: ReadonlySet<number> = new Set(METADATA_WORDS);
/** Words that the datapath keeps for the packet. */
const IN_KEY: ReadonlySet<number> = new Set<number>([
  Word.pktMark,
  Word.dpHash,
  Word.recircId,
  Word.packetType,
  Word.actsetOutput,
  ...Array.from(
    { length: Word.actsetOutput - Word.ctState },
    (_, i) => Word.ctState + i,
  ),
  ...Array.from({ length: Word.tunOptions - Word.ctNwSrc }, (_, i) => Word.ctNwSrc + i),
]);

/** Words that a frozen packet keeps beside its key: which, value and mask. */
export function frozenWords(
  flow: FlowWords,
  written: FlowWords,
): [word: number, value: number, mask: number][] {
  const words: [number, number, number][] = [];
  for (let i = 0; i < Word.dlDst; i++) {
    const mask = written[i] as number;
    const isUsual = METADATA.has(i) && flow[i] === 0;
    if (mask === 0 || isUsual || IN_KEY.has(i)) continue;
    words.push([i, ((flow[i] as number) & mask) >>> 0, mask]);
  }
  return words;
}

/** Writes a context. */
export function writeContext(context: PacketInContext): Uint8Array {
  const { words, userdata, continuation } = context;
  const writer = new Writer();
  writer.u16(context.of).u8(context.table).u8(context.reason).u16(context.maxLength)
    .u16(context.controllerId).u64(context.cookie).u32(context.meter ?? 0)
    .u8(words.length);
  for (const [word, value] of words) writer.u8(word).u32(value);
  for (const bytes of [userdata, continuation]) {
    writer.u8(bytes === undefined ? 0 : 1).u16(bytes?.length ?? 0);
    if (bytes !== undefined) writer.put(bytes);
  }
  return writer.bytes();
}

/** Reads a context. Throws `OfError` for bytes that are none. */
export function readContext(bytes: Uint8Array): PacketInContext {
  const reader = new Reader(bytes);
  const of = reader.u16();
  const table = reader.u8();
  const reason = reader.u8();
  const maxLength = reader.u16();
  const controllerId = reader.u16();
  const cookie = reader.u64();
  const meter = reader.u32();
  const words = Array.from(
    { length: reader.u8() },
    () => [reader.u8(), reader.u32()] as const,
  );
  const part = (): Uint8Array | undefined => {
    const isThere = reader.u8() === 1;
    const value = reader.take(reader.u16());
    return isThere ? value : undefined;
  };
  return {
    of,
    table,
    reason,
    maxLength,
    controllerId,
    cookie,
    words,
    meter: meter === 0 ? undefined : meter,
    userdata: part(),
    continuation: part(),
  };
}
