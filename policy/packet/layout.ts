// SPDX-License-Identifier: Apache-2.0
/**
 * Layouts: where everything is in the bytes of a key, and in the mask that goes with it.
 *
 * Keys of one kind of packet have the same attribute headers at the same places. What a key says of
 * its shape is found out once for all of them: offsets, and the mask that every flow of this shape
 * starts from. That has all bits of what datapaths match always (port, recirculation, packet type,
 * tags, EtherType) and of the fragment type, and room for the rest.
 *
 * @module
 */
import { walk } from "../../providers/odp/attributes.ts";
import { AttributeError } from "../../providers/codec/errors.ts";
import { ENCAP, ETHERTYPE, keyTable, VLAN } from "../../providers/odp/key.ts";
import { joinLevels, type Level, splitLevels } from "../../providers/odp/levels.ts";
import { normalize } from "../../providers/odp/normalize.ts";
import { tunnelKey } from "../../providers/odp/payload/tunnel.ts";
import { written } from "../../providers/codec/writer.ts";
import { NSH_BASE, SLOTS, TAGS, TUNNEL } from "./leaf.ts";

const TYPE_MASK = 0x3fff;
const tunnelTable = tunnelKey.table;
const MAX_TAGS = 4;
/** Largest id of a part of a tunnel key that has a place. */
const MAX_PART = 16;

const { inPort, recircId, packetType, tunnel, nsh, ipv4, ipv6 } = keyTable;
/** Offset of the fragment type in the payloads of IPv4 and IPv6. */
const fragmentAt: ReadonlyMap<number, number> = new Map([[ipv4.id, 11], [ipv6.id, 39]]);
const exactIds: ReadonlySet<number> = new Set([
  inPort.id,
  recircId.id,
  packetType.id,
  ETHERTYPE,
]);
/** Metadata that is zero where a key does not have it: id and size. */
export const metadata: ReadonlyMap<number, number> = new Map(
  ([
    "recircId",
    "dpHash",
    "priority",
    "skbMark",
    "ctState",
    "ctZone",
    "ctMark",
    "ctLabels",
  ] as const).map((name) => [keyTable[name].id, keyTable[name].wire.min]),
);

/** Offsets of payloads by slot; 0: it is absent. */
interface Offsets {
  readonly slots: Uint16Array;
  readonly headersAt: number[];
  readonly headers: number[];
  tags: number;
  labels: number;
}

function header(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | (bytes[at + 1] as number) << 8 |
    (bytes[at + 2] as number) << 16 | (bytes[at + 3] as number) << 24;
}

function read(bytes: Uint8Array): Offsets {
  const offsets: Offsets = {
    slots: new Uint16Array(SLOTS),
    headersAt: [],
    headers: [],
    tags: 0,
    labels: 0,
  };
  readLevel(bytes, 0, bytes.length, offsets);
  return offsets;
}

function eachIn(
  bytes: Uint8Array,
  from: number,
  to: number,
  offsets: Offsets,
  visit: (id: number, at: number, size: number) => void,
): void {
  let at = from;
  while (at + 4 <= to) {
    const head = header(bytes, at);
    const size = head & 0xffff;
    if (size < 4 || at + size > to) {
      throw new AttributeError("key", at, "length of an attribute does not fit");
    }
    offsets.headersAt.push(at);
    offsets.headers.push(head);
    visit(head >>> 16 & TYPE_MASK, at + 4, size - 4);
    at += size + 3 & ~3;
  }
}

