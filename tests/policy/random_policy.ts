// SPDX-License-Identifier: Apache-2.0
/**
 * Policies at random, from a seed: trees of every read and test that there is, over state of every
 * kind.
 *
 * @module
 */
import { set } from "../../providers/odp/mod.ts";
import { drop, forward, type Policy, type Verdict } from "../../policy/decision.ts";
import type { Hints } from "../../policy/check/arbitrary.ts";
import type { Random } from "../../policy/check/random.ts";
import type { Leaf } from "../../policy/packet/leaf.ts";
import type { Packet } from "../../policy/packet/packet.ts";
import { PrefixMap } from "../../policy/state/prefix_map.ts";
import { type Rule, RuleTable } from "../../policy/state/rule_table.ts";
import { stage, track } from "../../policy/stage.ts";
import { Cell, Counter } from "../../policy/state/state.ts";
import { StateMap } from "../../policy/state/state_map.ts";

/** Addresses and numbers that policies and packets share, so that tests are met and missed. */
export const hints: Hints = {
  ports: [1, 2, 3, 4],
  ethernet: ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:01:00:00"],
  ipv4: ["10.0.0.1", "10.0.0.2", "10.1.0.0", "192.168.7.9"],
  ipv6: ["fd00::1", "fd00::2", "fe80::1"],
  services: [22, 53, 80, 443, 8080],
  vlans: [1, 10, 20],
  marks: [0, 1, 7],
};

/** Hints of a seed: in some all packets are of the rarer kinds. */
export function hintsOf(seed: number): Hints {
  switch (seed % 5) {
    case 0:
      return { ...hints, etherTypes: [0x86dd], protocols: [58, 58, 6] };
    case 1:
      return { ...hints, etherTypes: [0x8847, 0x8848, 0x894f, 0x0806] };
    default:
      return hints;
  }
}

const macs: readonly Leaf[] = ["ethernet.src", "ethernet.dst", "arp.sha", "nd.sll"];
const ip4s: readonly Leaf[] = ["ipv4.src", "ipv4.dst", "arp.tip", "ctTuple4.src"];
const ip6s: readonly Leaf[] = ["ipv6.src", "ipv6.dst", "nd.target", "tunnel.ipv6Src"];
const shorts: readonly Leaf[] = [
  "tcp.src",
  "tcp.dst",
  "udp.dst",
  "sctp.src",
  "vlan.vid",
  "innerVlan.vid",
  "ctZone",
  "etherType",
  "tcpFlags",
  "arp.op",
  "tunnel.dstPort",
];
const small: readonly Leaf[] = [
  "inPort",
  "ipv4.proto",
  "ipv4.tos",
  "ipv4.ttl",
  "ipv6.proto",
  "ipv6.hlimit",
  "vlan.pcp",
  "icmp.type",
  "icmpv6.type",
  "icmpv6.code",
  "ctState",
  "ctMark",
  "dpHash",
  "priority",
  "skbMark",
  "mpls.label",
  "mpls.bos",
  "mpls.ttl",
  "nsh.spi",
  "nsh.mdtype",
  "tunnel.ttl",
  "tunnel.tos",
];
const fields = [
  "ethernet",
  "vlans",
  "ipv4",
  "ipv6",
  "arp",
  "tcp",
  "udp",
  "sctp",
  "icmp",
  "icmpv6",
  "nd",
  "mpls",
  "nsh",
  "tunnel",
  "ctTuple4",
  "ctTuple6",
  "tcpFlags",
] as const;

interface MadeRule extends Rule {
  readonly to: number;
}

/** State that the policies of one seed share, and how it changes. */
export class State {
  readonly cell: Cell<number> = new Cell(0, { name: "cell" });
  readonly stations: StateMap<string, number> = new StateMap({
    name: "stations",
    holdMs: 0,
  });
  readonly services: StateMap<number, number> = new StateMap({ name: "services" });
  readonly hosts: StateMap<string, number> = new StateMap({ name: "hosts" });
  readonly routes: PrefixMap<number> = new PrefixMap({ name: "routes" });
  readonly routes6: PrefixMap<number> = new PrefixMap({ name: "routes6" });
  readonly rules: RuleTable<MadeRule> = new RuleTable({ name: "rules" });
  readonly counter: Counter = new Counter({ name: "counter" });
  readonly #kept: MadeRule[] = [];

  constructor(random: Random) {
    for (let i = 0; i < 24; i++) this.change(random);
  }

