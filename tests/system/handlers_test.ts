// SPDX-License-Identifier: Apache-2.0
/**
 * Who gets the upcalls of a datapath of the kernel, and what becomes of that when others come and
 * go.
 */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { type Datapath, openDatapath } from "../../mod.ts";
import { livingPortIds, parsePortId } from "../../providers/system/port_ids.ts";
import { getDatapath } from "../../providers/system/datapaths.ts";
import { Kernel } from "../../providers/system/ovs.ts";
import { listVports } from "../../providers/system/vports.ts";
import { run } from "../support/command.ts";
import { udpFrame } from "../support/frames.ts";
import { Tap } from "../support/tap.ts";
import { patience } from "../support/wait.ts";
import { makeDatapath, newName, systemTest, until } from "./system.ts";

const dispatches = ["per-cpu", "per-vport"] as const;

/** Port ids that the kernel sends upcalls of a datapath to. */
function directedTo(name: string): number[] {
  const kernel = new Kernel();
  try {
    const { ifindex, perCpuPids } = getDatapath(kernel, name);
    const ids = perCpuPids ??
      listVports(kernel, ifindex).flatMap(({ upcallPids }) => upcallPids);
    return [...new Set(ids)];
  } finally {
    kernel.close();
  }
}

/** Upcalls that a stream gets for one frame. Rejects when it gets none. */
async function heard(dp: Datapath, tap: Tap): Promise<number> {
  const stream = dp.upcallBatches({ signal: patience() });
  tap.write(udpFrame());
  const { value } = await stream.next();
  await stream.close();
  return value?.length ?? 0;
}

function openFiles(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

for (const dispatch of dispatches) {
  systemTest(
    `nothing is directed to a closed handler, dispatched ${dispatch}`,
    async () => {
      await using made = await makeDatapath({ config: { dispatch } });
      const { dp } = made;
      deepEqual(directedTo(dp.name), [0]);
      const stream = dp.upcallBatches();
      const [portId = 0] = directedTo(dp.name);
      equal(parsePortId(portId)?.handler, 0);
      deepEqual([...livingPortIds([portId])], [portId]);
      await stream.close();
      deepEqual(directedTo(dp.name), [0]);
      // Another time, another port id.
      const again = dp.upcallBatches();
      ok(directedTo(dp.name)[0] !== portId);
      await again.close();
      // With handlers that nobody opened the kernel counts what is theirs as lost.
      dp.setHandlers(2);
      using tap = new Tap(`t${newName()}`);
      await dp.ports.add({ name: tap.name });
      const { lost } = dp.stats();
      for (let i = 0; i < 5; i++) tap.write(udpFrame());
      equal(dp.stats().lost - lost, 5n);
      await dp.close();
      deepEqual(directedTo(dp.name), [0]);
      const other = await openDatapath(dp.fullName);
      await other.destroy();
      await other.close();
    },
  );
}

systemTest("what an unprivileged user binds is no handler", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      "--no-check",
      `const { openDatapath } = await import("${new URL(
        "../../mod.ts",
        import.meta.url,
      )}");
       const dp = await openDatapath("${dp.fullName}"); dp.upcalls(); console.log("ready");
       setInterval(() => {}, 1000);`,
    ],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();
  // It could not clean up: anybody may read from the kernel where upcalls go, and bind that.
  const [portId = 0] = directedTo(dp.name);
  ok(portId !== 0);
  deepEqual([...livingPortIds([portId])], []);
  const script = `
import socket, time
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16); s.bind((${portId}, 0))
print("bound", flush=True); time.sleep(60)`;
  const thief = new Deno.Command("setpriv", {
    args: [
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      "python3",
      "-c",
      script,
    ],
    stdout: "piped",
  }).spawn();
  const said = thief.stdout.getReader();
  try {
    equal(new TextDecoder().decode((await said.read()).value).trim(), "bound");
    const stream = dp.upcallBatches();
    ok(directedTo(dp.name)[0] !== portId);
    await stream.close();
  } finally {
    thief.kill("SIGKILL");
    await thief.status;
    await said.cancel();
  }
});

systemTest("a handler that there is not, or that somebody has, is refused", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  await using other = await openDatapath(dp.fullName);
  const before = openFiles();
  throws(() => dp.upcalls({ handler: 1 }), { code: "EINVAL" });
  dp.setHandlers(2);
  // One CPU: nothing is ever sent to the second, and it is one handler all the same.
  const second = dp.upcalls({ handler: 1 });
  throws(() => other.upcalls({ handler: 1 }), { code: "EBUSY" });
  throws(() => other.upcalls({ handler: 2 }), { code: "EINVAL" });
  const first = other.upcalls();
  throws(() => dp.upcalls(), { code: "EBUSY" });
  await Promise.all([first.close(), second.close()]);
  equal(openFiles(), before + 1, "the socket that keeps the number of handlers");
});

