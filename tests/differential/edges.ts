// SPDX-License-Identifier: Apache-2.0
/**
 * Where this userspace datapath does otherwise than Open vSwitch's, and why: one row each, with
 * what either does. `edges_test.ts` holds both to it, and `tests/system/edges_test.ts` the kernel,
 * which decides most of them.
 *
 * @module
 */
import { be32, bytes, ethernet, neighbourFrame, udpFrame } from "../support/frames.ts";

/**
 * What left by ports 2 and 3, each frame as its length and the last byte of its destination:
 * `60:02`.
 */
export type Sent = readonly [two: readonly string[], three: readonly string[]];

/** A row of the table. */
export interface Edge {
  readonly name: string;
  /** Keys without in_port, and actions. */
  readonly flows: readonly (readonly [key: string, actions: string])[];
  /** Comes in by port 1. */
  readonly frame: Uint8Array;
  readonly ours: Sent;
  /** Open vSwitch 3.1; absent: the same. */
  readonly theirs?: Sent;
  /** Linux 6.1; absent: as ours; null: it has no such thing. */
  readonly kernel?: Sent | null;
  /** Why ours is as it is. */
  readonly reason: string;
}

/** A frame as {@linkcode Sent} shows it. */
export function shown(frame: Uint8Array): string {
  return `${frame.length}:${frame.subarray(5, 6).toHex()}`;
}

const ip = "eth(),eth_type(0x0800),ipv4(frag=no)";
const chain = (length: number): Edge["flows"] =>
  Array.from({ length: length + 1 }, (_, i) => [
    `recirc_id(${i}),${ip}`,
    i === length ? "2" : `recirc(${i + 1})`,
  ]);
const readdress = "set(eth(dst=02:00:00:00:00:99)),2";
const twice = (first: string): Edge["flows"] => [
  [`recirc_id(0),${ip}`, first],
  [`recirc_id(1),${ip}`, readdress],
];
const later =
  "packets are looked up again together when the lists of a burst have come to their end: what a list " +
  "sends itself leaves first, where Open vSwitch and the kernel interrupt the list";

/** 42 bytes of headers, padded to 60. */
const padded = bytes(udpFrame({ payload: new Uint8Array() }), new Uint8Array(18));
const long = udpFrame({ payload: new Uint8Array(100) });
const lengthReason =
  "the length of a packet is that of what leaves, its padding included, as in the kernel";

/** A solicitation without options. */
function solicitation(): Uint8Array {
  const frame = neighbourFrame().slice(0, 14 + 40 + 24);
  frame[14 + 5] = 24;
  return frame;
}

const nd = "eth(),eth_type(0x86dd),ipv6(proto=58,frag=no),icmpv6(type=135,code=0)";
const mpls = "eth(),eth_type(0x8847)";
/** Label stack entries without a bottom. */
const stack = (size: number): Uint8Array =>
  ethernet(
    0x8847,
    bytes(
      ...Array.from({ length: size }, (_, i) => be32(0x5040 + (i << 12))),
      new Uint8Array(46),
    ),
  );

export const edges: readonly Edge[] = [
  {
    name: "six recirculations",
    flows: chain(6),
    frame: udpFrame(),
    ours: [["60:02"], []],
    reason: "everybody has six",
  },
  {
    name: "eight recirculations",
    flows: chain(8),
    frame: udpFrame(),
    ours: [["60:02"], []],
    theirs: [[], []],
    reason:
      "Open vSwitch 3.1 stops after six and later ones after eight; the kernel has ten",
  },
  {
    name: "nine recirculations",
    flows: chain(9),
    frame: udpFrame(),
    ours: [[], []],
    kernel: [["60:02"], []],
    reason: "there is an end, as in later Open vSwitch",
  },
  {
    name: "output behind recirculation",
    flows: twice("recirc(1),2"),
    frame: udpFrame(),
    ours: [["60:02", "60:99"], []],
    theirs: [["60:99", "60:02"], []],
    kernel: [["60:99", "60:02"], []],
    reason: later,
  },
  {
    name: "output around recirculation",
    flows: twice("2,recirc(1),2"),
    frame: udpFrame(),
    ours: [["60:02", "60:02", "60:99"], []],
    theirs: [["60:02", "60:99", "60:02"], []],
    kernel: [["60:02", "60:99", "60:02"], []],
    reason: later,
  },
  {
    name: "recirculation in a clone",
    flows: twice("clone(recirc(1)),2"),
    frame: udpFrame(),
    ours: [["60:02", "60:99"], []],
    theirs: [["60:99", "60:02"], []],
    kernel: [["60:99", "60:02"], []],
    reason: later,
  },
  {
    name: "check_pkt_len of a padded packet",
    flows: [[`recirc_id(0),${ip}`, "check_pkt_len(size=59,gt(2),le(3))"]],
    frame: padded,
    ours: [["60:02"], []],
    theirs: [[], ["60:02"]],
    reason: lengthReason,
  },
  {
    name: "check_pkt_len at the length of a padded packet",
    flows: [[`recirc_id(0),${ip}`, "check_pkt_len(size=60,gt(2),le(3))"]],
    frame: padded,
    ours: [[], ["60:02"]],
    reason: lengthReason,
  },
  {
    name: "trunc before a port that does not exist",
    flows: [[`recirc_id(0),${ip}`, "trunc(40),99,2,3"]],
    frame: long,
    ours: [["142:02"], ["142:02"]],
    theirs: [["40:02"], ["142:02"]],
    reason: "the next output is cut, whatever becomes of it, as in the kernel",
  },
  {
    name: "a mask of nd_ext that must be zero, and a solicitation without options",
    flows: [[`${nd},nd(),nd_ext(nd_reserved=0x0,nd_options_type=0)`, "2"]],
    frame: solicitation(),
    ours: [["78:02"], []],
    kernel: null,
    reason: "it is matched alike; in the text of Open vSwitch it cannot be seen",
  },
  {
    name: "three labels without a bottom of stack",
    flows: [[
      `${mpls},mpls(label=5,tc=0,ttl=64,bos=0,label=6,tc=0,ttl=64,bos=0,label=7,tc=0,ttl=64,bos=0)`,
      "2",
    ]],
    frame: stack(3),
    ours: [["72:02"], []],
    kernel: [[], []],
    reason:
      "three labels are all that a key has; the kernel goes on to look for the bottom",
  },
  {
    name: "one label without a bottom of stack",
    flows: [[`${mpls},mpls(label=5,tc=0,ttl=64,bos=0)`, "2"]],
    frame: stack(1),
    ours: [[], []],
    reason:
      "such a key is refused, as in Open vSwitch, and no packet of the kernel's has it: what follows a " +
      "label that is not the last is one too",
  },
];
