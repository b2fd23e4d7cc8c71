// SPDX-License-Identifier: Apache-2.0
/**
 * The conformance suite: what every provider must do, facet by facet.
 *
 * `conformance(environment)` defines one test for each case. An environment may first find out
 * that this machine cannot have it, by throwing `Unsupported`.
 *
 * @module
 */
import { skippable } from "../support/skip.ts";
import { conntrackSuite } from "./conntrack.ts";
import { conntrackEventSuite } from "./conntrack_events.ts";
import type { Environment, Suite } from "./environment.ts";
import { callSuite } from "./calls.ts";
import { executeSuite } from "./execute.ts";
import { dumpedSuite } from "./dumped.ts";
import { flowSuite } from "./flows.ts";
import { fragmentSuite } from "./fragments.ts";
import { lifecycleSuite } from "./lifecycle.ts";
import { meterSuite } from "./meters.ts";
import { namedSuite } from "./named.ts";
import { operateSuite } from "./operate.ts";
import { portSuite } from "./ports.ts";
import { referenceSuite } from "./references.ts";
import { statsSuite } from "./stats.ts";
import { streamSuite } from "./streams.ts";
import { tunnelSuite } from "./tunnels.ts";
import { upcallSuite } from "./upcalls.ts";

const suites: Readonly<Record<string, Suite>> = {
  lifecycle: lifecycleSuite,
  ports: portSuite,
  flows: { ...flowSuite, ...dumpedSuite },
  named: namedSuite,
  references: referenceSuite,
  operate: operateSuite,
  execute: executeSuite,
  upcalls: upcallSuite,
  streams: streamSuite,
  stats: statsSuite,
  calls: callSuite,
  conntrack: { ...conntrackSuite, ...conntrackEventSuite },
  fragments: fragmentSuite,
  meters: meterSuite,
  tunnels: tunnelSuite,
};

/** Every test of the suite by its full name, for runners that do not use `Deno.test`. */
export function conformanceCases(
  environment: () => Environment | Promise<Environment>,
): [name: string, run: () => Promise<void>][] {
  let made: Promise<Environment> | undefined;
  let serial = 0;
  return Object.entries(suites).flatMap(([facet, suite]) =>
    Object.entries(suite).map(([name, test]): [string, () => Promise<void>] => [
      `${facet}: ${name}`,
      async () => {
        const env = await (made ??= Promise.resolve(environment()));
        const dp = await env.create(`ct${Deno.pid % 10000}x${serial++}`);
        try {
          const ports = [
            await env.addPort(dp, "p1"),
            await env.addPort(dp, "p2"),
            await env.addPort(dp, "p3"),
          ] as const;
          await test({ env, dp, ports });
        } finally {
          await dp.destroy().catch(() => {});
          await dp.close();
          await env.cleanUp?.();
        }
      },
    ])
  );
}

/** Defines the suite's tests for an environment. */
export function conformance(
  type: string,
  environment: () => Environment | Promise<Environment>,
): void {
  for (const [name, run] of conformanceCases(environment)) {
    Deno.test(`${type} conforms: ${name}`, skippable(run));
  }
}
