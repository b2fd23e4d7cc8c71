// SPDX-License-Identifier: Apache-2.0
/**
 * Random matches and actions in the notation of ovs-ofctl(8).
 *
 * @module
 */
import type { Random } from "../../support/random.ts";
import { addresses, addresses6, macs, pick, transport } from "./packets.ts";

/** Tables that flows are in. */
export const TABLES = 4;
/** Any of a few numbers, in hex. */
const hex = (next: Random, below: number): string => `0x${next(below).toString(16)}`;

const prefix = (next: Random, most: number): number =>
  pick(next, [most, most, 8, most - 1, most - 8, 15]);

/** Terms that a kind of packets may have. */
const terms: Readonly<Record<string, (next: Random) => string>> = {
  ip4: (next) =>
    pick(next, [
      `nw_dst=${pick(next, addresses)}/${prefix(next, 32)}`,
      `nw_src=${pick(next, addresses)}/${prefix(next, 32)}`,
      `nw_src=${pick(next, addresses)}/255.0.255.255`,
      `nw_tos=${pick(next, [0, 32])}`,
      `nw_ecn=${next(2)}`,
      `nw_ttl=${pick(next, [1, 64])}`,
      `nw_frag=${pick(next, ["no", "yes", "first", "later", "not_later"])}`,
    ]),
  ip6: (next) =>
    pick(next, [
      `ipv6_dst=${pick(next, addresses6)}/${prefix(next, 128)}`,
      `ipv6_src=${pick(next, addresses6)}/${prefix(next, 128)}`,
      `ipv6_label=${pick(next, ["0x5", "0x0/0xf", "0x00001/0x00001"])}`,
      `nw_ttl=${pick(next, [1, 64])}`,
      `nw_tos=${pick(next, [0, 32])}`,
    ]),
  ports: (next) =>
    pick(next, [
      `tp_dst=${pick(next, transport)}`,
      `tp_src=${pick(next, ["1000", "0x3e0/0xfff0"])}`,
      `tp_dst=0x50/${pick(next, ["0xfff0", "0xfffe", "0xff"])}`,
    ]),
  arp: (next) =>
    pick(next, [
      `arp_op=${1 + next(2)}`,
      `arp_spa=${pick(next, addresses)}/${prefix(next, 32)}`,
      `arp_tpa=${pick(next, addresses)}`,
      `arp_sha=${pick(next, macs)}`,
      `arp_tha=${pick(next, macs)}/ff:ff:ff:ff:ff:fe`,
    ]),
  mpls: (next) =>
    pick(next, [`mpls_label=${pick(next, [96, 112])}`, "mpls_tc=1", "mpls_bos=1"]),
  icmp: (next) => pick(next, [`icmp_type=${pick(next, [0, 8, 128])}`, "icmp_code=0"]),
  nd: (next) =>
    pick(next, [
      `icmp_type=135,icmp_code=0,nd_target=${pick(next, addresses6)}`,
      `icmp_type=135,icmp_code=0,nd_sll=${pick(next, macs)}`,
      `icmp_type=136,icmp_code=0,nd_tll=${pick(next, macs)}`,
    ]),
};

/** Kinds of packets by name, and of which lists their terms are. */
const kinds: readonly (readonly [name: string, of: readonly string[]])[] = [
  ["", []],
  ["ip", ["ip4"]],
  ["tcp", ["ip4", "ports", "ports"]],
  ["udp", ["ip4", "ports", "ports"]],
  ["sctp", ["ip4", "ports"]],
  ["icmp", ["ip4", "icmp"]],
  ["ipv6", ["ip6"]],
  ["tcp6", ["ip6", "ports"]],
  ["udp6", ["ip6", "ports"]],
  ["icmp6", ["ip6", "icmp", "nd"]],
  ["arp", ["arp"]],
  ["mpls", ["mpls"]],
  ["dl_type=0x88cc", []],
];

/** What a flow is about: terms that may stand together. */
export function matchOf(next: Random): string {
  const list: string[] = [];
  if (next(3) === 0) list.push(`in_port=${1 + next(4)}`);
  if (next(5) === 0) list.push(`dl_dst=${pick(next, macs)}`);
  if (next(8) === 0) {
    list.push(`dl_src=02:00:00:00:00:00/ff:ff:ff:ff:ff:0${pick(next, ["c", "e"])}`);
  }
  if (next(6) === 0) {
    list.push(
      pick(next, [
        ...["dl_vlan=5", "vlan_tci=0x0000/0x1fff", "vlan_tci=0x1000/0x1000"],
        ...["dl_vlan=6,dl_vlan_pcp=3", "vlan_tci=0x0000"],
      ]),
    );
  }
  const [name, of] = pick(next, kinds);
  if (name !== "") list.push(name);
  const chosen = new Map<string, string>();
  for (const group of of) {
    if (next(2) === 0) continue;
    const term = terms[group]?.(next) ?? "";
    for (const one of term.split(",")) {
      const [key = ""] = one.split("=");
      if (!chosen.has(key)) chosen.set(key, one);
    }
  }
  list.push(...chosen.values());
  if (name === "tcp" && next(4) === 0) {
    list.push(`tcp_flags=${pick(next, ["+syn", "-ack", "syn|ack"])}`);
  }
  if (next(5) === 0) list.push(`reg1=${pick(next, ["0", "1", "2", "0x1/0x1"])}`);
  if (next(8) === 0) list.push(`metadata=${hex(next, 3)}/0x3`);
  if (next(30) === 0) list.push("pkt_mark=0x0/0x1");
  if (next(30) === 0) list.push(`tun_id=${next(2)}`);
  if (next(30) === 0) list.push("xreg1=0x0");
  return list.join(",");
}