systemTest("handlers keep theirs when the number of handlers is set", async () => {
  await using made = await makeDatapath({ config: { dispatch: "per-vport" } });
  const { dp } = made;
  using tap = new Tap(`t${newName()}`);
  await dp.ports.add({ name: tap.name, no: 2 });
  const stream = dp.upcallBatches();
  tap.write(udpFrame({ srcPort: 1 }));
  dp.setHandlers(2);
  tap.write(udpFrame({ srcPort: 2 }));
  const sources: (number | undefined)[] = [];
  while (sources.length < 2) {
    const { value = [] } = await stream.next();
    sources.push(...value.map(({ key }) => key.udp?.src));
  }
  deepEqual(sources, [1, 2]);
  await using other = await openDatapath(dp.fullName);
  throws(() => other.setHandlers(3), { code: "EBUSY" });
  const theirs = other.upcallBatches({ handler: 1 });
  await stream.close();
  await dp.close();
  // The number is as it was for who has a handler, and may be set again.
  other.setHandlers(3);
  await theirs.close();
  await other.destroy();
});

systemTest("a handler keeps its port id while others come and go", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  await using worker = await openDatapath(dp.fullName);
  dp.setHandlers(3);
  const stream = worker.upcallBatches();
  const [portId] = directedTo(dp.name);
  using tap = new Tap(`t${newName()}`);
  // Each is news that the handler takes in.
  await dp.ports.add({ name: tap.name });
  await dp.upcalls({ handler: 2 }).close();
  tap.write(udpFrame());
  equal((await stream.next()).value?.length, 1);
  deepEqual(directedTo(dp.name), [portId]);
  throws(() => worker.upcalls({ handler: 3 }), { code: "EINVAL" });
  await stream.close();
});

systemTest("trying again after EBUSY receives", async () => {
  await using made = await makeDatapath({ config: { dispatch: "per-vport" } });
  const { dp: before } = made;
  using tap = new Tap(`t${newName()}`);
  await before.ports.add({ name: tap.name, no: 1 });
  before.setHandlers(4);
  const old = before.upcalls();
  const dp = await openDatapath(before.fullName);
  throws(() => dp.upcalls(), { code: "EBUSY" });
  await old.close();
  await before.close();
  equal(await heard(dp, tap), 1);
  // What ovs-dpctl turned while no stream was open is turned back by the next.
  await run("ovs-dpctl", "show", dp.name);
  equal(await heard(dp, tap), 1);
  await dp.destroy();
  await dp.close();
});

systemTest("a stream that waits hears of what others changed", async () => {
  await using made = await makeDatapath({ config: { dispatch: "per-vport" } });
  const { dp } = made;
  using a = new Tap(`t${newName()}`);
  using b = new Tap(`t${newName()}`);
  await dp.ports.add({ name: a.name });
  let count = 0;
  const stream = dp.upcalls();
  const loop = (async () => {
    for await (const _ of stream) count++;
  })();
  const hears = async (tap: Tap) => {
    count = 0;
    await until(() => {
      tap.write(udpFrame());
      return count > 0;
    });
  };
  await hears(a);
  await run("ovs-dpctl", "add-if", dp.name, b.name);
  await hears(b);
  await run("ovs-dpctl", "show", dp.name);
  await hears(a);
  await hears(b);
  await stream.close();
  await loop;
});

for (const dispatch of dispatches) {
  systemTest(`streams end when others delete the datapath, ${dispatch}`, async () => {
    const { dp } = await makeDatapath({ config: { dispatch } });
    // The socket of a dump is kept for the next.
    equal([...dp.ports.dump()].length, 1);
    const before = openFiles();
    const upcall = dp.upcalls().next();
    const changes = dp.ports.changes();
    await changes.next();
    const change = changes.next();
    await run("ovs-dpctl", "del-dp", dp.name);
    await rejects(upcall, { code: "ENODEV", message: /was removed/ });
    await rejects(change, { code: "ENODEV", message: /was removed/ });
    equal(openFiles(), before);
    throws(() => dp.upcalls(), { code: "ENODEV" });
    await rejects(dp.ports.changes().next(), { code: "ENODEV" });
    equal(openFiles(), before);
    await dp.close();
  });
}

systemTest("streams of the object that destroys the datapath end quietly", async () => {
  const { dp } = await makeDatapath();
  const upcall = dp.upcalls().next();
  const changes = dp.ports.changes();
  await changes.next();
  const change = changes.next();
  await dp.destroy();
  equal((await upcall).done, true);
  equal((await change).done, true);
  await dp.close();
});