  /** Changes one piece. */
  change(random: Random): void {
    const one = <T>(values: readonly T[]): T => values[random(values.length)] as T;
    const station = one(hints.ethernet ?? []);
    const host = one(hints.ipv4 ?? []);
    const host6 = one(hints.ipv6 ?? []);
    switch (random(8)) {
      case 0:
        this.cell.value = random(3);
        break;
      case 1:
        if (random(2) === 0) this.stations.delete(station);
        else this.stations.set(station, random(4));
        break;
      case 2:
        if (random(3) === 0) this.services.delete(one([22, 80, 443]));
        else this.services.set(one([22, 80, 443]), random(4));
        break;
      case 3:
        if (random(3) === 0) this.hosts.delete(host);
        else this.hosts.set(host, random(4));
        break;
      case 4: {
        const prefix = `${host}/${one([0, 8, 9, 15, 16, 24, 30, 32])}`;
        if (random(3) === 0) this.routes.delete(prefix);
        else this.routes.set(prefix, random(4));
        break;
      }
      case 5: {
        const prefix = `${host6}/${one([0, 10, 16, 64, 127, 128])}`;
        if (random(3) === 0) this.routes6.delete(prefix);
        else this.routes6.set(prefix, random(4));
        break;
      }
      default:
        this.rules.transact((t) => {
          if (this.#kept.length > 12 || this.#kept.length > 0 && random(3) === 0) {
            const [gone] = this.#kept.splice(random(this.#kept.length), 1);
            if (gone !== undefined) t.delete(gone);
          } else {
            const made = this.#rule(random);
            this.#kept.push(made);
            t.add(made);
          }
        });
    }
  }

  #rule(random: Random): MadeRule {
    const one = <T>(values: readonly T[]): T => values[random(values.length)] as T;
    const wishes: readonly (() => Record<string, unknown>)[] = [
      () => ({ inPort: 1 + random(4) }),
      () => ({ "ethernet.dst": one(hints.ethernet ?? []) }),
      () => ({ "ipv4.dst": `${one(hints.ipv4 ?? [])}/${one([0, 8, 16, 17, 31, 32])}` }),
      () => ({ "ipv4.dst": `${one(hints.ipv4 ?? [])}/${one([8, 16])}` }),
      () => ({ "ipv4.src": `${one(hints.ipv4 ?? [])}/${one([1, 24, 32])}` }),
      () => ({ "tcp.dst": one(hints.services ?? []) }),
      () => ({ "udp.src": [one(hints.services ?? []), 0xfff0] }),
      () => ({ ctState: [0x22, 0x32] }),
      () => ({ "ipv6.dst": `${one(hints.ipv6 ?? [])}/64` }),
      () => ({ "ipv4.frag": "first" }),
      () => ({ etherType: one([0x0800, 0x86dd]) }),
    ];
    const match = random(2) === 0
      ? one(wishes)()
      : { ...one(wishes)(), ...one(wishes)() };
    return { match, priority: random(8), to: random(4) } as MadeRule;
  }
}

const KINDS = 23;

/** What the policies may say. */
export interface Verdicts {
  /** `forward`: outputs and drops only, for datapaths that can do no more; nothing is learned. */
  readonly actions?: "all" | "forward";
}

/** Makes a policy. Most have a few kinds of tests only, so that these meet. */
export function randomPolicy(
  random: Random,
  state: State,
  { actions = "all" }: Verdicts = {},
): Policy {
  const kinds = Array.from(
    { length: random(4) === 0 ? KINDS : 1 + random(3) },
    () => random(KINDS),
  );
  return tree(random, state, kinds, 2 + random(5), actions === "all" ? 8 : 2);
}

function tree(
  random: Random,
  state: State,
  kinds: readonly number[],
  depth: number,
  verdicts: number,
): Policy {
  if (depth === 0) return leafOf(random, state, random(verdicts));
  const next = (): Policy => {
    const less = 1 + random(Math.min(depth, 2));
    return tree(random, state, kinds, Math.max(0, depth - less), verdicts);
  };
  const [yes, no] = [next(), next()];
  const test = testOf(random, state, kinds[random(kinds.length)] as number);
  return (packet, ports) => test(packet) ? yes(packet, ports) : no(packet, ports);
}

