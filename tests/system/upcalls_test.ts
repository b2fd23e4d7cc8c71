// SPDX-License-Identifier: Apache-2.0
/** Upcalls: dispatch, overflow, several handlers, several programs, taking over. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { type Datapath, openDatapath, output, type Upcall } from "../../mod.ts";
import { run, shell, tryRun } from "../support/command.ts";
import { udpFrame } from "../support/frames.ts";
import { Tap } from "../support/tap.ts";
import { makeDatapath, newName, systemTest, until } from "./system.ts";

/** A port that frames can be put into. */
async function addTap(dp: Datapath): Promise<{ tap: Tap; no: number }> {
  const tap = new Tap(`t${newName()}`);
  return { tap, no: (await dp.ports.add({ name: tap.name })).no };
}

/** Upcalls of a handler until `count` came or none came for a while. */
async function take(dp: Datapath, count: number, handler = 0): Promise<Upcall[]> {
  const upcalls: Upcall[] = [];
  const signal = AbortSignal.timeout(30_000);
  for await (const batch of dp.upcallBatches({ handler, signal })) {
    upcalls.push(...batch);
    if (upcalls.length >= count) break;
  }
  return upcalls;
}

for (const dispatch of ["per-cpu", "per-vport"]) {
  systemTest(`misses come up, dispatched ${dispatch}`, async () => {
    await using made = await makeDatapath({ config: { dispatch } });
    const { dp } = made;
    const { tap, no } = await addTap(dp);
    using _ = tap;
    const upcalls = take(dp, 3);
    for (let i = 0; i < 3; i++) tap.write(udpFrame({ srcPort: i + 1 }));
    deepEqual((await upcalls).map(({ key }) => key.udp?.src), [1, 2, 3]);
    // An action brings its userdata, and its port id is one that the kernel takes.
    const pid = dp.ports.upcallPortId(no);
    ok(pid !== 0);
    dp.flows.put({
      key: `in_port(${no}),eth(),eth_type(0x0800),ipv4()`,
      actions: `userspace(pid=${pid},userdata(0102),actions)`,
    });
    const action = take(dp, 1);
    tap.write(udpFrame());
    const [upcall] = await action;
    equal(upcall?.kind, "action");
    deepEqual(upcall?.userdata, Uint8Array.of(1, 2));
    ok((upcall?.actions?.length ?? 0) > 0);
    equal(upcall?.hash !== undefined, true);
  });
}

systemTest(
  "run takes in what ovs-dpctl did: a port, and another dispatch",
  async () => {
    await using made = await makeDatapath({ config: { dispatch: "per-vport" } });
    const { dp } = made;
    const stream = dp.upcallBatches();
    using tap = new Tap(`t${newName()}`);
    await run("ovs-dpctl", "add-if", dp.name, tap.name);
    dp.run();
    tap.write(udpFrame());
    equal((await stream.next()).value?.length, 1);
    await stream.close();
  },
);

systemTest("truncated packets say how long they were", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  const { tap, no } = await addTap(dp);
  using _ = tap;
  const frame = udpFrame({ payload: new Uint8Array(200) });
  const pid = dp.ports.upcallPortId(no);
  dp.flows.put({
    key: `in_port(${no}),eth(),eth_type(0x0800),ipv4()`,
    actions: `trunc(60),userspace(pid=${pid})`,
  });
  const upcalls = take(dp, 1);
  tap.write(frame);
  const [upcall] = await upcalls;
  equal(upcall?.packet.length, 60);
  equal(upcall?.originalLength, frame.length);
});

systemTest("what does not fit is lost, and counted exactly", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  const { tap } = await addTap(dp);
  using _ = tap;
  const stream = dp.upcallBatches({ batch: 256 });
  const before = dp.stats();
  const frame = udpFrame({ payload: new Uint8Array(1400) });
  const sent = 5000;
  for (let i = 0; i < sent; i++) tap.write(frame);
  let received = 0;
  for await (const batch of stream) {
    received += batch.length;
    if (BigInt(received) + stream.lost >= BigInt(sent)) break;
  }
  const after = dp.stats();
  equal(BigInt(received) + stream.lost, BigInt(sent));
  ok(stream.lost > 0n && received > 100, `${received} received, ${stream.lost} lost`);
  equal(after.missed - before.missed, BigInt(sent));
  equal(after.lost - before.lost, stream.lost);
});

systemTest("two programs on one datapath are told of each other", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  await using again = await openDatapath(dp.fullName);
  const stream = dp.upcallBatches();
  throws(() => again.upcallBatches(), { code: "EBUSY" });
  dp.setHandlers(2);
  throws(() => again.setHandlers(3), { code: "EBUSY" });
  await stream.close();
  await again.upcallBatches().close();
});