/** An action that sets a field which packets of the flow have; undefined for none. */
function setting(next: Random, about: string, isFirst: boolean): string | undefined {
  const [kind] = /\b(ip|tcp|udp|sctp|icmp|ipv6|tcp6|udp6|icmp6|arp|mpls)\b/.exec(about) ??
    [];
  const options = [
    `set_field:${pick(next, macs)}->eth_dst`,
    `set_field:${pick(next, macs)}->eth_src`,
    `set_field:${hex(next, 3)}->reg1`,
    `set_field:${hex(next, 3)}->metadata`,
  ];
  switch (kind) {
    case "ip":
    case "tcp":
    case "udp":
    case "sctp":
    case "icmp":
      options.push(
        `set_field:${pick(next, addresses)}->ip_dst`,
        `set_field:${pick(next, addresses)}->ip_src`,
        `set_field:${next(64)}->ip_dscp`,
        `mod_nw_ecn:${next(4)}`,
        "dec_ttl",
        `mod_nw_ttl:${1 + next(200)}`,
      );
      break;
    case "ipv6":
    case "tcp6":
    case "udp6":
    case "icmp6":
      options.push(
        `set_field:${pick(next, addresses6)}->ipv6_dst`,
        `set_field:${pick(next, addresses6)}->ipv6_src`,
        `set_field:${hex(next, 9)}->ipv6_label`,
        `set_field:${next(64)}->ip_dscp`,
        "dec_ttl",
      );
      break;
    case "arp":
      // What is set behind an output is a packet that is dropped here.
      if (!isFirst) break;
      options.push(
        `set_field:${1 + next(2)}->arp_op`,
        `set_field:${pick(next, addresses)}->arp_spa`,
        `set_field:${pick(next, macs)}->arp_sha`,
        `set_field:${pick(next, macs)}->arp_tha`,
      );
      break;
    case "mpls":
      options.push(
        ...[`set_field:${next(200)}->mpls_label`, "dec_mpls_ttl", "set_mpls_ttl(9)"],
        `set_field:${next(8)}->mpls_tc`,
        `pop_mpls:${pick(next, ["0x0800", "0x8847"])}`,
      );
      break;
    default:
  }
  const [ports] = /^(tcp|udp|sctp)/.exec(kind ?? "") ?? [];
  if (ports !== undefined) {
    const port = pick(next, transport);
    options.push(`set_field:${port}->${ports}_dst`, `set_field:${port}->${ports}_src`);
  }
  if (/dl_vlan=|vlan_tci=0x1000/.test(about)) {
    options.push(...["pop_vlan", "set_field:4102->vlan_vid", "set_field:2->vlan_pcp"]);
  }
  return pick(next, options);
}

const moves = [
  "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]",
  "move:NXM_OF_ETH_DST[0..15]->NXM_NX_REG1[0..15]",
  "move:NXM_OF_IN_PORT[]->NXM_NX_REG1[0..15]",
  "load:0x1->NXM_NX_REG1[0..3]",
  "load:0x2->NXM_NX_REG2[]",
  "move:NXM_NX_REG1[]->NXM_NX_REG2[]",
  "push:NXM_NX_REG1[],pop:NXM_NX_REG2[]",
];

/** Where packets go, and what else is done with them. */
function sending(next: Random, table: number): string {
  const port = 1 + next(4);
  switch (next(18)) {
    case 0:
      return "IN_PORT";
    case 1:
      return "ALL";
    case 2:
      return `CONTROLLER:${pick(next, [64, 65535])}`;
    case 3:
      return `output(port=${port},max_len=${pick(next, [64, 100])})`;
    case 4:
      return "output:NXM_NX_REG1[0..15]";
    case 5:
      return `clone(set_field:${pick(next, macs)}->eth_dst,output:${port})`;
    case 6:
      return `group:${1 + next(4)}`;
    case 7:
      return "note:01.02.03.04.05.06";
    case 8:
      return `set_queue:${next(3)},output:${port}`;
    case 9:
      return "push_vlan:0x8100,set_field:4101->vlan_vid";
    case 10:
      return pick(next, moves);
    case 11:
    case 12:
      return table < TABLES - 1
        ? `resubmit(,${table + 1 + next(TABLES - 1 - table)})`
        : `output:${port}`;
    case 13:
      return next(6) === 0 ? "exit" : "LOCAL";
    default:
      return `output:${port}`;
  }
}

/** What a flow of a table does; `table` of {@linkcode TABLES} goes to no other. */
export function actionsOf(next: Random, about: string, table: number): string {
  const list: string[] = [];
  for (let i = next(5); i > 0; i--) {
    const isFirst = table === 0 && list.length === 0;
    const one = next(3) === 0 ? setting(next, about, isFirst) : sending(next, table);
    // More than two tags are refused.
    if (one === undefined || one.includes("push_vlan") && list.join().includes("push")) {
      continue;
    }
    list.push(one);
  }
  if (table < TABLES) {
    if (next(20) === 0) list.push("check_pkt_larger(70)->NXM_NX_REG1[0]", "output:2");
    if (next(24) === 0) list.push("clear_actions");
    if (next(8) === 0) list.push(`write_actions(output:${1 + next(4)})`);
    if (next(10) === 0) list.push(`write_metadata:${hex(next, 3)}/0x3`);
    if (next(12) === 0) list.unshift(`meter:${1 + next(3)}`);
    if (table < TABLES - 1 && next(2) === 0) {
      list.push(`goto_table:${table + 1 + next(TABLES - 1 - table)}`);
    }
  }
  return list.length === 0 ? "drop" : list.join(",");
}
