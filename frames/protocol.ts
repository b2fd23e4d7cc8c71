// SPDX-License-Identifier: Apache-2.0
/**
 * What a header's reader and writer have in common.
 *
 * @module
 */
import type { Layer, LayerOf, LayerType } from "./layers.ts";

/** Where a layer stands among the others. */
export interface Place {
  /** The layers before it, outermost first. */
  readonly outer: readonly Layer[];
  /** The layer behind it. */
  readonly next: Layer | undefined;
}

/** A header that was read, and what comes behind it. */
export interface Found {
  /** With every field set that the bytes have, computed ones too. */
  readonly layer: Layer;
  /** Where the header ends. */
  readonly at: number;
  /** Where what it carries ends; behind it is padding, which is the layer's. */
  readonly end: number;
  /** What comes next, if it can be told. */
  readonly next?: LayerType | undefined;
}

/** Reader and writer of one header. */
export interface Protocol<T extends LayerType> {
  /** Fields that are computed where they are absent. */
  readonly computed: readonly string[];
  /** The header with `inner` behind it. */
  write(layer: LayerOf<T>, inner: Uint8Array, place: Place): Uint8Array;
  /** Reads the header at `at`; undefined: there is none, or it is cut short. */
  read(
    bytes: Uint8Array,
    at: number,
    end: number,
    outer: readonly Layer[],
  ): Found | undefined;
}

/** EtherType of a layer; undefined where it has none. */
export function etherTypeOf(layer: Layer | undefined): number | undefined {
  switch (layer?.type) {
    case "ipv4":
      return 0x0800;
    case "arp":
      return 0x0806;
    case "ipv6":
      return 0x86dd;
    case "mpls":
      return 0x8847;
    case "ethernet":
      return 0x6558;
    case "vlan":
      return layer.tpid;
    default:
      return undefined;
  }
}

/** The layer that an EtherType says comes next. */
export function byEtherType(type: number): LayerType | undefined {
  switch (type) {
    case 0x0800:
      return "ipv4";
    case 0x0806:
      return "arp";
    case 0x86dd:
      return "ipv6";
    case 0x8847:
    case 0x8848:
      return "mpls";
    case 0x6558:
      return "ethernet";
    case 0x8100:
    case 0x88a8:
      return "vlan";
    default:
      return undefined;
  }
}

/** IP protocol of a layer; undefined where it has none. */
export function protoOf(layer: Layer | undefined): number | undefined {
  switch (layer?.type) {
    case "icmp":
      return 1;
    case "ipv4":
      return 4;
    case "tcp":
      return 6;
    case "udp":
      return 17;
    case "ipv6":
      return 41;
    case "ipv6Fragment":
      return 44;
    case "gre":
      return 47;
    case "icmpv6":
      return 58;
    case "sctp":
      return 132;
    case "ipv6Extension":
      return layer.header;
    default:
      return undefined;
  }
}

/** The layer that an IP protocol says comes next. */
export function byProto(proto: number): LayerType | undefined {
  switch (proto) {
    case 1:
      return "icmp";
    case 4:
      return "ipv4";
    case 6:
      return "tcp";
    case 17:
      return "udp";
    case 41:
      return "ipv6";
    case 44:
      return "ipv6Fragment";
    case 47:
      return "gre";
    case 58:
      return "icmpv6";
    case 132:
      return "sctp";
    case 0:
    case 43:
    case 60:
      return "ipv6Extension";
    default:
      return undefined;
  }
}
