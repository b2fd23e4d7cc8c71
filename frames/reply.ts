// SPDX-License-Identifier: Apache-2.0
/**
 * The way back: answers to frames, and keys of the other direction.
 *
 * @module
 */
import type { FlowKeyInitFields } from "../providers/types.ts";
import type { Layer, LayerType } from "./layers.ts";
import { type Changes, Packet, parse } from "./packet.ts";

/** How a frame is answered. */
export interface ReplyOptions {
  /**
   * The answerer's MAC address.  Needed where the question was sent to everybody or a group, as ARP
   * requests and solicitations are: otherwise it is the address that the frame was sent to.
   */
  readonly mac?: string;
  /** What else is to be different: `{ dns: { answers } }`. */
  readonly change?: Changes;
}

const SYN = 2;
const FIN = 1;
const ACK = 16;
/** Router no, solicited yes, override yes (RFC 4861). */
const SOLICITED = 0x60000000;

/**
 * The answer to a frame: addresses and ports change sides, TTLs start anew, ARP requests become
 * replies, echo requests echo replies, solicitations advertisements, SYN becomes SYN and ACK, DNS
 * and DHCP requests become answers that say nothing yet.  VLAN tags stay, and so do tunnels.
 * The payload is the same.  Throws `TypeError` where `mac` is missing.
 */
export function replyTo(
  frame: Uint8Array,
  { mac, change = {} }: ReplyOptions = {},
): Uint8Array<ArrayBuffer> {
  const { layers } = parse(frame);
  const own = mac ?? layers.find((layer) => layer.type === "ethernet")?.dst;
  if (own !== undefined && Number.parseInt(own.slice(0, 2), 16) & 1) {
    throw new TypeError(`who answers a frame to ${own}? Give the answerer's "mac"`);
  }
  const carried = layers.at(-1)?.type === "payload" ? layers.at(-1) : undefined;
  const size = carried?.type === "payload" ? carried.bytes.length : 0;
  const answered = layers.map((layer, i) => {
    const isOuter = layers.findIndex(({ type }) => type === layer.type) === i;
    const next = layers[i + 1]?.type;
    // Tunnels go to the same port in both directions.
    if (layer.type === "udp" && (next === "vxlan" || next === "geneve")) {
      return fresh(layer);
    }
    return turned(fresh(layer), isOuter ? own : undefined, size);
  });
  return new Packet(solicited(answered, layers)).with(change).bytes;
}

/** What was computed of a layer is computed anew. */
const stale: ReadonlySet<string> = new Set(["checksum", "length", "raw"]);

function fresh(layer: Layer): Layer {
  const kept = Object.entries(layer).filter(([name]) => !stale.has(name));
  return Object.fromEntries(kept) as unknown as Layer;
}

function turned(layer: Layer, mac: string | undefined, size: number): Layer {
  switch (layer.type) {
    case "ethernet":
      return { ...layer, dst: layer.src, src: mac ?? layer.dst };
    case "arp":
      return {
        ...layer,
        op: layer.op === 1 ? 2 : layer.op,
        sha: mac ?? layer.tha,
        sip: layer.tip,
        tha: layer.sha,
        tip: layer.sip,
      };
    case "ipv4":
      return { ...layer, src: layer.dst, dst: layer.src, ttl: 64 };
    case "ipv6":
      return { ...layer, src: layer.dst, dst: layer.src, hlimit: 64 };
    case "icmp":
      return layer.kind === 8 ? { ...layer, kind: 0 } : layer;
    case "icmpv6":
      return advertised(layer, mac);
    case "tcp": {
      const counted = size + (layer.flags & SYN ? 1 : 0) + (layer.flags & FIN ? 1 : 0);
      return {
        ...layer,
        src: layer.dst,
        dst: layer.src,
        seq: layer.flags & ACK ? layer.ack : 0,
        ack: (layer.seq + counted) % 2 ** 32,
        flags: layer.flags & (SYN | FIN) | ACK,
      };
    }
    case "sctp":
    case "udp":
      return { ...layer, src: layer.dst, dst: layer.src };
    case "dns":
      return { ...layer, response: true };
    case "dhcp":
      return { ...layer, op: layer.op === 1 ? 2 : 1 };
    default:
      return layer;
  }
}

