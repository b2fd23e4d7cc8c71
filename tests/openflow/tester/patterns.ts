// SPDX-License-Identifier: Apache-2.0
/**
 * Patterns for the tester of os-ken, in its format: each field matched in whole and in part, set,
 * and each action, with the packets that come in and what is to become of them.
 *
 * A packet is told by expressions of os-ken's library, one a header, as the tester evaluates them.
 *
 * @module
 */

/** A pattern as the tester reads it. */
export interface Pattern {
  readonly description: string;
  readonly prerequisite: readonly unknown[];
  readonly tests: readonly unknown[];
}

type Value = string | number;
type Values = Readonly<Record<string, Value>>;

/** What a packet has where a pattern says nothing else. */
const usual = {
  eth_dst: "22:22:22:22:22:22",
  eth_src: "12:11:11:11:11:11",
  vlan_vid: 100,
  vlan_pcp: 3,
  ip_dscp: 8,
  ip_ecn: 1,
  ttl: 64,
  ipv4_src: "192.168.10.10",
  ipv4_dst: "192.168.20.20",
  ipv6_src: "10::10",
  ipv6_dst: "20::20",
  ipv6_flabel: 100,
  sport: 11111,
  dport: 2222,
  icmpv4_type: 8,
  icmpv4_code: 0,
  icmpv6_type: 128,
  icmpv6_code: 0,
  arp_op: 1,
  arp_spa: "192.168.10.10",
  arp_tpa: "192.168.20.20",
  arp_sha: "12:11:11:11:11:11",
  arp_tha: "22:22:22:22:22:22",
  ipv6_nd_target: "fe80::5",
  ipv6_nd_sll: "12:11:11:11:11:11",
  ipv6_nd_tll: "22:22:22:22:22:22",
  mpls_label: 100,
  mpls_tc: 3,
  mpls_bos: 1,
  mpls_ttl: 64,
} as const satisfies Values;

const PAYLOAD = "bytes(b'\\x11' * 30)";
const ECHO = "echo(data=b'\\x01\\x23\\x45\\x67')";

const eth = (v: Values, type: number): string =>
  `ethernet(dst='${v.eth_dst}', src='${v.eth_src}', ethertype=${type})`;
const ip4 = (v: Values, proto: number): string =>
  `ipv4(tos=${Number(v.ip_dscp) << 2 | Number(v.ip_ecn)}, proto=${proto}, ` +
  `src='${v.ipv4_src}', dst='${v.ipv4_dst}', ttl=${v.ttl})`;
const ip6 = (v: Values, next: number, hops = v.ttl): string =>
  `ipv6(traffic_class=${Number(v.ip_dscp) << 2 | Number(v.ip_ecn)}, ` +
  `flow_label=${v.ipv6_flabel}, nxt=${next}, hop_limit=${hops}, ` +
  `src='${v.ipv6_src}', dst='${v.ipv6_dst}')`;
const ports = (v: Values): string => `src_port=${v.sport}, dst_port=${v.dport}`;
const tcp = (v: Values): string => `tcp(${ports(v)}, option=bytes(b'\\x00' * 4))`;
const vlan = (v: Values, type: number): string =>
  `vlan(pcp=${v.vlan_pcp}, cfi=0, vid=${v.vlan_vid}, ethertype=${type})`;
const mpls = (v: Values): string =>
  `mpls(label=${v.mpls_label}, exp=${v.mpls_tc}, bsb=${v.mpls_bos}, ttl=${v.mpls_ttl})`;
const neighbour = (v: Values, type: number, option: string): string =>
  `icmpv6(type_=${type}, code=0, data=nd_neighbor(dst='${v.ipv6_nd_target}', ` +
  `option=${option}))`;

