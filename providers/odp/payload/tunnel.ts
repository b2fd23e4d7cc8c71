// SPDX-License-Identifier: Apache-2.0
/**
 * `OVS_TUNNEL_KEY_ATTR_*`: the nest of a tunnel key, with Geneve, VXLAN, ERSPAN and GTP-U.
 *
 * @module
 */

import type { Erspan, GeneveOption, Gtpu, TunnelKey, VxlanGbp } from "../../types.ts";
import { AttributeSet, type AttributeTable, find, line } from "../attributes.ts";
import { type Codec, flag, one, StructCodec } from "../../codec/codec.ts";
import {
  be16,
  be32,
  bits,
  hardwareIdHigh,
  hardwareIdLow,
  u16,
  u8,
  u8x,
  wrong,
} from "../../codec/leaf.ts";
import type { Writer } from "../../codec/writer.ts";

/**
 * `OVS_VPORT_TYPE_*`: kinds of vports and tunnels. 3 to 5 are older than tunnel devices with
 * metadata, and numbers above 100 are Open vSwitch's own.
 */
export const VportType = {
  netdev: 1,
  internal: 2,
  gre: 3,
  vxlan: 4,
  geneve: 5,
  erspan: 107,
  ip6erspan: 108,
  ip6gre: 109,
  gtpu: 110,
  srv6: 112,
} as const;

/** Bytes of a Geneve option's header: class, type, length in words. */
const OPTION_HEADER = 4;
/** Bits of the header's last byte that are the length. */
const LENGTH_MASK = 0x1f;

/** Geneve options as they are on the wire. */
class GeneveCodec implements Codec<readonly GeneveOption[]> {
  readonly min = 0;
  readonly max = 255;

  read(bytes: Uint8Array, at: number, size: number): readonly GeneveOption[] {
    return this.#options(bytes, at, size, bytes.subarray(at, at + size));
  }

  write(writer: Writer, options: readonly GeneveOption[], what: string): void {
    this.#append(writer, options, what, false);
  }

  readMask(bytes: Uint8Array, at: number, size: number, shape?: Uint8Array): unknown {
    const lengths = shape !== undefined && shape.length === size ? shape : undefined;
    return this.#options(bytes, at, size, lengths);
  }

  writeMask(writer: Writer, mask: unknown, what: string, shape?: Uint8Array): void {
    if (mask !== true) {
      return this.#append(writer, mask as readonly GeneveOption[], what, true);
    }
    const start = writer.alloc(shape?.length ?? 0);
    writer.bytes.fill(0xff, start, writer.at);
    // The bits above the length are reserved: OVS masks 0x1f and no more.
    let at = 0;
    while (shape !== undefined && at + OPTION_HEADER <= shape.length) {
      writer.bytes[start + at + 3] = LENGTH_MASK;
      at += OPTION_HEADER + 4 * ((shape[at + 3] as number) & LENGTH_MASK);
    }
  }

  named(options: unknown): unknown {
    if (!Array.isArray(options)) throw wrong("geneve", "an array", options);
    return (options as readonly Partial<GeneveOption>[]).map((option) => ({
      class: option.class === undefined ? 0 : true,
      type: option.type === undefined ? 0 : true,
      data: new Uint8Array(option.data?.length ?? 0).fill(0xff),
    }));
  }

  /** `lengths` has the length of each option: the options themselves, or those of the key. */
  #options(
    bytes: Uint8Array,
    at: number,
    size: number,
    lengths: Uint8Array | undefined = bytes,
  ): GeneveOption[] {
    const options: GeneveOption[] = [];
    for (let i = 0; i < size;) {
      if (i + OPTION_HEADER > size) {
        throw new RangeError(`Geneve option is cut off after ${size - i} bytes`);
      }
      const words = (lengths[i + 3] as number) & LENGTH_MASK;
      const next = i + OPTION_HEADER + 4 * words;
      if (next > size) {
        throw new RangeError(`Geneve option of ${words} words exceeds the options`);
      }
      options.push({
        class: be16.get(bytes, at + i),
        type: bytes[at + i + 2] as number,
        data: bytes.slice(at + i + OPTION_HEADER, at + next),
      });
      i = next;
    }
    return options;
  }

  #append(
    writer: Writer,
    options: readonly GeneveOption[],
    what: string,
    isMask: boolean,
  ): void {
    if (!Array.isArray(options)) throw wrong(what, "an array", options);
    const first = writer.at;
    for (const option of options as readonly GeneveOption[]) {
      const data = option.data ?? new Uint8Array();
      if (data.length % 4 !== 0 || data.length > 4 * LENGTH_MASK) {
        throw new RangeError(
          `${what}.data must have a multiple of 4 bytes up to 124: it has ${data.length}`,
        );
      }
      const at = writer.alloc(OPTION_HEADER);
      const bytes = writer.bytes;
      if (isMask) {
        be16.putMask(bytes, at, option.class ?? 0, `${what}.class`);
        u8.putMask(bytes, at + 2, option.type ?? 0, `${what}.type`);
        bytes[at + 3] = LENGTH_MASK;
      } else {
        be16.put(bytes, at, option.class ?? 0, `${what}.class`);
        u8.put(bytes, at + 2, option.type ?? 0, `${what}.type`);
        bytes[at + 3] = data.length / 4;
      }
      writer.append(data);
    }
    if (writer.at - first > this.max) {
      throw new RangeError(
        `${what} must have at most 255 bytes: they have ${writer.at - first}`,
      );
    }
  }
}

