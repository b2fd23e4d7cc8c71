// SPDX-License-Identifier: Apache-2.0
/**
 * The account of packets: whatever flows do to them, each that came in, or was copied by an output
 * that was not the last, left by a port, was dropped under one name, or waits in an upcall.
 */
import assert from "node:assert/strict";
import type { PortNo } from "../../providers/ids.ts";
import { parseActions } from "../../providers/odp/mod.ts";
import type { Action } from "../../providers/types.ts";
import { familyCase } from "../differential/families.ts";
import { figure } from "../support/figure.ts";
import { collectAll, NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

const CASES = 1500;

/**
 * What a list hands on without copying: the last of its steps that does anything with the packet.
 */
function withoutCopies(actions: readonly Action[]): Action[] {
  const branches = new Set(["clone", "sample", "checkPktLen"]);
  const kept = actions.filter(({ type }) => !branches.has(type) && type !== "trunc");
  const sinks = kept.filter(({ type }) => type === "output" || type === "recirc");
  return kept.filter((action) => !sinks.includes(action) || action === sinks.at(-1));
}

Deno.test(
  "every packet that came in left, was dropped under one name, or went up",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    // A number of output may have no port, one port is for other packets, one is small.
    await bench.ports("p1", "p2");
    const options = { packet_type: "legacy_l3" };
    await dp.ports.add({ name: "p3", type: "dummy", options });
    const small = { mtu: "70" };
    await dp.ports.add({ name: "p4", type: "dummy", options: small });
    const reasons = new Map<string, bigint>();
    using watch = dp.drops?.watch();
    assert.ok(watch !== undefined);
    const account = () => {
      const { missed, counters = {} } = dp.stats();
      const drops = Object.entries(counters).filter(([name]) => name.startsWith("drop_"));
      const ports = [2, 3, 4].map((no) => dp.ports.stats(no as PortNo));
      return {
        out: ports.reduce((sum, { txPackets }) => sum + txPackets, 0n),
        refused: ports.reduce((sum, { txDropped }) => sum + txDropped, 0n),
        drops: new Map(drops),
        held: missed,
      };
    };
    const upcalls = dp.upcalls({ signal: AbortSignal.timeout(600_000) });
    const iterator = upcalls[Symbol.asyncIterator]();
    for (let seed = 0; seed < CASES; seed++) {
      const one = familyCase(7_000_000 + seed);
      dp.flows.flush();
      for (const { round, key, actions } of one.flows) {
        const parsed = parseActions(
          actions.replace(/<(\d)>/, (_, n) => `${1000 + Number(n)}`),
        );
        const list = withoutCopies(parsed).map((action) =>
          action.type === "output"
            ? { ...action, port: (2 + seed % 4) as PortNo }
            : action
        );
        dp.flows.put({
          key: `recirc_id(${1000 + round}),in_port(1),${key}`,
          actions: list,
        });
      }
      const before = account();
      dp.execute({ packet: one.frame, key: { inPort: 1 }, actions: "recirc(1000)" });
      const after = account();
      let dropped = 0n;
      for (const [name, count] of after.drops) {
        const more = count - (before.drops.get(name) ?? 0n);
        dropped += more;
        if (more > 0n) reasons.set(name, (reasons.get(name) ?? 0n) + more);
      }
      const seen = watch.receive();
      assert.equal(BigInt(seen.length), dropped, "each of them is shown");
      for (const { reason } of seen) {
        const more = (after.drops.get(reason) ?? 0n) - (before.drops.get(reason) ?? 0n);
        assert.ok(more > 0n, `shown as ${reason}`);
      }
      const what = one.flows.map(({ actions }) => actions).join(" | ");
      // TCP that is too large for a port leaves in several pieces.
      const left = after.out > before.out ? 1n : 0n;
      const sum = left + dropped + after.held - before.held;
      assert.equal(sum, 1n, `seed ${one.seed}, port ${2 + seed % 4}: ${what}`);
      const byPort = after.refused - before.refused;
      const atPorts = ["tx_packet_type", "tx_oversize"].reduce(
        (total, name) =>
          total + (after.drops.get(`drop_${name}`) ?? 0n) -
          (before.drops.get(`drop_${name}`) ?? 0n),
        0n,
      );
      assert.equal(byPort, atPorts, `seed ${one.seed}: what its port says`);
      if (after.held > before.held) await iterator.next();
      for (const no of [2, 3, 4]) collectAll(dp, no as PortNo);
    }
    await upcalls.return?.();
    assert.equal(watch.lost, 0n);
    figure(
      `balance: ${CASES} packets, dropped ${
        [...reasons].map((pair) => pair.join(" ")).join(", ")
      }`,
    );
    for (const name of ["no_port", "tx_packet_type", "tx_oversize"]) {
      assert.ok((reasons.get(`drop_${name}`) ?? 0n) > 0n, `none was dropped as ${name}`);
    }
  }),
);