function readLevel(
  bytes: Uint8Array,
  from: number,
  to: number,
  offsets: Offsets,
): void {
  const { slots } = offsets;
  let encap = 0;
  let encapEnd = 0;
  let tci = 0;
  let type = 0;
  eachIn(bytes, from, to, offsets, (id, at, size) => {
    if (id === ENCAP) [encap, encapEnd] = [at, at + size];
    else if (id === VLAN) tci = at;
    else if (id === ETHERTYPE) type = at;
    else if (id < TAGS) slots[id] = at;
    if (id === keyTable.mpls.id) offsets.labels = size >> 2;
    const first = id === tunnel.id ? TUNNEL : id === nsh.id ? NSH_BASE - 1 : 0;
    if (first === 0) return;
    eachIn(bytes, at, at + size, offsets, (part, where) => {
      if (part <= MAX_PART) slots[first + part] = where;
    });
  });
  if (encap === 0 && tci === 0) {
    slots[ETHERTYPE] = type;
    return;
  }
  if (offsets.tags === MAX_TAGS) throw new AttributeError("key", from, "too many tags");
  if (offsets.tags < 2) {
    slots[TAGS + 2 * offsets.tags] = type;
    slots[TAGS + 2 * offsets.tags + 1] = tci;
  }
  offsets.tags++;
  if (encap !== 0) readLevel(bytes, encap, encapEnd, offsets);
}

/** The shape of keys, and of the masks of their flows. */
export class Layout {
  /** Offset of each payload in the key by slot; 0: absent. */
  readonly key: Uint16Array;
  /** Offset of each payload in the mask by slot; 0: it cannot be masked. */
  readonly mask: Uint16Array;
  /** The mask that runs start from; its length is a multiple of four. */
  readonly template: Uint8Array;
  /** The same as words in host order. */
  readonly templateWords: Uint32Array;
  /** VLAN tags. */
  readonly tags: number;
  /** Labels. */
  readonly labels: number;
  /** Bytes of such a key. */
  readonly size: number;
  /** Where the headers of its attributes are, and what they are, in words of host order. */
  readonly #headersAt: Uint16Array;
  readonly #headers: Int32Array;
  /** Whether key and mask have their values at the same places. */
  readonly isAligned: boolean;
  /** Whether other keys of this shape may share it. */
  readonly isShared: boolean;

  /** Reads the layout of a key. Throws `AttributeError` when it is malformed. */
  constructor(bytes: Uint8Array) {
    const offsets = read(bytes);
    this.size = bytes.length;
    this.#headersAt = Uint16Array.from(offsets.headersAt, (at) => at >> 2);
    this.#headers = Int32Array.from(offsets.headers);
    this.key = offsets.slots;
    this.tags = offsets.tags;
    this.labels = offsets.labels;
    const template = templateOf(bytes);
    this.templateWords = new Uint32Array(template.length + 3 >> 2);
    this.template = new Uint8Array(this.templateWords.buffer, 0, template.length);
    this.template.set(template);
    const mask = read(this.template);
    this.mask = mask.slots;
    this.isAligned = this.template.length === bytes.length &&
      mask.headersAt.every((at, i) => at === offsets.headersAt[i]) &&
      mask.headers.every((head, i) => head === offsets.headers[i]);
    // Tagged frames of 802.2 and those that end in their tag have one shape and different masks.
    this.isShared = offsets.tags === 0 || offsets.slots[ETHERTYPE] !== 0;
  }

  /** Whether a key has this layout. */
  fits(bytes: Uint8Array): boolean {
    if (bytes.length !== this.size) return false;
    const at = this.#headersAt;
    const heads = this.#headers;
    for (let i = 0; i < at.length; i++) {
      if (header(bytes, 4 * (at[i] as number)) !== heads[i]) return false;
    }
    return true;
  }

  /** Whether a key of its size, given as words in host order, has this layout. */
  fitsWords(words: Uint32Array): boolean {
    const at = this.#headersAt;
    const heads = this.#headers;
    for (let i = 0; i < at.length; i++) {
      if (((words[at[i] as number] as number) | 0) !== heads[i]) return false;
    }
    return true;
  }
}

