// SPDX-License-Identifier: Apache-2.0
/**
 * What a decision costs in TypeScript: upcall, key, decision, put and execute. The target is 1 µs.
 *
 * The provider is one that answers at once with prepared upcalls and packs operations into nothing,
 * so that what is measured is the layers above it; the last two benches measure the whole way,
 * library included.
 */
import type { RawUpcall, UpcallHandler } from "../../providers/contract/upcalls.ts";
import type { MacAddress, PortNo } from "../../providers/ids.ts";
import { encodeKey, exact, extractKey, output } from "../../providers/odp/mod.ts";
import { type Op, toProviderOp } from "../../providers/operations.ts";
import { openDatapath } from "../../providers/registry.ts";
import { Upcall } from "../../providers/upcall.ts";
import {
  UpcallBatchStream,
  UpcallStream,
} from "../../providers/contract/upcall_stream.ts";
import { udpFrame } from "../support/frames.ts";

const BATCH = 256;
const packet = udpFrame();
const keys = Array.from({ length: BATCH }, (_, i) =>
  encodeKey({
    ...extractKey(udpFrame({ srcPort: i }), { inPort: 1 }),
    recircId: 0,
    dpHash: 0,
    priority: 0,
    skbMark: 0,
  }));
const raws: RawUpcall[] = keys.map((key) => ({ kind: "miss", key, packet }));

/** A handler that always has a full batch. */
const endless: UpcallHandler = {
  receive: (max) => raws.slice(0, max),
  wait: () => Promise.resolve(),
  wake: () => {},
  lost: () => 0n,
  close: () => Promise.resolve(),
};

const fdb = new Map<MacAddress, PortNo>([["02:00:00:00:00:02", 2]]);
const mask = exact("inPort", "ethernet", "ipv4", "udp");

function decide(upcall: Upcall): Op[] {
  const { key, packet } = upcall;
  if (key.ethernet === undefined || key.inPort === undefined) return [];
  fdb.set(key.ethernet.src, key.inPort);
  const actions = [output(fdb.get(key.ethernet.dst) ?? 0)];
  return [{ op: "put", packet, key, mask, actions }];
}

Deno.bench("256 upcalls: views of their keys, one field read", () => {
  let sum = 0;
  for (const raw of raws) sum += new Upcall(raw).key.inPort ?? 0;
  if (sum !== BATCH) throw new Error("wrong key");
});

Deno.bench("256 upcalls: decided by a learning switch", () => {
  for (const raw of raws) decide(new Upcall(raw));
});

Deno.bench("256 upcalls: decided, and made into bytes", () => {
  for (const raw of raws) for (const op of decide(new Upcall(raw))) toProviderOp(op);
});

Deno.bench("256 upcalls by for await, one by one", async () => {
  let count = 0;
  const batches = new UpcallBatchStream(() => endless, {
    wrap: (raw) => raw,
    batch: BATCH,
  });
  for await (const _ of new UpcallStream(batches)) if (++count === BATCH) break;
});

Deno.bench("256 upcalls by for await, in a batch", async () => {
  const batches = new UpcallBatchStream(() => endless, {
    wrap: (raw) => raw,
    batch: BATCH,
  });
  for await (const _ of batches) break;
});

const dp = await openDatapath("netdev@bench", { create: true, onNotice: () => {} }).catch(
  () => undefined,
);
if (dp !== undefined) {
  await dp.ports.add({ name: "b1", type: "null" });
  await dp.ports.add({ name: "b2", type: "null" });
  const ops = raws.flatMap((raw) => decide(new Upcall(raw)));
  const executes = raws.map(({ packet, key }): Op => ({
    op: "execute",
    packet,
    key,
    actions: [output(0)],
  }));

  Deno.bench("netdev: 256 packets executed", () => {
    dp.operate(executes);
  });

  Deno.bench("netdev: 256 decisions carried out, flows put and deleted again", () => {
    dp.operate(ops);
    dp.flows.flush();
  });
}
