// SPDX-License-Identifier: Apache-2.0
/**
 * The tunnels that interoperability is tested with.
 *
 * @module
 */
import type { End, TunnelSpec } from "./lab.ts";

/** A kind of tunnel, in tests. */
export interface Kind {
  readonly name: string;
  /** The type of port, over IPv4 and IPv6. */
  readonly type: string;
  readonly type6?: string;
  readonly options?: Readonly<Record<string, string>>;
  /** Parts of `tunnel()` besides the destination. */
  readonly set: string;
  /** The ends are the port's. */
  readonly isFixed?: boolean;
  /** It carries IP without Ethernet. */
  readonly isLayer3?: boolean;
}

/** Kinds, each of which gets the subnets 10.N.0.0/24 and fd00:N::/64, N from 81. */
export const kinds: readonly Kind[] = [
  { name: "vxlan", type: "vxlan", set: "tun_id=0x51" },
  {
    name: "geneve",
    type: "geneve",
    set: "tun_id=0x52,geneve({class=0x102,type=0x3,len=4,0x11223344})",
  },
  { name: "gre", type: "gre", type6: "ip6gre", set: "tun_id=0x53" },
  {
    name: "erspan",
    type: "erspan",
    type6: "ip6erspan",
    set: "tun_id=0x54,erspan(ver=1,idx=0x7)",
  },
  { name: "gtpu", type: "gtpu", set: "tun_id=0x55", isLayer3: true },
  {
    name: "bareudp",
    type: "bareudp",
    options: { payload_type: "ip", multiproto: "true" },
    set: "",
    isLayer3: true,
  },
  {
    name: "fixed",
    type: "vxlan",
    options: { dst_port: "4790", key: "87" },
    set: "",
    isFixed: true,
  },
];

/** Addresses inside a tunnel of a kind. */
export function inside(
  kind: Kind,
  which: 1 | 2,
): { readonly ipv4: string; readonly ipv6: string } {
  const net = 81 + kinds.indexOf(kind);
  return { ipv4: `10.${net}.0.${which}`, ipv6: `fd00:${net}::${which}` };
}

/** The Ethernet address inside, of those without Ethernet between. */
function innerMac(net: number, which: number): string {
  return `02:00:00:00:${net}:0${which}`;
}

/** What a side has for a kind. */
export function specOf(
  kind: Kind,
  which: 1 | 2,
  ends: readonly [End, End],
  version: 4 | 6,
): TunnelSpec {
  const net = 81 + kinds.indexOf(kind);
  const other = which === 1 ? 2 : 1;
  const far = ends[other - 1] as End;
  const remote = version === 4 ? far.ipv4 : far.ipv6;
  const { type6 = kind.type, isLayer3, isFixed, set } = kind;
  const destination = version === 4 ? `dst=${remote}` : `ipv6_dst=${remote}`;
  const [id, ...metadata] = set.split(/,(?=geneve|erspan)/);
  const parts = [
    id,
    destination,
    "ttl=64",
    ...metadata,
    id ? "flags(df|key)" : "flags(df)",
  ]
    .filter((part) => part);
  const tap = `in${net}`;
  const [own, theirs] = [inside(kind, which), inside(kind, other)];
  const macs = [innerMac(net, other), innerMac(net, which)];
  return {
    name: `t${net}`,
    type: version === 4 ? kind.type : type6,
    options: { ...kind.options, ...(isFixed && { remote_ip: remote }) },
    actions: [isLayer3 ? "pop_eth" : "", isFixed ? "" : `set(tunnel(${parts.join(",")}))`]
      .filter((part) => part).join(","),
    back: isLayer3 ? `push_eth(src=${macs[0]},dst=${macs[1]})` : "",
    tap,
    commands: [
      `link set ${tap} address ${macs[1]} mtu 1400 up`,
      `addr add ${own.ipv4}/24 dev ${tap}`,
      `-6 addr add ${own.ipv6}/64 dev ${tap} nodad`,
      ...(isLayer3
        ? [theirs.ipv4, theirs.ipv6].map((to) =>
          `neigh replace ${to} lladdr ${macs[0]} nud permanent dev ${tap}`
        )
        : []),
    ],
  };
}

/** Arguments of `ip link add` for the kernel's end of a kind. */
export function kernelWords(
  kind: Kind,
  [far, own]: readonly [End, End],
  version: 4 | 6,
): string {
  const [remote, local] = version === 4 ? [far.ipv4, own.ipv4] : [far.ipv6, own.ipv6];
  const ends = `remote ${remote} local ${local}`;
  const six = version === 6 ? "ip6" : "";
  switch (kind.name) {
    case "vxlan":
      return `in81 type vxlan id 81 dstport 4789 ${ends}`;
    case "fixed":
      return `in87 type vxlan id 87 dstport 4790 ${ends}`;
    case "geneve":
      return `in82 type geneve id 82 remote ${remote}`;
    case "gre":
      return `in83 type ${six}gretap key 83 ${ends}`;
    case "erspan":
      return `in84 type ${six}erspan seq key 84 erspan_ver 1 erspan 7 ${ends}`;
    default:
      throw new RangeError(`the kernel's end of ${kind.name} is no device alone`);
  }
}
