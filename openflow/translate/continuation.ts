// SPDX-License-Identifier: Apache-2.0
/**
 * What a controller gets of a packet that stays with it, and gives back to have it go on: what is
 * known of the packet, as properties. To the controller they are opaque.
 *
 * Source: numbers and bodies of the properties as in `ofp-packet.c` of Open vSwitch 3.1; 0x80f0 is
 * this program's own: what it has frozen, with a code that says so. The others are for people.
 *
 * @module
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { writeActions } from "../wire/actions/action_write.ts";
import { Reader, Writer } from "../wire/bytes.ts";
import { OfError } from "../wire/error.ts";
import { fieldOfName, type OptionFields } from "../wire/field.ts";
import { type Match, readBits, Word } from "../wire/flow.ts";
import { ctZone } from "../../providers/ids.ts";
import type { FlowKeyFields } from "../../providers/types_key.ts";
import { actionsOfText, type Frozen, thawRest } from "./frozen.ts";
import { plainOf, valueOf } from "../text/plain.ts";

const Property = {
  bridge: 0x8000,
  stack: 0x8001,
  tracked: 0x8003,
  table: 0x8004,
  cookie: 0x8005,
  actions: 0x8006,
  set: 0x8007,
  frozen: 0x80f0,
} as const;

/** What only this program knows: by it a continuation is told from one that a controller made. */
const secret = randomBytes(32);
const MAC_SIZE = 16;
/** Items of the stack that are shown. */
const MAX_SHOWN = 64;

function macOf(text: Uint8Array): Uint8Array {
  return createHmac("sha256", secret).update(text).digest().subarray(0, MAC_SIZE);
}

/**
 * Writes a continuation. What of it is longer than a property may be is cut: one of over 65,535
 * bytes cannot be read again.
 */
export function writeContinuation(frozen: Frozen, options: OptionFields): Uint8Array {
  const writer = new Writer();
  const property = (type: number, body: () => void): void => {
    const start = writer.size;
    writer.u16(type).u16(0);
    body();
    writer.set16(start + 2, Math.min(writer.size - start, 0xffff)).pad8(start);
  };
  property(Property.bridge, () => writer.zeros(16));
  for (const item of frozen.stack.slice(0, MAX_SHOWN)) {
    const size = Math.max(1, Math.ceil(item.toString(16).length / 2));
    property(Property.stack, () => writer.big(item, size));
  }
  if (frozen.tracked) property(Property.tracked, () => {});
  for (const rest of frozen.rests) {
    const { what, table, cookie } = thawRest(rest, options);
    if (table !== 0) property(Property.table, () => writer.u8(table));
    if (cookie !== undefined) {
      property(Property.cookie, () => writer.zeros(4).u64(cookie));
    }
    const { apply = [] } = what;
    property(Property.actions, () => {
      writer.zeros(4);
      writeActions(writer, apply, 6);
    });
  }
  if (frozen.set !== "") {
    property(Property.set, () => {
      writer.zeros(4);
      writeActions(writer, actionsOfText(frozen.set, options), 6);
    });
  }
  const text = new TextEncoder().encode(plainOf({ ...frozen, hashed: "", depth: 0 }));
  property(Property.frozen, () => writer.put(macOf(text)).put(text));
  return writer.bytes();
}

/**
 * Reads a continuation that a controller gives back; what others may read of it does not count.
 * Throws {@linkcode OfError} for bytes that are none, and `NXR_STALE` for those of another run, or
 * of no run of this program.
 */
export function readContinuation(bytes: Uint8Array, options: OptionFields): Frozen {
  const reader = new Reader(bytes, { short: "OFPBPC_BAD_LEN", options });
  let found: Uint8Array | undefined;
  while (reader.left > 0) {
    const type = reader.u16();
    const length = reader.u16();
    if (length < 4) throw new OfError("OFPBPC_BAD_LEN");
    const value = reader.part(length - 4, "OFPBPC_BAD_LEN");
    reader.skip(Math.min(reader.left, -length & 7));
    if (type === Property.frozen) found = value.rest();
    else if (!known.has(type)) throw new OfError("OFPBPC_BAD_TYPE");
  }
  if (found === undefined || found.length < MAC_SIZE) throw new OfError("NXR_STALE");
  const text = found.subarray(MAC_SIZE);
  if (!timingSafeEqual(found.subarray(0, MAC_SIZE), macOf(text))) {
    throw new OfError("NXR_STALE");
  }
  return valueOf(new TextDecoder().decode(text), options) as Frozen;
}

/** Numbers of properties that there are. */
const known: ReadonlySet<number> = new Set(Object.values(Property));

/**
 * A frozen packet as a controller has changed it. Registers and metadata that it does not name are
 * zero.
 */
export function resumed(frozen: Frozen, { value, mask }: Match): Frozen {
  const words = frozen.words.filter(([word]) => mask[word] === 0 && word >= Word.tunId);
  for (let i = Word.metadata as number; i < Word.tunGbp; i++) {
    const bits = mask[i] as number;
    if (bits !== 0) words.push([i, ((value[i] as number) & bits) >>> 0, bits]);
  }
  const inPort = mask[Word.inPort] === 0 ? frozen.inPort : value[Word.inPort] as number;
  return { ...frozen, words, inPort };
}

/** What a match says of mark and connection, as a packet's key has it. */
export function metadataOf({ value, mask }: Match): KeyMetadata {
  const [state] = [(value[Word.ctState] as number) & 0xff];
  const of = (word: number): number => value[word] as number;
  return {
    ...(mask[Word.pktMark] !== 0 && { skbMark: of(Word.pktMark) }),
    ...(state !== 0 && {
      ctState: state,
      ctZone: ctZone(of(Word.ctZone)),
      ctMark: of(Word.ctMark),
      ctLabels: readBits(value, fieldOfName("ct_label")),
    }),
  };
}

/** Metadata of a key. */
type KeyMetadata = Pick<
  FlowKeyFields,
  "skbMark" | "ctState" | "ctZone" | "ctMark" | "ctLabels"
>;