/** Kinds of packets, and what a flow says of them. */
const kinds = {
  tcp4: (v: Values) => [eth(v, 0x0800), ip4(v, 6), tcp(v), PAYLOAD],
  udp4: (v: Values) => [eth(v, 0x0800), ip4(v, 17), `udp(${ports(v)})`, PAYLOAD],
  sctp4: (v: Values) => [
    eth(v, 0x0800),
    ip4(v, 132),
    `sctp(${ports(v)}, chunks=[chunk_data(payload_data=b'\\x01\\x23\\x45\\x67')])`,
  ],
  icmp4: (v: Values) => [
    eth(v, 0x0800),
    ip4(v, 1),
    `icmp(type_=${v.icmpv4_type}, code=${v.icmpv4_code}, csum=0, data=${ECHO})`,
  ],
  tcp6: (v: Values) => [eth(v, 0x86dd), ip6(v, 6), tcp(v), PAYLOAD],
  udp6: (v: Values) => [eth(v, 0x86dd), ip6(v, 17), `udp(${ports(v)})`, PAYLOAD],
  icmp6: (v: Values) => [
    eth(v, 0x86dd),
    ip6(v, 58),
    `icmpv6(type_=${v.icmpv6_type}, code=${v.icmpv6_code}, data=icmpv6${ECHO})`,
  ],
  solicit: (v: Values) => [
    eth(v, 0x86dd),
    ip6(v, 58, 255),
    neighbour(v, 135, `nd_option_sla(hw_src='${v.ipv6_nd_sll}')`),
  ],
  advert: (v: Values) => [
    eth(v, 0x86dd),
    ip6(v, 58, 255),
    neighbour(v, 136, `nd_option_tla(hw_src='${v.ipv6_nd_tll}')`),
  ],
  arp: (v: Values) => [
    eth(v, 0x0806),
    `arp(opcode=${v.arp_op}, src_mac='${v.arp_sha}', src_ip='${v.arp_spa}', ` +
    `dst_mac='${v.arp_tha}', dst_ip='${v.arp_tpa}')`,
    "bytes(b'\\x00' * (60 - 42))",
  ],
  vlan4: (v: Values) => [eth(v, 0x8100), vlan(v, 0x0800), ip4(v, 6), tcp(v), PAYLOAD],
  mpls4: (v: Values) => [eth(v, 0x8847), mpls(v), ip4(v, 6), tcp(v), PAYLOAD],
} as const;

type Kind = keyof typeof kinds;

const about: Readonly<Record<Kind, Values>> = {
  tcp4: { eth_type: 0x0800, ip_proto: 6 },
  udp4: { eth_type: 0x0800, ip_proto: 17 },
  sctp4: { eth_type: 0x0800, ip_proto: 132 },
  icmp4: { eth_type: 0x0800, ip_proto: 1 },
  tcp6: { eth_type: 0x86dd, ip_proto: 6 },
  udp6: { eth_type: 0x86dd, ip_proto: 17 },
  icmp6: { eth_type: 0x86dd, ip_proto: 58 },
  solicit: { eth_type: 0x86dd, ip_proto: 58, icmpv6_type: 135 },
  advert: { eth_type: 0x86dd, ip_proto: 58, icmpv6_type: 136 },
  arp: { eth_type: 0x0806 },
  vlan4: {},
  mpls4: { eth_type: 0x8847 },
};

/** A field that patterns are about. */
interface Line {
  readonly field: string;
  readonly kinds: readonly Kind[];
  /** Its value in packets by name, where that is another one. */
  readonly name?: keyof typeof usual;
  /** Another value: one that does not match, and one that it is set to. */
  readonly other: Value;
  /** A mask and the usual value in it; none if the field takes no mask. */
  readonly mask?: readonly [value: Value, mask: Value];
}