type Icmpv6 = Extract<Layer, { type: "icmpv6" }>;

function advertised(layer: Icmpv6, mac: string | undefined): Icmpv6 {
  if (layer.kind === 128) return { ...layer, kind: 129 };
  if (layer.kind !== 135 || layer.nd === undefined) return layer;
  const { target } = layer.nd;
  const nd = { target, flags: SOLICITED, ...(mac !== undefined && { tll: mac }) };
  return { ...layer, kind: 136, nd };
}

/**
 * The address that answers a solicitation is the one that was asked for, with the hop limit of
 * 255.
 */
function solicited(layers: readonly Layer[], before: readonly Layer[]): Layer[] {
  const at = before.findIndex(({ type }) => type === "icmpv6");
  const asked = before[at];
  if (asked?.type !== "icmpv6" || asked.kind !== 135 || asked.nd === undefined) {
    return [...layers];
  }
  const { target } = asked.nd;
  const own = layers.findIndex(({ type }) => type === "ethernet");
  const mac = layers[own]?.type === "ethernet" ? layers[own].src : undefined;
  return layers.map((layer, i): Layer => {
    if (layer.type === "ipv6" && i < at) return { ...layer, src: target, hlimit: 255 };
    if (i !== at || layer.type !== "icmpv6" || layer.nd === undefined) return layer;
    return { ...layer, nd: { ...layer.nd, ...(mac !== undefined && { tll: mac }) } };
  });
}

/** Kinds of ICMP and ICMPv6 that answer each other. */
const echoes: Readonly<Partial<Record<LayerType, readonly [number, number]>>> = {
  icmp: [8, 0],
  icmpv6: [128, 129],
};

function swapped(part: object, pairs: readonly (readonly [string, string])[]): object {
  const record = part as Readonly<Record<string, unknown>>;
  const made: Record<string, unknown> = { ...record };
  for (const [left, right] of pairs) {
    for (const [to, from] of [[left, right], [right, left]] as const) {
      if (record[from] !== undefined) made[to] = record[from];
      else delete made[to];
    }
  }
  return made;
}

const sides = [["src", "dst"]] as const;

/**
 * The key of packets that go the other way: addresses and ports change sides, echo requests and
 * replies each other's kind.  Metadata, `inPort` too, stays as it is.
 */
export function reverse<Key extends FlowKeyInitFields>(key: Key): Key {
  const made: Record<string, unknown> = { ...key };
  for (const name of ["ethernet", "ipv4", "ipv6", "tcp", "udp", "sctp"] as const) {
    const part = key[name];
    if (part !== undefined) made[name] = swapped(part, sides);
  }
  if (key.arp !== undefined) {
    made.arp = swapped(key.arp, [["sha", "tha"], ["sip", "tip"]]);
  }
  for (const name of ["ctTuple4", "ctTuple6"] as const) {
    const part = key[name];
    if (part !== undefined) {
      made[name] = swapped(part, [["src", "dst"], ["srcPort", "dstPort"]]);
    }
  }
  if (key.tunnel !== undefined) {
    made.tunnel = swapped(key.tunnel, [["src", "dst"], ["ipv6Src", "ipv6Dst"]]);
  }
  for (const name of ["icmp", "icmpv6"] as const) {
    const part = key[name];
    const pair: readonly number[] = echoes[name] ?? [];
    const at = pair.indexOf(part?.type ?? -1);
    if (part !== undefined && at >= 0) made[name] = { ...part, type: pair[1 - at] };
  }
  return made as Key;
}