systemTest("a program that is not one of ours is told of by name", async () => {
  const name = newName();
  const script = `
import socket, struct, time, sys
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16); s.bind((0, 0))
print(s.getsockname()[0], flush=True); time.sleep(20)`;
  const other = new Deno.Command("python3", { args: ["-c", script], stdout: "piped" })
    .spawn();
  try {
    const reader = other.stdout.getReader();
    const portId = Number(new TextDecoder().decode((await reader.read()).value));
    reader.releaseLock();
    await using made = await makeDatapath({ name, config: { dispatch: "per-vport" } });
    await shell("ip link add sux type dummy");
    const { Kernel } = await import("../../providers/system/ovs.ts");
    const { getDatapath } = await import("../../providers/system/datapaths.ts");
    const { createVport } = await import("../../providers/system/vports.ts");
    const kernel = new Kernel();
    const { ifindex } = getDatapath(kernel, name);
    createVport(kernel, ifindex, { type: 1, name: "sux", upcallPids: [portId] });
    kernel.close();
    throws(() => made.dp.upcallBatches(), (error: { code: string; message: string }) => {
      return error.code === "EBUSY" && error.message.includes(`port id ${portId}`) &&
        error.message.includes("python3");
    });
    other.kill("SIGKILL");
    await other.status;
    // Its socket is gone, so that nobody is there to be disturbed.
    await made.dp.upcallBatches().close();
  } finally {
    await tryRun("ip", "link", "delete", "sux");
    await other.stdout.cancel();
    try {
      other.kill("SIGKILL");
    } catch {
      // It was killed already.
    }
    await other.status;
  }
});

systemTest("handlers in Workers take upcalls side by side", async () => {
  await using made = await makeDatapath({ config: { dispatch: "per-vport" } });
  const { dp } = made;
  dp.setHandlers(2);
  const taps = [(await addTap(dp)).tap, (await addTap(dp)).tap];
  const counts = [0, 0];
  const workers = [0, 1].map((handler) => {
    const url = new URL("./upcall_worker.ts", import.meta.url);
    const worker = new Worker(url, { type: "module" });
    worker.postMessage({ datapath: dp.fullName, handler });
    return worker;
  });
  try {
    await Promise.all(workers.map((worker, i) =>
      new Promise<void>((resolve) => {
        worker.onmessage = ({ data }) => {
          if (data === "ready") resolve();
          else counts[i] = data;
        };
      })
    ));
    for (let i = 0; i < 10; i++) for (const tap of taps) tap.write(udpFrame());
    await until(() => counts.every((count) => count === 10));
  } finally {
    for (const worker of workers) worker.postMessage("stop");
    await until(() => counts.every((count) => count === -1));
    for (const worker of workers) worker.terminate();
    for (const tap of taps) tap.close();
  }
});

systemTest(
  "a killed program leaves forwarding intact, and the next takes over",
  async () => {
    const name = newName();
    using a = new Tap(`t${newName()}`);
    using b = new Tap(`t${newName()}`);
    const program =
      new URL("../../examples/learning_switch.ts", import.meta.url).pathname;
    const start = () =>
      new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", program, `system@${name}`, a.name, b.name],
        stdout: "null",
        stderr: "inherit",
      }).spawn();
    const there = udpFrame();
    const back = Uint8Array.of(
      ...there.slice(6, 12),
      ...there.slice(0, 6),
      ...there.slice(12),
    );
    const first = start();
    let second: Deno.ChildProcess | undefined;
    const pass = (from: Tap, frame: Uint8Array, to: Tap) =>
      until(() => {
        from.write(frame);
        return to.readAll().length > 0;
      });
    try {
      await pass(a, there, b);
      first.kill("SIGKILL");
      await first.status;
      await using dp = await openDatapath(`system@${name}`);
      dp.flows.put({
        key: "in_port(1),eth(),eth_type(0x0800),ipv4()",
        actions: [output(2)],
        modify: true,
      });
      b.readAll();
      a.write(there);
      equal(b.readAll().length, 1);
      const { lost } = dp.stats();
      b.write(back);
      equal(dp.stats().lost, lost + 1n);
      equal(
        dp.flows.get({ key: "in_port(1),eth(),eth_type(0x0800),ipv4()" }).stats.packets,
        1n,
      );
      second = start();
      await pass(b, back, a);
      equal([...dp.ports.dump()].length, 3);
      second.kill("SIGKILL");
      await second.status;
      await dp.destroy();
    } finally {
      for (const child of [first, second]) {
        try {
          child?.kill("SIGKILL");
        } catch {
          // It ended.
        }
        await child?.status;
      }
    }
    await rejects(openDatapath(`system@${name}`), { code: "ENODEV" });
  },
);

systemTest("purge drops what waits, closing ends what waits", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  const { tap } = await addTap(dp);
  using _ = tap;
  const stream = dp.upcallBatches();
  for (let i = 0; i < 300; i++) tap.write(udpFrame());
  dp.purgeUpcalls();
  tap.write(udpFrame({ srcPort: 7 }));
  const { value } = await stream.next();
  deepEqual(value?.map(({ key }) => key.udp?.src), [7]);
  const waiting = stream.next();
  await dp.close();
  equal((await waiting).done, true);
});