const MAC_MASK = "ff:ff:ff:00:00:00";
const all: readonly Kind[] = ["tcp4", "udp6", "arp"];
const lines: readonly Line[] = [
  {
    ...{ field: "eth_dst", kinds: all, other: "ba:bb:bb:bb:bb:bb" },
    mask: ["22:22:22:00:00:00", MAC_MASK],
  },
  {
    ...{ field: "eth_src", kinds: all, other: "ba:bb:bb:bb:bb:bb" },
    mask: ["12:11:11:00:00:00", MAC_MASK],
  },
  { field: "vlan_vid", kinds: ["vlan4"], other: 203, mask: [0x1060, 0x1060] },
  { field: "vlan_pcp", kinds: ["vlan4"], other: 5 },
  { field: "ip_dscp", kinds: ["tcp4", "udp6"], other: 20 },
  { field: "ip_ecn", kinds: ["udp4", "tcp6"], other: 2 },
  {
    ...{ field: "ipv4_src", kinds: ["tcp4", "icmp4"], other: "10.9.9.9" },
    mask: ["192.168.10.0", "255.255.255.0"],
  },
  {
    ...{ field: "ipv4_dst", kinds: ["udp4", "sctp4"], other: "10.9.9.9" },
    mask: ["192.168.20.0", "255.255.255.0"],
  },
  {
    ...{ field: "ipv6_src", kinds: ["tcp6", "icmp6"], other: "b0::b0" },
    mask: ["10::", "ffff::"],
  },
  {
    ...{ field: "ipv6_dst", kinds: ["udp6"], other: "b0::b0" },
    mask: ["20::", "ffff::"],
  },
  { field: "ipv6_flabel", kinds: ["tcp6"], other: 203, mask: [96, 0xfffe0] },
  { field: "tcp_src", kinds: ["tcp4", "tcp6"], name: "sport", other: 60000 },
  { field: "tcp_dst", kinds: ["tcp4", "tcp6"], name: "dport", other: 60000 },
  { field: "udp_src", kinds: ["udp4", "udp6"], name: "sport", other: 60000 },
  { field: "udp_dst", kinds: ["udp4", "udp6"], name: "dport", other: 60000 },
  { field: "sctp_src", kinds: ["sctp4"], name: "sport", other: 60000 },
  { field: "sctp_dst", kinds: ["sctp4"], name: "dport", other: 60000 },
  { field: "icmpv4_type", kinds: ["icmp4"], other: 0 },
  { field: "icmpv4_code", kinds: ["icmp4"], other: 3 },
  { field: "icmpv6_type", kinds: ["icmp6"], other: 129 },
  { field: "icmpv6_code", kinds: ["icmp6"], other: 3 },
  { field: "arp_op", kinds: ["arp"], other: 2 },
  {
    ...{ field: "arp_spa", kinds: ["arp"], other: "10.9.9.9" },
    mask: ["192.168.10.0", "255.255.255.0"],
  },
  {
    ...{ field: "arp_tpa", kinds: ["arp"], other: "10.9.9.9" },
    mask: ["192.168.20.0", "255.255.255.0"],
  },
  {
    ...{ field: "arp_sha", kinds: ["arp"], other: "ba:bb:bb:bb:bb:bb" },
    mask: ["12:11:11:00:00:00", MAC_MASK],
  },
  {
    ...{ field: "arp_tha", kinds: ["arp"], other: "ba:bb:bb:bb:bb:bb" },
    mask: ["22:22:22:00:00:00", MAC_MASK],
  },
  { field: "ipv6_nd_target", kinds: ["solicit", "advert"], other: "fe80::9" },
  { field: "ipv6_nd_sll", kinds: ["solicit"], other: "ba:bb:bb:bb:bb:bb" },
  { field: "ipv6_nd_tll", kinds: ["advert"], other: "ba:bb:bb:bb:bb:bb" },
  { field: "mpls_label", kinds: ["mpls4"], other: 203 },
  { field: "mpls_tc", kinds: ["mpls4"], other: 5 },
  { field: "mpls_bos", kinds: ["mpls4"], other: 0 },
];

const oxm = (field: string, value: Value, mask?: Value): unknown => ({
  OXMTlv: { field, value, ...(mask === undefined ? {} : { mask }) },
});
const onWire = ({ field }: Line, value: Value): Value =>
  field === "vlan_vid" ? 0x1000 | Number(value) : value;
const output = (port: number): unknown => ({ OFPActionOutput: { port } });
const CONTROLLER = { OFPActionOutput: { port: 0xfffffffd, max_len: 0xffff } };

function flow(
  match: readonly unknown[],
  actions: readonly unknown[],
  more: readonly unknown[] = [],
) {
  return {
    OFPFlowMod: {
      table_id: 0,
      match: { OFPMatch: { oxm_fields: match } },
      instructions: [...more, { OFPInstructionActions: { actions, type: 4 } }],
    },
  };
}

const matchOf = (of: Values): unknown[] =>
  Object.entries(of).map(([field, value]) => oxm(field, value));
