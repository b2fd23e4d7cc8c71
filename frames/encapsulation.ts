// SPDX-License-Identifier: Apache-2.0
/**
 * VXLAN, Geneve and GRE.
 *
 * @module
 */
import { checksum, concat, fits, put, sum16, u16, u24, u32 } from "./bytes.ts";
import type { GeneveOption } from "./layers.ts";
import { byEtherType, etherTypeOf, type Protocol } from "./protocol.ts";

/** VXLAN. */
export const vxlanProtocol: Protocol<"vxlan"> = {
  computed: ["reserved"],
  write({ vni, flags, group, reserved }, inner) {
    const head = new Uint8Array(8);
    put(head, 0, 1, flags, "vxlan.flags");
    put(head, 1, 3, group, "vxlan.group");
    put(head, 4, 3, vni, "vxlan.vni");
    put(head, 7, 1, reserved ?? 0, "vxlan.reserved");
    return concat(head, inner);
  },
  read(bytes, at, end) {
    if (at + 8 > end) return undefined;
    const layer = {
      type: "vxlan",
      vni: u24(bytes, at + 4),
      flags: bytes[at] as number,
      group: u24(bytes, at + 1),
      reserved: bytes[at + 7] as number,
    } as const;
    return { layer, at: at + 8, end, next: "ethernet" };
  },
};

/** Geneve. */
export const geneveProtocol: Protocol<"geneve"> = {
  computed: ["protocol"],
  write({ vni, oam, critical, options, protocol }, inner, { next }) {
    const parts = options.map(({ class: owner, kind, data }) => {
      if (data.length % 4 !== 0 || data.length > 124) {
        throw new RangeError("geneve.options need a multiple of 4 bytes up to 124");
      }
      const option = new Uint8Array(4);
      put(option, 0, 2, owner, "geneve.options.class");
      put(option, 2, 1, kind, "geneve.options.kind");
      option[3] = data.length / 4;
      return concat(option, data);
    });
    const all = concat(...parts);
    if (all.length > 252) throw new RangeError("geneve.options have more than 252 bytes");
    const head = new Uint8Array(8);
    head[0] = all.length / 4;
    head[1] = (oam ? 0x80 : 0) | (critical ? 0x40 : 0);
    put(head, 2, 2, protocol ?? etherTypeOf(next) ?? 0x6558, "geneve.protocol");
    put(head, 4, 3, vni, "geneve.vni");
    return concat(head, all, inner);
  },
  read(bytes, at, end) {
    const size = 8 + 4 * ((bytes[at] ?? 0) & 63);
    if (at + size > end || (bytes[at] as number) >> 6 !== 0) return undefined;
    const options: GeneveOption[] = [];
    for (let from = at + 8; from < at + size;) {
      const length = 4 * ((bytes[from + 3] as number) & 31);
      if (from + 4 + length > at + size) return undefined;
      options.push({
        class: u16(bytes, from),
        kind: bytes[from + 2] as number,
        data: bytes.slice(from + 4, from + 4 + length),
      });
      from += 4 + length;
    }
    const protocol = u16(bytes, at + 2);
    const layer = {
      type: "geneve",
      vni: u24(bytes, at + 4),
      oam: ((bytes[at + 1] as number) & 0x80) !== 0,
      critical: ((bytes[at + 1] as number) & 0x40) !== 0,
      options,
      protocol,
    } as const;
    return { layer, at: at + size, end, next: byEtherType(protocol) };
  },
};

const HAS_CHECKSUM = 0x8000;
const HAS_KEY = 0x2000;
const HAS_SEQUENCE = 0x1000;

/** GRE. */
export const greProtocol: Protocol<"gre"> = {
  computed: ["protocol"],
  write({ key, sequence, checksum: given, protocol }, inner, { next }) {
    const words: number[] = [];
    if (given !== undefined) words.push(0);
    if (key !== undefined) words.push(fits(key, 32, "gre.key"));
    if (sequence !== undefined) words.push(fits(sequence, 32, "gre.sequence"));
    const head = new Uint8Array(4 + 4 * words.length);
    const flags = (given === undefined ? 0 : HAS_CHECKSUM) |
      (key === undefined ? 0 : HAS_KEY) | (sequence === undefined ? 0 : HAS_SEQUENCE);
    put(head, 0, 2, flags, "gre");
    put(head, 2, 2, protocol ?? etherTypeOf(next) ?? 0, "gre.protocol");
    for (const [i, word] of words.entries()) put(head, 4 + 4 * i, 4, word, "gre");
    if (given !== undefined) {
      const sum = given === true ? checksum(sum16(head), sum16(inner)) : given;
      put(head, 4, 2, sum, "gre.checksum");
    }
    return concat(head, inner);
  },
  read(bytes, at, end) {
    const flags = u16(bytes, at);
    if (at + 4 > end || (flags & ~(HAS_CHECKSUM | HAS_KEY | HAS_SEQUENCE)) !== 0) {
      return undefined;
    }
    let from = at + 4;
    const word = (): number => {
      from += 4;
      return u32(bytes, from - 4);
    };
    const sum = flags & HAS_CHECKSUM ? word() >>> 16 : undefined;
    const key = flags & HAS_KEY ? word() : undefined;
    const sequence = flags & HAS_SEQUENCE ? word() : undefined;
    if (from > end) return undefined;
    const protocol = u16(bytes, at + 2);
    // The checksum of what follows is 0 where it is right.
    const isRight = sum !== undefined && checksum(sum16(bytes, at, end)) === 0;
    const layer = {
      type: "gre",
      ...(key !== undefined && { key }),
      ...(sequence !== undefined && { sequence }),
      ...(sum !== undefined && { checksum: isRight ? true as const : sum }),
      protocol,
    } as const;
    return { layer, at: from, end, next: byEtherType(protocol) };
  },
};