function leafOf(random: Random, state: State, kind: number): Policy {
  const to = 1 + random(4);
  const behind = stage<number>(`stage${random(2 ** 30)}`, (packet, carry) => {
    const established = packet.bits("ctState", 0x22) === 0x22;
    return established
      ? forward(carry)
      : packet.equals("ctMark", 7)
      ? forward(9)
      : drop();
  });
  return (packet): Verdict => {
    if (kind === 0) return drop(`leaf ${to}`);
    if (kind === 1) packet.credit(state.counter);
    if (kind === 2 && packet.ethernet !== undefined) {
      packet.learn(state.stations, packet.ethernet.src, packet.inPort % 4);
    }
    if (kind === 3 && packet.ipv4 !== undefined) {
      return [set({ ipv4: { ttl: packet.ipv4.ttl - 1 & 0xff } }), ...forward(to)];
    }
    if (kind === 4) return track({ commit: true }, behind, to);
    return forward(to);
  };
}

function testOf(
  random: Random,
  state: State,
  kind: number,
): (packet: Packet) => boolean {
  const one = <T>(values: readonly T[]): T => values[random(values.length)] as T;
  const service = one(hints.services ?? []);
  switch (kind) {
    case 0: {
      const [leaf, address] = [one(macs), one(hints.ethernet ?? [])];
      return (packet) => packet.equals(leaf, address);
    }
    case 1: {
      const [leaf, address] = [one(ip4s), one(hints.ipv4 ?? [])];
      const prefix = `${address}/${random(33)}`;
      return (packet) => packet.within(leaf, prefix);
    }
    case 2: {
      const [leaf, address] = [one(ip6s), one(hints.ipv6 ?? [])];
      const prefix = `${address}/${random(129)}`;
      return (packet) => packet.within(leaf, prefix);
    }
    case 3: {
      const leaf = one(shorts);
      const low = Math.max(0, service - random(64));
      return (packet) => packet.between(leaf, low % 4096, service % 4096);
    }
    case 4: {
      const leaf = one(small);
      const bits = 1 << random(3) | random(4);
      const wanted = random(4) & bits;
      return (packet) => {
        const width = leaf.endsWith("bos") ? 1 : bits;
        return packet.bits(leaf, width & 7) === wanted;
      };
    }
    case 5: {
      const leaf = one([...small, ...shorts]);
      const value = leaf.endsWith("bos") ? 1 : 1 + random(6);
      return (packet) => packet.equals(leaf, value);
    }
    case 6: {
      const field = random(4) === 0 ? "nd" : one(fields);
      return (packet) => packet.has(field);
    }
    case 7:
      return (packet) => packet.tcp?.dst === service || packet.udp?.src === service;
    case 8:
      return (packet) => packet.ipv4?.dst.endsWith(".1") === true;
    case 9:
      return (packet) => packet.mpls?.[1] !== undefined && packet.mpls[1].tc !== 3;
    case 10:
      return () => state.cell.value === 1;
    case 11: {
      const leaf = one(macs);
      return (packet) => (state.stations.lookup(packet, leaf) ?? 0) > 1;
    }
    case 12:
      return (packet) =>
        packet.tcp !== undefined && state.services.get(packet.tcp.dst) !== undefined;
    case 13: {
      const leaf = one(["tcp.dst", "udp.dst"] as const);
      return (packet) => state.services.lookup(packet, leaf) === 2;
    }
    case 14: {
      const leaf = one(["ipv4.src", "ipv4.dst"] as const);
      return (packet) => (state.routes.lookup(packet, leaf)?.value ?? 0) > 1;
    }
    case 15:
      return (packet) => (state.routes6.lookup(packet, "ipv6.dst")?.value ?? 0) > 1;
    case 16:
    case 17:
      return (packet) => (state.rules.match(packet)?.to ?? 0) > 1;
    case 19: {
      const count = 1 + random(3);
      return (packet) => packet.mpls?.length === count;
    }
    case 20: {
      // Several tests of one field: what is masked already may prove the next.
      const [leaf, address] = [one(ip4s), one(hints.ipv4 ?? [])];
      const other = one(hints.ipv4 ?? []);
      const prefix = `${other}/${random(33)}`;
      return (packet) =>
        packet.within(leaf, prefix) !== packet.equals(leaf, address) ||
        packet.equals(leaf, other);
    }
    case 21:
      return (packet) => packet.ipv4 !== undefined && state.hosts.has(packet.ipv4.dst);
    case 18: {
      const bit = 1 << random(8);
      return (packet) => (packet.ctState & bit) !== 0 || packet.ctMark === 7;
    }
    default: {
      const address = one(hints.ethernet ?? []);
      return (packet) =>
        packet.equals("ethernet.dst", address, "ff:ff:00:00:ff:0f") ||
        packet.vlans?.[0]?.pcp === 3;
    }
  }
}