const frame = (kind: Kind, values: Values = {}): readonly string[] =>
  kinds[kind]({ ...usual, ...values });

/** Patterns in which a field is matched, in whole or by a mask. */
function* matching(line: Line, kind: Kind, isMasked: boolean): Iterable<Pattern> {
  const { field, name = field as keyof typeof usual, other, mask } = line;
  const term = isMasked && mask !== undefined
    ? oxm(field, ...mask)
    : oxm(field, onWire(line, usual[name]));
  const { [field]: _, ...needs } = about[kind];
  const match = [...matchOf(needs), term];
  const how = `${kind}, ${field}${isMasked ? " by a mask" : ""}`;
  const ingress = frame(kind);
  yield {
    description: `${how}: to a port`,
    prerequisite: [flow(match, [output(2)])],
    tests: [{ ingress, egress: ingress }],
  };
  yield {
    description: `${how}: to the controller`,
    prerequisite: [flow(match, [CONTROLLER])],
    tests: [{ ingress, PACKET_IN: ingress }],
  };
  yield {
    description: `${how}: of another value`,
    prerequisite: [flow(match, [output(2)])],
    tests: [{ ingress: frame(kind, { [name]: other }), "table-miss": [0] }],
  };
}

function setting(line: Line, kind: Kind): Pattern {
  const { field, name = field as keyof typeof usual, other } = line;
  const action = { OFPActionSetField: { field: oxm(field, onWire(line, other)) } };
  // Tags and what is behind a message's type can be set only in packets that surely have them.
  const own = ["vlan_vid", "vlan_pcp", "icmpv6_type"].includes(field)
    ? [oxm("vlan_pcp", usual.vlan_pcp)]
    : [];
  const match = field.startsWith("vlan")
    ? [oxm("vlan_vid", 0x1000 | usual.vlan_vid), ...own]
    : matchOf(about[kind]);
  return {
    description: `${kind}, set ${field}`,
    prerequisite: [flow(match, [action, output(2)])],
    tests: [{ ingress: frame(kind), egress: frame(kind, { [name]: other }) }],
  };
}

/** An action on a kind of packets, and what these become. */
type Act = readonly [
  what: string,
  kind: Kind,
  action: unknown,
  egress: readonly string[],
  more?: readonly unknown[],
];

const v4 = (name: string, fields: object = {}): unknown => ({
  [`OFPAction${name}`]: fields,
});
const [first = "", ...behind] = frame("tcp4");
const tagged = (type: number, tag: string): string[] => [
  first.replace("2048", `${type}`),
  tag,
  ...behind,
];

const acts: readonly Act[] = [
  ["set_nw_ttl", "tcp4", v4("SetNwTtl", { nw_ttl: 9 }), frame("tcp4", { ttl: 9 })],
  ["set_nw_ttl", "udp6", v4("SetNwTtl", { nw_ttl: 9 }), frame("udp6", { ttl: 9 })],
  ["dec_nw_ttl", "tcp4", v4("DecNwTtl"), frame("tcp4", { ttl: 63 })],
  ["dec_nw_ttl", "tcp6", v4("DecNwTtl"), frame("tcp6", { ttl: 63 })],
  [
    "set_mpls_ttl",
    "mpls4",
    v4("SetMplsTtl", { mpls_ttl: 9 }),
    frame("mpls4", { mpls_ttl: 9 }),
  ],
  ["dec_mpls_ttl", "mpls4", v4("DecMplsTtl"), frame("mpls4", { mpls_ttl: 63 })],
  ["copy_ttl_out", "mpls4", v4("CopyTtlOut"), frame("mpls4")],
  ["copy_ttl_in", "mpls4", v4("CopyTtlIn"), frame("mpls4")],
  [
    ...["push_vlan 0x8100", "tcp4"] as const,
    v4("PushVlan", { ethertype: 0x8100 }),
    tagged(0x8100, "vlan(ethertype=2048)"),
  ],
  [
    ...["push_vlan 0x88a8", "tcp4"] as const,
    v4("PushVlan", { ethertype: 0x88a8 }),
    tagged(0x88a8, "svlan(ethertype=2048)"),
  ],
  ["pop_vlan", "vlan4", v4("PopVlan"), frame("tcp4")],
  [
    ...["push_mpls 0x8847", "tcp4"] as const,
    v4("PushMpls", { ethertype: 0x8847 }),
    tagged(0x8847, "mpls(label=0, exp=0, ttl=64)"),
  ],
  [
    ...["push_mpls 0x8848", "tcp4"] as const,
    v4("PushMpls", { ethertype: 0x8848 }),
    tagged(0x8848, "mpls(label=0, exp=0, ttl=64)"),
  ],
  ["pop_mpls", "mpls4", v4("PopMpls", { ethertype: 0x0800 }), frame("tcp4")],
  ["push_pbb", "tcp4", v4("PushPbb", { ethertype: 0x88e7 }), frame("tcp4")],
  ["pop_pbb", "tcp4", v4("PopPbb"), frame("tcp4")],
  ["set_queue", "tcp4", v4("SetQueue", { queue_id: 1 }), frame("tcp4")],
  ["output of another port before", "tcp4", output(3), frame("tcp4")],
];

