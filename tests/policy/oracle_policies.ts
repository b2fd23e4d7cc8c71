// SPDX-License-Identifier: Apache-2.0
/**
 * The five policies of the long campaign of the oracle, and the Worker that checks a slice of it.
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

/** A part of the work. */
export interface Slice {
  readonly policy: string;
  /** Packets. */
  readonly runs: number;
  /** Other packets that are tried for each. */
  readonly mutants: number;
  readonly seed: number;
}

/** What came of it. */
export interface Checked {
  readonly runs: number;
  readonly mutants: number;
  readonly changes: number;
  readonly masks: number;
  /** Time that it took. */
  readonly seconds: number;
  /** The counterexample, if there is one. */
  readonly unsound?: string;
}

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

/**
 * Policies by name: the function, values that it treats in a special way, a change of its state.
 */
export const policies: Readonly<
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

/** Checks a slice. */
function check({ policy, runs, mutants, seed }: Slice): Checked {
  const [decide, near, change] = policies[policy] as typeof policies[string];
  const start = performance.now();
  const none = { runs: 0, mutants: 0, changes: 0, masks: 0, seconds: 0 };
  try {
    const report = checkPolicy(decide, {
      ...{ runs, seed, mutants, hints: near, ports },
      change: (random) => random(16) === 0 && change(random),
    });
    const { runs: checked, mutants: tried, changes, masks } = report;
    const seconds = (performance.now() - start) / 1000;
    return { runs: checked, mutants: tried, changes, masks, seconds };
  } catch (error) {
    return { ...none, unsound: (error as Error).message };
  }
}

/** What a Worker sees of its own messages. */
const worker = globalThis as unknown as {
  onmessage?: (event: MessageEvent<Slice>) => void;
  postMessage(message: Checked): void;
};
if ("WorkerGlobalScope" in globalThis) {
  worker.onmessage = ({ data }) => worker.postMessage(check(data));
}
