// SPDX-License-Identifier: Apache-2.0
/**
 * Flows put, listed and deleted from TypeScript in a large table while packets are forwarded at
 * full rate:
 *
 *     deno run -A tests/bench/flows_bench.ts [FLOWS [ROUNDS]]
 *
 * FLOWS is 1,000,000 and ROUNDS 3. Flows are exact UDP connections in batches of 256: given as
 * objects, as a program that learns connections has them, and as bytes. Each figure is the median
 * of the rounds, with the lowest and the highest. The poll thread, on core 0, forwards all that
 * DPDK's null device receives, which is endless; what it forwards beside is given too. Exit status
 * 1 if a figure misses its target: 400,000 puts a second of keys in bytes, as upcalls bring them,
 * and a dump in 2 s per million flows.
 */
import {
  encodeActions,
  encodeKey,
  encodeMask,
  exact,
  output,
} from "../../providers/odp/mod.ts";
import type { Op } from "../../providers/operations.ts";
import { openDatapath } from "../../providers/registry.ts";
import type { FlowKey } from "../../providers/types.ts";
import { medianOf } from "./measure.ts";
import { helpIfAsked, numberOf, orComplain } from "./usage.ts";

helpIfAsked(import.meta.url);
const [FLOWS, ROUNDS] = await orComplain(() =>
  [
    numberOf("FLOWS", Deno.args[0] ?? "1000000", 100_000_000),
    numberOf("ROUNDS", Deno.args[1] ?? "3", 1000),
  ] as const
);
const BATCH = 256;
const PUTS_A_SECOND = 400_000;
const DUMP_S_PER_MILLION = 2;

const mask = exact("recircId", "inPort", "etherType", "ipv4", "udp");
const actions = [output(2)];

function keyOf(i: number): FlowKey {
  return {
    recircId: 0,
    dpHash: 0,
    priority: 0,
    skbMark: 0,
    inPort: 3,
    ethernet: { src: "02:00:00:00:00:01", dst: "02:00:00:00:00:02" },
    etherType: 0x0800,
    ipv4: {
      src: `10.${i >>> 16 & 255}.${i >>> 8 & 255}.${i & 255}`,
      dst: "192.0.2.1",
      proto: 17,
      tos: 0,
      ttl: 64,
      frag: "no",
    },
    udp: { src: i & 0xffff, dst: 53 },
  };
}

await using dp = await openDatapath("netdev@flows-bench", {
  create: "exclusive",
  config: { pollThreads: "0x1" },
  onNotice: () => {},
});
const source = await dp.ports.add({
  name: "source",
  type: "dpdk",
  no: 1,
  options: { devargs: "net_null_source,copy=1" },
});
await dp.ports.add({ name: "sink", type: "null", no: 2 });
dp.flows.put({ key: `recirc_id(0),in_port(${source.no}),eth_type(0x0000)`, actions });

/**
 * Runs `work` and returns its seconds and how many million packets a second were forwarded
 * meanwhile.
 */
function timed(work: () => void): { seconds: number; forwarded: number } {
  const before = dp.stats().hit;
  const start = performance.now();
  work();
  const seconds = (performance.now() - start) / 1000;
  return { seconds, forwarded: Number(dp.stats().hit - before) / seconds / 1e6 };
}

function expectAll(results: readonly { ok: boolean }[]): void {
  if (!results.every(({ ok }) => ok)) throw new Error("an operation failed");
}

function put(make: (i: number) => Op): void {
  for (let i = 0; i < FLOWS; i += BATCH) {
    const ops: Op[] = [];
    for (let k = i; k < Math.min(FLOWS, i + BATCH); k++) ops.push(make(k));
    expectAll(dp.operate(ops));
  }
}

function dump(options: { terse?: boolean; read?: boolean }): void {
  let count = 0;
  for (const flow of dp.flows.dump({ terse: options.terse ?? false })) {
    if (options.read === true && flow.key?.etherType === 1) throw new Error("wrong key");
    count++;
  }
  if (count !== FLOWS + 1) throw new Error(`${count} flows instead of ${FLOWS + 1}`);
}

const bytes = {
  mask: encodeMask(mask, keyOf(0)),
  actions: encodeActions(actions),
  keys: Array.from({ length: FLOWS }, (_, i) => encodeKey(keyOf(i))),
};
const objects = Array.from({ length: FLOWS }, (_, i) => keyOf(i));

const steps: readonly [string, () => void][] = [
  [
    "puts, objects",
    () => put((i) => ({ op: "put", key: objects[i] as FlowKey, mask, actions })),
  ],
  ["dump", () => dump({})],
  ["dump, keys read", () => dump({ read: true })],
  ["dump, terse", () => dump({ terse: true })],
  ["changes, bytes", () =>
    put((i) => ({
      op: "put",
      key: bytes.keys[i] as Uint8Array,
      mask: bytes.mask,
      actions: bytes.actions,
      create: false,
      modify: true,
    }))],
  [
    "deletes, bytes",
    () => put((i) => ({ op: "delete", key: bytes.keys[i] as Uint8Array })),
  ],
  ["puts, bytes", () =>
    put((i) => ({
      op: "put",
      key: bytes.keys[i] as Uint8Array,
      mask: bytes.mask,
      actions: bytes.actions,
    }))],
  ["flush", () => {
    dp.flows.flush();
    dp.flows.put({ key: `recirc_id(0),in_port(${source.no}),eth_type(0x0000)`, actions });
  }],
];

const idle = timed(() =>
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
);
console.log(`forwarding alone: ${idle.forwarded.toFixed(1)} million packets a second`);
const figures = steps.map(() => [] as { seconds: number; forwarded: number }[]);
for (let round = 0; round < ROUNDS; round++) {
  for (const [at, [, work]] of steps.entries()) figures[at]?.push(timed(work));
}
let missed = false;
for (const [at, [name]] of steps.entries()) {
  const runs = figures[at] ?? [];
  const seconds = runs.map((run) => run.seconds);
  const median = medianOf(seconds);
  const rate = (s: number) => `${Math.round(FLOWS / s / 1000)}k`;
  console.log(
    `${name.padEnd(16)} ${median.toFixed(2)} s ` +
      `(${Math.min(...seconds).toFixed(2)} to ${Math.max(...seconds).toFixed(2)}), ` +
      `${rate(median)} a second; forwarded ` +
      `${medianOf(runs.map((run) => run.forwarded)).toFixed(1)} million packets a second`,
  );
  if (name === "puts, bytes" && FLOWS / median < PUTS_A_SECOND) missed = true;
  if (name === "dump" && median > DUMP_S_PER_MILLION * FLOWS / 1e6) missed = true;
}
if (missed) console.log("below target");
Deno.exitCode = missed ? 1 : 0;