systemTest("another program that takes the upcalls ends the stream", async () => {
  await using made = await makeDatapath({ config: { dispatch: "per-vport" } });
  const { dp } = made;
  const next = dp.upcalls().next();
  const script = `
import socket, time
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16); s.bind((0, 0))
print(s.getsockname()[0], flush=True); time.sleep(60)`;
  const other = new Deno.Command("python3", { args: ["-c", script], stdout: "piped" })
    .spawn();
  const reader = other.stdout.getReader();
  const kernel = new Kernel();
  try {
    const portId = Number(new TextDecoder().decode((await reader.read()).value));
    const { setVportPids } = await import("../../providers/system/vports.ts");
    const { ifindex } = getDatapath(kernel, dp.name);
    const refused = rejects(next, { code: "EBUSY", message: /another program/ });
    setVportPids(kernel, ifindex, 0, [portId]);
    // A change of a port's ids is not told; that of a port is.
    await dp.ports.add({ name: `i${newName()}`, type: "internal" });
    await refused;
    ok(directedTo(dp.name).includes(portId));
  } finally {
    kernel.close();
    other.kill("SIGKILL");
    await other.status;
    await reader.cancel();
  }
});

for (const end of ["Deno.exit()", "await stream.next()"]) {
  systemTest(`a program that ends leaves nothing directed to it: ${end}`, async () => {
    await using made = await makeDatapath();
    const { dp } = made;
    const module = new URL("../../mod.ts", import.meta.url).href;
    const script = `
      const { openDatapath } = await import("${module}");
      const dp = await openDatapath("${dp.fullName}");
      dp.setHandlers(2);
      const stream = dp.upcalls();
      console.log("ready");
      await new Promise((resolve) => setTimeout(resolve, 500));
      ${end};`;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", "--no-check", script],
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const reader = child.stdout.getReader();
    await reader.read();
    using tap = new Tap(`t${newName()}`);
    await dp.ports.add({ name: tap.name });
    ok(directedTo(dp.name)[0] !== 0);
    // The second ends by itself: it takes one upcall and has nothing more to do.
    await until(() => {
      tap.write(udpFrame());
      return directedTo(dp.name).join() === "0";
    });
    await child.status;
    await reader.cancel();
  });
}

/** Takes descriptors until none is left. */
function takeAll(): Deno.FsFile[] {
  const files: Deno.FsFile[] = [];
  try {
    for (;;) files.push(Deno.openSync("/dev/null"));
  } catch {
    return files;
  }
}

systemTest(
  "where no descriptor is left, a stream is refused and keeps none",
  async () => {
    await using made = await makeDatapath();
    const { dp } = made;
    await dp.upcalls().close();
    const files = takeAll();
    try {
      const said: string[] = [];
      for (let spare = 0; spare < 12; spare++) {
        try {
          const stream = dp.upcalls();
          const next = stream.next();
          await new Promise((resolve) => setTimeout(resolve, 5));
          await stream.close();
          await next;
          break;
        } catch (error) {
          said.push((error as { code: string }).code);
        }
        // All that it took came back: as many are free as before.
        const free = takeAll();
        equal(free.length, spare, said.join());
        for (const file of free) file.close();
        files.pop()?.close();
      }
      ok(said.length > 1 && said.every((code) => code === "EMFILE"), said.join());
    } finally {
      for (const file of files) file.close();
    }
    await dp.upcalls().close();
  },
);

systemTest(
  "a Worker that is terminated leaves its handler, socket and thread",
  async () => {
    await using made = await makeDatapath();
    const { dp } = made;
    dp.setHandlers(2);
    const count = () => [openFiles(), [...Deno.readDirSync("/proc/self/task")].length];
    const workerOf = async (handler: number): Promise<Worker> => {
      const url = new URL("./upcall_worker.ts", import.meta.url);
      const worker = new Worker(url, { type: "module" });
      worker.postMessage({ datapath: dp.fullName, handler });
      await new Promise<void>((resolve) => {
        worker.onmessage = ({ data }) => data === "ready" && resolve();
      });
      return worker;
    };
    const bound = () => livingPortIds(directedTo(dp.name));
    // The first may leave what the engine keeps for all of them.
    let before: number[] | undefined;
    for (let round = 0; round < 4; round++) {
      const worker = await workerOf(0);
      await until(() => [...bound()].some((id) => parsePortId(id)?.handler === 0));
      throws(() => dp.upcalls({ handler: 0 }), { code: "EBUSY" });
      worker.terminate();
      await until(() => ![...bound()].some((id) => parsePortId(id)?.handler === 0));
      await dp.upcalls({ handler: 0 }).close();
      before ??= count();
    }
    await until(() => {
      const [files = 0, threads = 0] = count();
      return files <= (before?.[0] ?? 0) + 6 && threads <= (before?.[1] ?? 0) + 1;
    });
  },
);