/** The template of a key: zeros where bits may matter, ones where they always do. */
function templateOf(key: Uint8Array): Uint8Array {
  const masks = splitLevels(key, "key").map((level): Level => {
    const made: Level = new Map();
    for (const [id, payload] of level) {
      if (id >= TAGS) continue;
      const bits = new Uint8Array(payload.length);
      if (exactIds.has(id)) bits.fill(0xff);
      const fragment = fragmentAt.get(id);
      if (fragment !== undefined) bits[fragment] = 0xff;
      const nest = id === tunnel.id
        ? tunnelTemplate(payload)
        : id === nsh.id
        ? nshTemplate(payload)
        : bits;
      made.set(id, nest);
    }
    return made;
  });
  const bits = written((writer) => joinLevels(writer, masks));
  return normalize(key, bits, { fixed: true }).mask ?? bits;
}

/** Parts of a tunnel key that may be left out when they are zero: id and size. */
const tunnelParts: ReadonlyMap<number, number> = new Map(
  (["id", "tos", "ttl", "srcPort", "dstPort"] as const).map((name) => {
    const { id, wire } = tunnelTable[name];
    return [id, wire.min];
  }),
);
const tunnelAddresses: ReadonlySet<number> = new Set(
  (["src", "dst", "ipv6Src", "ipv6Dst"] as const).map((name) => tunnelTable[name].id),
);
/** Attributes of a tunnel key that are flags; always matched. */
const tunnelFlags: readonly number[] = (["dontFragment", "checksum", "oam"] as const)
  .map((name) => tunnelTable[name].id);

const options = tunnelTable.geneve.id;

function tunnelTemplate(payload: Uint8Array): Uint8Array {
  return written((writer) => {
    for (const [id, size] of tunnelParts) {
      writer.attribute(id, new Uint8Array(size), "tunnel");
    }
    walk(payload, 0, payload.length, "tunnel", (id, _, size) => {
      if (tunnelAddresses.has(id)) writer.attribute(id, new Uint8Array(size), "tunnel");
      // What is in them only their kinds tell: all of them are matched, as they are.
      if (id === options) {
        writer.attribute(id, new Uint8Array(size).fill(0xff), "tunnel");
      }
    });
    for (const id of tunnelFlags) writer.attribute(id, new Uint8Array(), "tunnel");
  });
}

function nshTemplate(payload: Uint8Array): Uint8Array {
  return written((writer) => {
    walk(payload, 0, payload.length, "nsh", (id, _, size) => {
      if (id <= 2) writer.attribute(id, new Uint8Array(size), "nsh");
    });
  });
}

/** Layouts that were seen, the recent ones first. */
export class Layouts {
  readonly #known: Layout[] = [];
  readonly #limit: number;

  /** Keeps `limit` layouts. */
  constructor(limit = 32) {
    this.#limit = limit;
  }

  /** The layout of a key. Throws `AttributeError`. */
  of(bytes: Uint8Array): Layout {
    const known = this.#known;
    for (let i = 0; i < known.length; i++) {
      const layout = known[i] as Layout;
      if (!layout.fits(bytes)) continue;
      if (i > 0) {
        known[i] = known[i - 1] as Layout;
        known[i - 1] = layout;
      }
      return layout;
    }
    const made = new Layout(bytes);
    if (!made.isShared) return made;
    known.unshift(made);
    if (known.length > this.#limit) known.pop();
    return made;
  }
}

/** A key with zeros for the metadata of `ids`, which it lacks. */
export function withMetadata(bytes: Uint8Array, ids: Iterable<number>): Uint8Array {
  const parts = [...ids].map((id) => ({ id, size: metadata.get(id) ?? 4 }));
  return written((writer) => {
    for (const { id, size } of parts) {
      writer.attribute(id, new Uint8Array(size), "key");
    }
    writer.append(bytes);
  });
}

/** A key with all metadata that it lacks, as zeros. */
export function completed(bytes: Uint8Array): Uint8Array {
  const { slots } = read(bytes);
  const missing = [...metadata.keys()].filter((id) => slots[id] === 0);
  return missing.length === 0 ? bytes : withMetadata(bytes, missing);
}