/** Group policy as the kernel packs it: id in the low half, flags above. */
export const vxlanGbp: StructCodec<VxlanGbp> = new StructCodec("vxlanGbp", 4, {
  id: { at: 0, leaf: u16 },
  flags: { at: 2, leaf: u8x },
});

/** `OVS_VXLAN_EXT_GBP` */
export const VXLAN_EXT_GBP = 1;

/** The nest of VXLAN options, of which there is one. */
class VxlanCodec implements Codec<VxlanGbp> {
  readonly min = 0;
  readonly max = 0xfffb;

  read(bytes: Uint8Array, at: number, size: number): VxlanGbp {
    const gbp = find(bytes.subarray(at, at + size), VXLAN_EXT_GBP);
    if (gbp === undefined || gbp.length !== 4) {
      throw new RangeError("VXLAN options lack a group policy of 4 bytes");
    }
    return vxlanGbp.read(gbp, 0);
  }

  write(writer: Writer, value: VxlanGbp, what: string): void {
    const start = writer.begin(VXLAN_EXT_GBP);
    vxlanGbp.write(writer, value);
    writer.end(start, what);
  }

  readMask(bytes: Uint8Array, at: number, size: number): unknown {
    return this.read(bytes, at, size);
  }

  writeMask(writer: Writer, mask: unknown, what: string): void {
    const start = writer.begin(VXLAN_EXT_GBP);
    vxlanGbp.writeMask(writer, mask);
    writer.end(start, what);
  }

  named(value: unknown): unknown {
    return vxlanGbp.named(value);
  }
}

/** Direction in the last byte of ERSPAN version 2 (`struct erspan_md2`). */
const direction = bits(1, 3, 1);

/**
 * `struct erspan_metadata`: a version in host order, then a union.  In version 2 the eight
 * bytes are a time stamp (4), a security group tag (2), and two bytes with bit fields:
 * `P FFFFF hh` and `HHHH D OO T`.
 */
class ErspanCodec implements Codec<Erspan> {
  readonly min = 8;
  readonly max = 12;

  read(bytes: Uint8Array, at: number, size: number): Erspan {
    const version = bytes[at] as number;
    if (version === 1) return { version, index: be32.get(bytes, at + 4) };
    if (version !== 2 || size < 12) throw new RangeError("ERSPAN version is not 1 or 2");
    return this.#version2(bytes, at);
  }

  write(writer: Writer, value: Erspan, what: string): void {
    const at = writer.alloc(12);
    const bytes = writer.bytes;
    bytes[at] = value.version;
    if (value.version === 1) {
      be32.put(bytes, at + 4, value.index ?? 0, `${what}.index`);
    } else if (value.version === 2) {
      direction.put(bytes, at + 11, value.direction ?? 0, `${what}.direction`);
      this.#putHardwareId(bytes, at, value.hardwareId ?? 0, what);
    } else {
      throw new RangeError(`${what}.version must be 1 or 2: it is ${value.version}`);
    }
  }

