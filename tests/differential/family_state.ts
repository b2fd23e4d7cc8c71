// SPDX-License-Identifier: Apache-2.0
/**
 * What is known of a packet at a place in the lists of families.ts: the frames that it begins as,
 * the key that it has then, and frames at random.
 *
 * @module
 */
import { extractKey } from "../odp/frames.ts";
import { be16, be32, bytes, ethernet, tagged } from "../support/frames.ts";
import {
  arpFrame,
  icmpFrame,
  neighbourFrame,
  tcpFrame,
  udpFrame,
} from "../support/frames.ts";
import { type Random, random, randomBytes } from "../support/random.ts";

export interface Tag {
  readonly tpid: number;
  readonly vid: number;
  readonly pcp: number;
}

/** What is known of a packet at a place in its lists. */
export interface State {
  header: "ethernet" | "none";
  /** Outermost first. */
  tags: Tag[];
  type: number;
  /** Of IP, with what a key must say of it. */
  proto: number | undefined;
  nd: boolean;
  /** Whether each label, outermost first, is the bottom of the stack. */
  labels: boolean[];
  /** What is below the labels, or the service headers. */
  inner: State[];
  /**
   * Of what is below: its Ethernet header, if it has one, is behind the label and not before it.
   */
  whole: boolean;
  /** Metadata that was set. */
  mark: string | undefined;
  priority: string | undefined;
  /** False where only another lookup tells what the packet is. */
  sure: boolean;
  /** Whether Open vSwitch still knows where the layers are. */
  placed: boolean;
  /** Behind pop_nsh it does not see any header, until the packet is looked up again. */
  blind: boolean;
}

export const IPV4 = 0x0800;
export const IPV6 = 0x86dd;
export const ARP = 0x0806;
export const MPLS = 0x8847;
export const NSH = 0x894f;

export const hex = (value: number, width = 4) =>
  `0x${value.toString(16).padStart(width, "0")}`;

/** Frames to begin with. */
export const frames: readonly Uint8Array[] = [
  udpFrame(),
  udpFrame({ payload: new Uint8Array(100).fill(3) }),
  tcpFrame(),
  icmpFrame(),
  arpFrame(),
  neighbourFrame(),
  udpFrame({ version: 6 }),
  tcpFrame({ version: 6, payload: new Uint8Array(71).fill(9) }),
  tagged(udpFrame(), 0x2064),
  tagged(tcpFrame({ version: 6 }), 8, 0x88a8),
  tagged(tagged(tcpFrame(), 7), 0x6003, 0x88a8),
  ethernet(MPLS, bytes(be32(0x5140), new Uint8Array(46).fill(0x45))),
  ethernet(
    MPLS,
    bytes(be32(0x50a0), be32(0x60ff), be32(0x7104), new Uint8Array(38).fill(1)),
  ),
  ethernet(0x88b5, new Uint8Array(46).fill(2)),
  ethernet(
    NSH,
    bytes(Uint8Array.fromHex("0fc60103001234ff"), new Uint8Array(16).fill(7), udpFrame()),
  ),
  ethernet(
    NSH,
    bytes(
      Uint8Array.fromHex("1fc40201001234fe"),
      new Uint8Array(8).fill(5),
      udpFrame().subarray(14),
    ),
  ),
];

/** What is behind the service header of an untagged frame: a frame, or a packet of IPv4. */
function insideOf(frame: Uint8Array): State {
  const inside = frame.subarray(14 + 4 * ((frame[15] as number) & 63));
  return frame[17] === 3
    ? stateOf(inside)
    : { ...stateOf(ethernet(IPV4, inside)), header: "none" };
}

export function stateOf(frame: Uint8Array): State {
  const key = extractKey(frame, { inPort: 1 });
  return {
    header: "ethernet",
    tags: (key.vlans ?? []).map((tag) => ({
      tpid: tag.tpid,
      vid: tag.vid,
      pcp: tag.pcp,
    })),
    type: key.etherType ?? 0,
    proto: key.ipv4?.proto ?? key.ipv6?.proto,
    nd: key.nd !== undefined,
    labels: (key.mpls ?? []).map(({ bos }) => bos === 1),
    inner: key.nsh === undefined ? [] : [insideOf(frame)],
    whole: false,
    mark: undefined,
    priority: undefined,
    sure: true,
    placed: true,
    blind: false,
  };
}

