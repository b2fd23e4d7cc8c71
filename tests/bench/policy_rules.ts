// SPDX-License-Identifier: Apache-2.0
/**
 * Rules and packets that benches of policies and of their peers share.
 *
 * @module
 */
import { seeded } from "../../policy/check/random.ts";
import { drop, forward, type Policy, type Rule, RuleTable } from "../../policy/mod.ts";
import type { Upcall } from "../../providers/upcall.ts";
import { ip, mac, upcall } from "./policy_feed.ts";
import type { Sent } from "./policy_peer.ts";

/** A rule, as both have it. */
export interface PeerRule extends Rule {
  readonly to: number;
}

/** A packet as it comes up. */
export const upcallOf = ({ n, src, dst, ipSrc, ipDst, srcPort, dstPort }: Sent): Upcall =>
  upcall(n, { src, dst, ip: ipDst, ipSrc, srcPort, dstPort });

/** A packet of one station to another. */
export function packet(n: number, fields: Partial<Sent> = {}): Sent {
  return {
    n,
    src: mac(2),
    dst: mac(1),
    ipSrc: ip(0x0a000001),
    ipDst: ip(0x0a000002),
    srcPort: 1000,
    dstPort: 80,
    ...fields,
  };
}

/** Rules of five fields, as those of ClassBench: prefixes of both addresses, protocol, ports. */
export function rulesOf(count: number, seed: number): PeerRule[] {
  const random = seeded(seed * 7919 + 11);
  const one = <T>(values: readonly T[]): T => values[random(values.length)] as T;
  const lengths = [8, 16, 20, 24, 28, 32];
  const prefix = (): string => `${ip(0x0a000000 + random(1 << 24))}/${one(lengths)}`;
  return Array.from({ length: count }, (_, i) => {
    const [ports, proto] = [random(2) === 0, one([6, 6, 17, 0])];
    return {
      match: {
        etherType: 0x0800,
        ...(random(3) > 0 && { "ipv4.src": prefix() }),
        ...(random(6) > 0 && { "ipv4.dst": prefix() }),
        ...(ports ? { "ipv4.proto": 6 } : proto > 0 && { "ipv4.proto": proto }),
        ...(ports && { "tcp.dst": one([22, 25, 53, 80, 443, 8080]) }),
        ...(ports && random(4) === 0 && { "tcp.src": 1024 + random(64) }),
      },
      priority: count - i,
      to: 2,
    };
  });
}

/** Packets some of which the rules match: addresses of theirs, and any. */
export function packetsFor(
  rules: readonly PeerRule[],
  count: number,
  seed: number,
): Sent[] {
  const random = seeded(seed * 104_729 + 3);
  const address = (leaf: "ipv4.src" | "ipv4.dst"): string => {
    const { match } = rules[random(rules.length)] as PeerRule;
    const wanted = match[leaf];
    if (typeof wanted !== "string" || random(4) === 0) {
      return ip(0x0a000000 + random(1 << 24));
    }
    const [base = "", length = "32"] = wanted.split("/");
    const bits = base.split(".").reduce((all, part) => all * 256 + Number(part), 0);
    const free = 32 - Number(length);
    return ip(
      free === 0
        ? bits
        : Math.floor(bits / 2 ** free) * 2 ** free + random(2 ** Math.min(free, 31)),
    );
  };
  const ports = [22, 25, 53, 80, 443, 8080, 0];
  return Array.from({ length: count }, (_, n) =>
    packet(n, {
      ipSrc: address("ipv4.src"),
      ipDst: address("ipv4.dst"),
      srcPort: 1024 + random(random(2) === 0 ? 64 : 60_000),
      dstPort: ports[random(ports.length)] || 1 + random(65_535),
    }));
}

/** Forwards as rules say. */
export function policyOf(rules: readonly PeerRule[]): Policy {
  const table = new RuleTable<PeerRule>();
  table.transact((t) => rules.forEach((rule) => t.add(rule)));
  return (packet) => {
    const rule = table.match(packet);
    return rule === undefined ? drop("no rule") : forward(rule.to);
  };
}