  readMask(bytes: Uint8Array, at: number, size: number, shape?: Uint8Array): unknown {
    const version = bytes[at] as number;
    const kind = shape?.[0] ?? (version === 1 || version === 2 ? version : 0);
    const first = be32.get(bytes, at + 4);
    if (kind === 1 || (kind === 0 && first !== 0)) return { version, index: first };
    return size < 12 ? { version } : { ...this.#version2(bytes, at), version };
  }

  writeMask(writer: Writer, mask: unknown, what: string, shape?: Uint8Array): void {
    const at = writer.alloc(12);
    const bytes = writer.bytes;
    const m =
      (mask === true
        ? { version: 255, index: true, direction: true, hardwareId: true }
        : mask) as { [K in keyof Erspan]?: number | true };
    u8.putMask(bytes, at, m.version ?? 0, `${what}.version`);
    const kind = shape?.[0] ?? (m.index === undefined ? 2 : 1);
    if (kind === 1) {
      be32.putMask(bytes, at + 4, m.index ?? 0, `${what}.index`);
    } else {
      direction.putMask(bytes, at + 11, m.direction ?? 0, `${what}.direction`);
      const id = m.hardwareId === true ? 0x3f : m.hardwareId ?? 0;
      this.#putHardwareId(bytes, at, id, what);
    }
  }

  named(value: unknown): unknown {
    const mask: Record<string, true> = {};
    for (const [name, part] of Object.entries(value as Partial<Erspan>)) {
      if (part !== undefined) mask[name] = true;
    }
    return mask;
  }

  #version2(bytes: Uint8Array, at: number): Erspan {
    return {
      version: 2,
      direction: direction.get(bytes, at + 11),
      hardwareId: hardwareIdHigh.get(bytes, at + 10) << 4 |
        hardwareIdLow.get(bytes, at + 11),
    };
  }

  #putHardwareId(bytes: Uint8Array, at: number, id: number, what: string): void {
    u8.put(new Uint8Array(1), 0, id <= 0x3f ? id : -1, `${what}.hardwareId`);
    hardwareIdHigh.poke(bytes, at + 10, id >>> 4);
    hardwareIdLow.poke(bytes, at + 11, id & 15);
  }
}

/** Metadata of GTP-U. */
export const gtpu: StructCodec<Gtpu> = new StructCodec("gtpu", 2, {
  flags: { at: 0, leaf: u8x },
  messageType: { at: 1, leaf: u8, text: "msgtype" },
});

/**
 * `OVS_TUNNEL_KEY_ATTR_*`, in the order in which Open vSwitch writes them.
 *
 * Id 16 forks: the kernel has the flag IPV4_INFO_BRIDGE there, Open vSwitch's userspace has
 * two bytes of GTP-U.  The payload's size tells them apart.
 */
const table: AttributeTable<TunnelKey> = {
  id: line(0, one.be64, "tun_id"),
  src: line(1, one.ipv4, "src"),
  dst: line(2, one.ipv4, "dst"),
  ipv6Src: line(12, one.ipv6, "ipv6_src"),
  ipv6Dst: line(13, one.ipv6, "ipv6_dst"),
  tos: line(3, one.u8x, "tos"),
  ttl: line(4, one.u8, "ttl"),
  dontFragment: line(5, flag, "df", "exact"),
  checksum: line(6, flag, "csum", "exact"),
  srcPort: line(9, one.be16, "tp_src"),
  dstPort: line(10, one.be16, "tp_dst"),
  oam: line(7, flag, "oam", "exact"),
  vxlanGbp: line(11, new VxlanCodec(), "vxlan"),
  geneve: line(8, new GeneveCodec(), "geneve"),
  erspan: line(15, new ErspanCodec(), "erspan"),
  gtpu: line(16, gtpu, "gtpu", "any", "netdev"),
  infoBridge: line(16, flag, "", "exact", "kernel"),
};

/** `OVS_TUNNEL_KEY_ATTR_PAD` */
const PAD = 14;

/** The nest of a tunnel key. */
class TunnelSet extends AttributeSet<TunnelKey> {
  /**
   * All of a tunnel key is more than what the nest holds: what the kernel leaves out because
   * it is zero (TOS, ports, flags) must be masked too, or the flow would be wider.
   */
  override writeMask(
    writer: Writer,
    mask: unknown,
    what?: string,
    shape: Uint8Array = new Uint8Array(),
  ): void {
    if (mask !== true) return super.writeMask(writer, mask, what, shape);
    const isIpv6 = find(shape, table.ipv6Dst.id) !== undefined;
    const all: Record<string, true> = isIpv6
      ? { id: true, ipv6Src: true, ipv6Dst: true }
      : { id: true, src: true, dst: true };
    for (const name of ["tos", "ttl", "dontFragment", "checksum", "srcPort", "dstPort"]) {
      all[name] = true;
    }
    all.oam = true;
    for (const { name, id } of this.attributes) {
      const inner = find(shape, id);
      if (inner !== undefined && this.byId(id, inner.length)?.name === name) {
        all[name] = true;
      }
    }
    super.writeMask(writer, all, what, shape);
  }
}

/** Codec of the nest. */
export const tunnelKey: AttributeSet<TunnelKey> = new TunnelSet("tunnel", table, [PAD]);
