// SPDX-License-Identifier: Apache-2.0
/**
 * Rule tables against every packet of a small world: whatever a flow covers has the rule of the
 * packet that made it.
 */
import { deepStrictEqual, ok } from "node:assert/strict";
import { Covered } from "../../policy/check/covered.ts";
import { seeded } from "../../policy/check/random.ts";
import {
  drop,
  forward,
  type Policy,
  PortsView,
  type Rule,
  RuleTable,
  type Verdict,
} from "../../policy/mod.ts";
import { decisionOf } from "../../policy/decision.ts";
import { plainPacket } from "../../policy/packet/plain.ts";
import { Runner } from "../../policy/runner.ts";
import { Continuations } from "../../policy/stage.ts";
import { encodeKey } from "../../providers/odp/mod.ts";
import type { FlowKey } from "../../providers/types.ts";

interface ToPort extends Rule {
  readonly to: number;
}

const addresses = ["10.0.0.1", "10.0.0.2", "10.128.0.1", "11.0.0.1"] as const;
const ports = [22, 80, 81, 1024] as const;
const protocols = [[6, "tcp"], [17, "udp"], [132, "sctp"]] as const;
const TABLES = Number(Deno.env.get("RULE_TABLES") ?? 24);

/** Every packet of the world. */
const world: FlowKey[] = protocols.flatMap(([proto, name]) =>
  addresses.flatMap((src) =>
    addresses.flatMap((dst) =>
      ports.flatMap((from) =>
        ports.map((to) => ({
          ...{ recircId: 0, inPort: 1, etherType: 0x0800 },
          ethernet: { src: "02:00:00:00:00:01", dst: "02:00:00:00:00:02" },
          ipv4: { src, dst, proto, tos: 0, ttl: 64, frag: "no" },
          [name]: { src: from, dst: to },
          ...(name === "tcp" && { tcpFlags: 2 }),
        } as FlowKey))
      )
    )
  )
);

function ruleOf(random: (below: number) => number, priority: number): ToPort {
  const one = <T>(values: readonly T[]): T => values[random(values.length)] as T;
  const prefix = () => `${one(addresses)}/${one([0, 1, 8, 9, 31, 32])}`;
  const [, protocol] = one(protocols);
  return {
    match: {
      ...(random(2) === 0 && { "ipv4.src": prefix() }),
      ...(random(2) === 0 && { "ipv4.dst": prefix() }),
      ...(random(4) === 0 && { "ipv4.proto": one(protocols)[0] }),
      ...(random(2) === 0 && { [`${protocol}.dst`]: one(ports) }),
      ...(random(3) === 0 &&
        { [`${protocol}.src`]: [one(ports), one([0xffff, 0xfff0])] }),
    },
    priority: random(3) === 0 ? 1 : priority,
    to: 1 + random(4),
  };
}

Deno.test("rules: a flow covers packets of one rule, whatever proves it", () => {
  let shared = 0;
  for (let seed = 1; seed <= TABLES; seed++) {
    const random = seeded(seed * 7919);
    const table = new RuleTable<ToPort>();
    table.transact((t) => {
      // Few in some: many together mask the protocol in any case.
      for (let i = random(12); i >= 0; i--) t.add(ruleOf(random, 2 + i));
    });
    const policy: Policy = (packet) => {
      const rule = table.match(packet);
      return rule === undefined ? drop() : forward(rule.to);
    };
    const view = new PortsView();
    const plain = world.map((key) => policy(plainPacket(key, 0), view));
    const runner = new Runner(new Continuations(), view);
    for (let n = 0; n < 12; n++) {
      const i = random(world.length);
      const key = world[i] as FlowKey;
      const { decision } = runner.run(policy, encodeKey(key), 0);
      deepStrictEqual(decision, decisionOf(plain[i] as Verdict), `table ${seed}`);
      const covered = new Covered(key, runner.mask, runner.key);
      for (const [other, verdict] of plain.entries()) {
        if (verdict === plain[i] || !covered.has(world[other] as FlowKey)) continue;
        throw new Error(`table ${seed}: the flow of ${i} covers ${other}`);
      }
      shared += plain.filter((_, at) =>
        at !== i && covered.has(world[at] as FlowKey)
      ).length;
      runner.tracker.dropDependencies();
    }
  }
  ok(shared > 1000, `flows covered ${shared} others: the test looks at nothing`);
});