function acting([what, kind, action, egress]: Act): Pattern {
  const match = what === "pop_vlan"
    ? [oxm("vlan_vid", 0x1000, 0x1000)]
    : what === "pop_mpls"
    ? [...matchOf(about[kind]), oxm("mpls_bos", 1)]
    : matchOf(about[kind]);
  return {
    description: `${kind}, ${what}`,
    prerequisite: [flow(match, [action, output(2)])],
    tests: [{ ingress: frame(kind), egress }],
  };
}

const bucket = (port: number, more: object = {}): unknown => ({
  OFPBucket: { actions: [output(port)], ...more },
});
const groups: readonly (readonly [what: string, group: object])[] = [
  ["all", { type: 0, buckets: [bucket(3), bucket(2)] }],
  ["select", { type: 1, buckets: [bucket(2, { weight: 1 })] }],
  ["indirect", { type: 2, buckets: [bucket(2)] }],
  ["fast failover", { type: 3, buckets: [bucket(2, { watch_port: 2 })] }],
];

function grouping([what, group]: (typeof groups)[number]): Pattern {
  return {
    description: `group of type ${what}`,
    prerequisite: [
      { OFPGroupMod: { group_id: 7, ...group } },
      flow([oxm("in_port", 1)], [{ OFPActionGroup: { group_id: 7 } }]),
    ],
    tests: [{ ingress: frame("tcp4"), egress: frame("tcp4") }],
  };
}

const bands: readonly (readonly [what: string, flags: number, band: unknown])[] = [
  ["drops by kbps", 1, { OFPMeterBandDrop: { rate: 10_000, burst_size: 0 } }],
  ["drops by packets", 2, { OFPMeterBandDrop: { rate: 10_000, burst_size: 0 } }],
  ["drops behind a burst", 5, { OFPMeterBandDrop: { rate: 1000, burst_size: 500 } }],
  [
    ...["remarks", 1] as const,
    { OFPMeterBandDscpRemark: { rate: 1000, burst_size: 0, prec_level: 1 } },
  ],
];

function metering([what, flags, band]: (typeof bands)[number]): Pattern {
  const meter = { OFPInstructionMeter: { meter_id: 1 } };
  return {
    description: `meter that ${what}`,
    prerequisite: [
      { OFPMeterMod: { meter_id: 1, flags, bands: [band] } },
      flow([oxm("in_port", 1)], [output(2)], [meter]),
    ],
    tests: [{ ingress: frame("udp4"), egress: frame("udp4") }],
  };
}

/** Files of patterns by their names. */
export function patternFiles(): ReadonlyMap<string, readonly Pattern[]> {
  const match: Pattern[] = [];
  const set: Pattern[] = [];
  for (const line of lines) {
    for (const kind of line.kinds) {
      match.push(...matching(line, kind, false));
      if (line.mask !== undefined) match.push(...matching(line, kind, true));
      set.push(setting(line, kind));
    }
  }
  return new Map([
    ["match", match],
    ["set", set],
    ["action", acts.map(acting)],
    ["group", groups.map(grouping)],
    ["meter", bands.map(metering)],
  ]);
}