/**
 * The key that packets in this state have, as far as prerequisites go; undefined: text has no such.
 */
export function keyText(state: State): string | undefined {
  const layers = layerText(state);
  if (layers === undefined) return undefined;
  const metadata = (state.mark && `skb_mark(${state.mark}),` || "") +
    (state.priority && `skb_priority(${state.priority}),` || "");
  if (state.header === "none") {
    return `${metadata}packet_type(ns=1,id=${hex(state.type)}),${layers}`;
  }
  const opened = state.tags.map(({ tpid, vid, pcp }) =>
    `eth_type(${hex(tpid)}),vlan(vid=${vid},pcp=${pcp}),encap(`
  );
  return `${metadata}eth(),${opened.join("")}${layers}${")".repeat(opened.length)}`;
}

function layerText({ type, proto, nd, labels }: State): string | undefined {
  const head = `eth_type(${hex(type)})`;
  if (type === IPV4 || type === IPV6) {
    const ip = type === IPV4 ? "ipv4" : "ipv6";
    const l4 = proto === 6
      ? ",tcp(src=0/0)"
      : proto === 17
      ? ",udp(src=0/0)"
      : proto === 1
      ? ",icmp(type=0/0)"
      : nd
      ? ",icmpv6(type=135,code=0),nd()"
      : ",icmpv6(type=0/0)";
    return `${head},${ip}(proto=${proto},frag=no)${l4}`;
  }
  if (type === ARP) return `${head},arp()`;
  if (type === NSH) return `${head},nsh()`;
  if (type !== MPLS) return head;
  const seen = labels.slice(0, 3);
  if (!seen.includes(true) && seen.length < 3) return undefined;
  const lses = seen.map((bos) => `label=0/0x0,tc=0/0,ttl=0/0x0,bos=${bos ? 1 : 0}/1`);
  return `${head},mpls(${lses.join()})`;
}

export const copyOf = (state: State): State => ({
  ...state,
  tags: [...state.tags],
  labels: [...state.labels],
  inner: [...state.inner],
});

export const mac = (next: Random) =>
  `02:${randomBytes(next, 5).toHex().replace(/..\B/g, "$&:")}`;

/** The key that a flow for a frame needs. */
export const keyOf = (frame: Uint8Array): string => keyText(stateOf(frame)) as string;

/** A service header, right or nearly so, and what is behind it. */
function serviceFrame(next: Random): Uint8Array {
  const kind = next(8) === 0 ? next(256) : 1 + next(2);
  const words = next(6) === 0 ? next(64) : kind === 1 ? 6 : 2 + next(20);
  const version = next(12) === 0 ? next(4) : 0;
  const head = version << 14 | next(4) << 12 | next(64) << 6 | words;
  const body = randomBytes(next, next(10) === 0 ? next(30) : 6 + 4 * words + next(60));
  const nsh = bytes(be16(head), Uint8Array.of(kind, next(6)), body);
  const frame = ethernet(NSH, nsh);
  return next(4) === 0
    ? tagged(frame, next(65536), next(2) === 0 ? 0x8100 : 0x88a8)
    : frame;
}

/** A frame at random: half of them with a service header, the others changed, cut or extended. */
export function randomFrame(seed: number): Uint8Array {
  const next = random(Math.imul(seed + 1, 0x9e3779b1));
  for (let i = 0; i < 8; i++) next(2);
  if (next(2) === 0) return serviceFrame(next);
  const frame = (frames[next(frames.length)] as Uint8Array).slice();
  for (let n = next(4); n > 0; n--) frame[12 + next(frame.length - 12)] = next(256);
  if (next(4) === 0) return frame.slice(0, 14 + next(frame.length - 13));
  return next(4) === 0 ? bytes(frame, randomBytes(next, next(40))) : frame;
}
