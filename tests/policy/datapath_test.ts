// SPDX-License-Identifier: Apache-2.0
/**
 * Datapath and policy against the bare function: packets at random and changes of state, packet by
 * packet. `POLICY_PACKETS=1000000` makes it long.
 */
import { deepStrictEqual, ok } from "node:assert/strict";
import { Arbitrary } from "../../policy/check/arbitrary.ts";
import { seeded } from "../../policy/check/random.ts";
import { decisionOf, type Policy } from "../../policy/decision.ts";
import { plainPacket } from "../../policy/packet/plain.ts";
import { portsOf, runPolicy } from "../../policy/mod.ts";
import { extractKey } from "../../providers/odp/mod.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { figure } from "../support/figure.ts";
import { be32, bytes } from "../support/frames.ts";
import { until } from "../support/wait.ts";
import { onEach } from "./bench.ts";
import { frameOf } from "./frame_of.ts";
import { hintsOf, randomPolicy, State } from "./random_policy.ts";

const packets = Number(Deno.env.get("POLICY_PACKETS") ?? 2000);
const first = Number(Deno.env.get("POLICY_SEED") ?? 1);
const BATCH = 48;

/** Ports that the bare function sends a packet to. */
function expected(
  dp: Datapath,
  policy: Policy,
  frame: Uint8Array,
  inPort: number,
): number[] {
  const key = { recircId: 0, ...extractKey(frame, { inPort }) };
  const { actions } = decisionOf(policy(plainPacket(key as never, 0), portsOf(dp)));
  return actions.flatMap((action) => action.type === "output" ? [action.port] : []);
}

onEach(
  "packets go where the bare function says, through changes of state",
  async (bench) => {
    const { dp } = bench;
    // The fake datapath looks flows up one by one.
    const wanted = dp.type === "netdev" ? packets : Math.min(packets, 1000);
    let sent = 0;
    let wrong = 0;
    let flows = 0;
    for (let seed = first; sent < wanted; seed++) {
      const random = seeded(seed * 7919);
      const state = new State(random);
      const policy = randomPolicy(random, state, { actions: "forward" });
      const arbitrary = new Arbitrary(random, hintsOf(seed));
      await using run = await runPolicy(dp, policy, { onError: () => "drop" });
      for (let round = 0; round < 12; round++) {
        const where = new Map<number, string>();
        const batch: [number, Uint8Array][] = [];
        for (let i = 0; i < BATCH; i++) {
          const inPort = 1 + random(4);
          const id = round * BATCH + i;
          const frame = bytes(frameOf(arbitrary.key()), be32(0xabcd0000 + id));
          const to = expected(dp, policy, frame, inPort).filter((port) =>
            dp.ports.get(port)
          );
          where.set(id, to.sort().join());
          // Twice: the second may hit the flow of the first.
          batch.push([inPort, frame], [inPort, frame]);
        }
        await bench.sendAll(batch);
        sent += batch.length;
        const got = new Map<number, number[]>();
        for (let port = 1; port <= 4; port++) {
          for (const frame of bench.collect(port)) {
            const id = new DataView(frame.buffer, frame.byteOffset).getUint32(
              frame.length - 4,
            ) - 0xabcd0000;
            got.set(id, [...got.get(id) ?? [], port]);
          }
        }
        for (const [id, to] of where) {
          const ports = got.get(id) ?? [];
          const twice = [...to.split(","), ...to.split(",")].filter(Boolean).sort()
            .join();
          if (ports.sort().join() === twice) continue;
          wrong++;
          if (wrong < 4) {
            figure(
              `seed ${seed} round ${round}: ${ports} instead of ${twice}`,
            );
          }
        }
        for (let i = 0; i < 4; i++) state.change(random);
        await run.settled();
      }
      flows += run.stats.setUps;
      ok((run.stats.failures.put_failed ?? 0) === 0, JSON.stringify(run.stats.failures));
      await until("the policy to end", () => run.close().then(() => true));
    }
    figure(`${dp.type}: ${sent} packets, ${flows} flows, ${wrong} wrong`);
    deepStrictEqual(wrong, 0);
  },
  4,
);
