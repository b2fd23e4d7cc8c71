// SPDX-License-Identifier: Apache-2.0
/**
 * `OVS_CT_ATTR_*` and `OVS_NAT_ATTR_*`: the nests of the action `ct`.
 *
 * @module
 */

import type {
  CtAction,
  CtLabelsValue,
  CtMarkValue,
  NatAction,
  UnknownAttribute,
} from "../../types.ts";
import { AttributeSet, line } from "../attributes.ts";
import { type Codec, flag, one, StringCodec, StructCodec } from "../../codec/codec.ts";
import { ipv4, ipv6, u128, u32x } from "../../codec/leaf.ts";
import type { Writer } from "../../codec/writer.ts";

/** An address of 4 or 16 bytes. */
class AnyAddressCodec implements Codec<string> {
  readonly min = 4;
  readonly max = 16;

  read(bytes: Uint8Array, at: number, size: number): string {
    if (size !== 4 && size !== 16) {
      throw new RangeError(`${size} bytes are no IP address`);
    }
    return (size === 4 ? ipv4 : ipv6).get(bytes, at);
  }

  write(writer: Writer, value: string, what: string): void {
    const leaf = typeof value === "string" && value.includes(":") ? ipv6 : ipv4;
    const at = writer.alloc(leaf.size);
    leaf.put(writer.bytes, at, value, what);
  }

  readMask(): never {
    throw new TypeError("an address of NAT has no mask");
  }

  writeMask(): never {
    throw new TypeError("an address of NAT has no mask");
  }
}

/** The attributes of the nest `nat`. */
interface NatNest extends Omit<NatAction, "kind"> {
  readonly src?: boolean;
  readonly dst?: boolean;
  readonly unknown?: readonly UnknownAttribute[];
}

const address = new AnyAddressCodec();

/** Codec of the attributes within `nat`. */
export const natNest: AttributeSet<NatNest> = new AttributeSet<NatNest>("nat", {
  src: line(1, flag, "src"),
  dst: line(2, flag, "dst"),
  min: line(3, address),
  max: line(4, address),
  portMin: line(5, one.u16),
  portMax: line(6, one.u16),
  persistent: line(7, flag, "persistent"),
  hash: line(8, flag, "hash"),
  random: line(9, flag, "random"),
});

/** A {@linkcode NatAction}: which side is a word here and two flags on the wire. */
class NatCodec implements Codec<NatAction> {
  readonly min = 0;
  readonly max = 0xfffb;

  read(bytes: Uint8Array, at: number, size: number): NatAction {
    const { src, dst, ...rest } = natNest.read(bytes, at, size);
    // The kernel answers ERANGE to both; there is no word for it.
    if (src && dst) throw new RangeError("NAT of source and destination at once");
    if (src) return { kind: "src", ...rest };
    return dst ? { kind: "dst", ...rest } : rest;
  }

  write(writer: Writer, value: NatAction, what: string): void {
    const { kind, ...rest } = value;
    if (kind !== undefined && kind !== "src" && kind !== "dst") {
      throw new TypeError(
        `${what}.kind must be "src" or "dst": current value is ${kind}`,
      );
    }
    const side: NatNest = kind === "src" ? { src: true } : kind ? { dst: true } : {};
    natNest.write(writer, { ...side, ...rest }, what);
  }

  readMask(): never {
    throw new TypeError("NAT has no mask");
  }

  writeMask(): never {
    throw new TypeError("NAT has no mask");
  }
}

/** Codec of the nest `nat`. */
export const nat: Codec<NatAction> = new NatCodec();

/** `u32` value and mask. */
export const ctMark: StructCodec<CtMarkValue> = new StructCodec("ct.mark", 8, {
  value: { at: 0, leaf: u32x },
  mask: { at: 4, leaf: u32x },
});

/** 128-bit value and mask. */
export const ctLabels: StructCodec<CtLabelsValue> = new StructCodec("ct.labels", 32, {
  value: { at: 0, leaf: u128 },
  mask: { at: 16, leaf: u128 },
});

/** Codec of the nest `ct`, in the order of Open vSwitch. */
export const ctNest: AttributeSet<Omit<CtAction, "type">> = new AttributeSet<
  Omit<CtAction, "type">
>("ct", {
  commit: line(1, flag, "commit"),
  forceCommit: line(7, flag, "force_commit"),
  zone: line(2, one.u16, "zone"),
  mark: line(3, ctMark, "mark"),
  labels: line(4, ctLabels, "label"),
  // Linux: NF_CT_HELPER_NAME_LEN and CTNL_TIMEOUT_NAME_MAX, both with the NUL.
  helper: line(5, new StringCodec(16), "helper"),
  timeout: line(9, new StringCodec(32), "timeout"),
  nat: line(6, nat, "nat"),
  eventMask: line(8, one.u32x, ""),
});
