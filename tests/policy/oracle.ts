// SPDX-License-Identifier: Apache-2.0
/**
 * The oracle at length: `deno task policy:oracle [PACKETS [MUTANTS [SEED]]]`, 1,000,000 packets
 * with 64 mutants each for every one of five policies if nothing is said. Ends with an error at the
 * first counterexample.
 *
 * @module
 */
import * as balancer from "../../examples/balancer.ts";
import * as firewall from "../../examples/firewall_policy.ts";
import * as router from "../../examples/router.ts";
import * as learning from "../../examples/switch.ts";
import {
  checkPolicy,
  drop,
  forward,
  type Hints,
  type Policy,
  PortsView,
  type Random,
} from "../../policy/mod.ts";
import { seeded } from "../../policy/check/random.ts";
import { hints, State } from "./random_policy.ts";

const packets = Number(Deno.args[0] ?? 1_000_000);
const mutants = Number(Deno.args[1] ?? 64);
const first = Number(Deno.args[2] ?? 1);

const ports = new PortsView([1, 2, 3]);
const state = new State(seeded(99));
const rules: Policy = (packet) => {
  const rule = state.rules.match(packet);
  return rule === undefined ? drop("no rule") : forward(rule.to);
};
const addresses: Hints = {
  ...hints,
  ipv4: ["10.0.0.100", "10.1.2.3", "10.2.0.1", "10.2.9.9"],
};

const policies: Readonly<
  Record<string, readonly [Policy, Hints, (random: Random) => void]>
> = {
  learning: [
    learning.policy,
    hints,
    (random) => ports.update([1, 2, 3, 4].slice(0, 2 + random(3))),
  ],
  firewall: [firewall.policy, hints, () => {}],
  router: [router.policy, addresses, (random) => {
    if (random(2) === 0) router.neighbours.delete("10.2.0.1");
    else router.neighbours.set("10.2.0.1", `02:00:00:00:02:0${random(3)}`);
    if (random(2) === 0) router.routes.delete("10.1.2.0/24");
    else router.routes.set("10.1.2.0/24", { port: 1 + random(3) });
  }],
  balancer: [balancer.policy, addresses, () => {
    const [one, ...rest] = balancer.servers.value;
    if (one) balancer.servers.value = [...rest, one];
  }],
  rules: [rules, hints, (random) => {
    for (let i = 0; i < 8; i++) state.change(random);
  }],
};

/** Packets of one check: what is learned in it stays small. */
const SLICE = 2000;

for (const [name, [policy, near, change]] of Object.entries(policies)) {
  const start = performance.now();
  let tried = 0;
  let checked = 0;
  let masks = 0;
  for (let done = 0; done < packets; done += SLICE) {
    const report = checkPolicy(policy, {
      runs: Math.min(SLICE, packets - done),
      seed: first * 1_000_003 + done,
      mutants,
      hints: near,
      ports,
      change: (random) => random(16) === 0 && change(random),
    });
    tried += report.mutants;
    checked += report.runs;
    masks = Math.max(masks, report.masks);
  }
  const seconds = (performance.now() - start) / 1000;
  console.log(
    `${name}: ${checked} packets, ${tried} others, ${masks} masks, 0 counterexamples, ${
      seconds.toFixed(0)
    } s`,
  );
}
