// SPDX-License-Identifier: Apache-2.0
/** The userspace datapath on hugepages, in a process of its own: EAL starts once in each. */
import assert from "node:assert/strict";
import { bytes, udpFrame } from "../support/frames.ts";
import { makeHosts } from "../support/netns.ts";
import { needRoot, skippable, Unsupported } from "../support/skip.ts";
import { runScript } from "../support/script.ts";
import { TextLineStream } from "../conformance/scenarios/lines.ts";

const base = "/sys/kernel/mm/hugepages/hugepages-2048kB";
/** 2 MiB each: more than what makes EAL choose them. */
const PAGES = 192;
/** What is just enough to be chosen. */
const FEW = 80;
const FRAMES = 500;

function read(name: string): number {
  try {
    return Number(Deno.readTextFileSync(`${base}/${name}`));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Unsupported("hugepages of 2 MiB", { requirement: "netdev" });
  }
}

/** Reserves what is missing until disposed of, and no more. */
function reserve(pages: number): Disposable {
  const missing = pages - read("free_hugepages");
  const before = read("nr_hugepages");
  const set = (count: number) =>
    Deno.writeTextFileSync(`${base}/nr_hugepages`, `${count}`);
  if (missing <= 0) return { [Symbol.dispose]() {} };
  try {
    set(before + missing);
  } catch (error) {
    if (
      !(error instanceof Deno.errors.PermissionDenied ||
        error instanceof Deno.errors.NotCapable ||
        (error instanceof Error && /Read-only/.test(error.message)))
    ) throw error;
    throw new Unsupported(`leave to reserve hugepages: ${error.message}`, {
      requirement: "netdev",
    });
  }
  const granted = read("nr_hugepages") - before;
  const restore = {
    // Others may have reserved some meanwhile: only these go.
    [Symbol.dispose]: () => set(Math.max(0, read("nr_hugepages") - granted)),
  };
  if (read("free_hugepages") >= pages) return restore;
  restore[Symbol.dispose]();
  throw new Unsupported(`${pages} free hugepages`, { requirement: "netdev" });
}

/** Takes free pages until `pages` are left. */
async function leave(pages: number): Promise<AsyncDisposable> {
  const size = (read("free_hugepages") - pages) * (2 << 20);
  if (size <= 0) return { async [Symbol.asyncDispose]() {} };
  const holder = `
import mmap, sys
held = mmap.mmap(-1, ${size}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)
for at in range(0, ${size}, 2 << 20): held[at] = 1
print("held", flush=True)
sys.stdin.read()`;
  const child = new Deno.Command("/usr/bin/python3", {
    args: ["-c", holder],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream())[Symbol.asyncIterator]();
  const { value } = await lines.next();
  const free = async () => {
    await child.stdin.close();
    await child.status;
    await lines.return?.();
  };
  if (value === "held") return { [Symbol.asyncDispose]: free };
  await free();
  throw new Unsupported(`${pages} free hugepages and no more`, { requirement: "netdev" });
}

/** A pcap file of UDP frames. */
function pcap(frames: readonly Uint8Array[]): Uint8Array {
  const words = (...numbers: number[]) => new Uint8Array(new Uint32Array(numbers).buffer);
  return bytes(
    words(0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1),
    ...frames.map((f) => bytes(words(0, 0, f.length, f.length), f)),
  );
}

const module = (path: string): string =>
  JSON.stringify(new URL(`../../${path}`, import.meta.url).href);

const script = (folder: string): string => `
  import { NetdevBench } from ${module("tests/support/netdev.ts")};
  import { udpFrame } from ${module("tests/support/frames.ts")};
  const notices: string[] = [];
  const report: Record<string, unknown> = {};
  {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [inPort, outPort] = await bench.ports("in", "out");
    const file = ${JSON.stringify(folder)};
    const add = async (name: string, type: string, options: Record<string, string> = {}) =>
      (await dp.ports.add({ name, type, options })).no;
    const sink = await add("sink", "null");
    const writer = await add("writer", "pcap", { tx_pcap: file + "/out.pcap" });
    const connect = (from: number, ...to: number[]) =>
      dp.flows.put({
        key: \`recirc_id(0),in_port(\${from}),eth_type(0x0800),ipv4(frag=no)\`,
        actions: to.join(","),
      });
    connect(inPort, outPort, sink, writer);
    const frames = Array.from({ length: ${FRAMES} }, (_, i) =>
      udpFrame({ srcPort: i + 1, payload: new Uint8Array(i + 1) }));
    for (let at = 0; at < frames.length; at += 50) {
      await bench.injectAll(inPort, frames.slice(at, at + 50));
      await bench.settle();
    }
    report.same = (await bench.collect(outPort))
      .every((frame, i) => frame.toHex() === frames[i]?.toHex());
    report.sunk = Number(dp.ports.stats(sink)?.txPackets);
    const back = (await bench.ports("back"))[0];
    connect(6, back);
    const reader = (await dp.ports.add({
      name: "reader", type: "pcap", no: 6, options: { rx_pcap: file + "/in.pcap" },
    })).no;
    const end = performance.now() + 30_000;
    let read = 0;
    while (read < ${FRAMES} && performance.now() < end) {
      while (dp.ports.collect?.(back) !== undefined) read++;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    report.read = read;
    await dp.ports.delete(reader);
    await dp.ports.delete(writer);
    const status = Deno.readTextFileSync("/proc/self/status");
    report.huge = Number(/HugetlbPages:\\s+(\\d+)/.exec(status)?.[1]) > 0;
  }
  // Whoever works on the sources is told of that too.
  console.log(JSON.stringify({
    ...report,
    notices: notices.filter((text) => text.includes("hugepages")),
  }));
`;

Deno.test(
  "hugepages: EAL takes them, packets pass, every buffer comes home",
  skippable(async () => {
    needRoot("netdev");
    using _pages = reserve(PAGES);
    const folder = await Deno.makeTempDir({ prefix: "upcall-huge-" });
    try {
      const frames = Array.from(
        { length: FRAMES },
        (_, i) => udpFrame({ srcPort: i + 1 }),
      );
      await Deno.writeFile(`${folder}/in.pcap`, pcap(frames));
      const { code, stdout, stderr } = await runScript(script(folder), { flags: ["-A"] });
      assert.equal(code, 0, stderr);
      const report = JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
      assert.deepEqual(report, {
        same: true,
        sunk: FRAMES,
        read: FRAMES,
        huge: true,
        notices: [],
      });
      const written = await Deno.readFile(`${folder}/out.pcap`);
      const payloads = FRAMES * (FRAMES + 1) / 2;
      assert.equal(written.length, 24 + FRAMES * (16 + 42) + payloads);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }),
);

Deno.test(
  "hugepages: a few are enough for every pool of packets, and too few are left alone",
  skippable(async () => {
    needRoot("netdev");
    await using network = await makeHosts("hpf", 2, { net: 98 });
    const devices = network.hosts.map(({ device }) => device);
    const ports = `
      import { openDatapath } from ${module("mod.ts")};
      await using dp = await openDatapath("netdev@few", { create: true });
      const [a, b] = ${JSON.stringify(devices)};
      // Large buffers are for this one; a pool of its own has the other.
      await dp.ports.add({ name: "a", type: "system", options: { device: a } });
      await dp.ports.add({ name: "b", type: "afxdp", options: { device: b } });
    `;
    for (
      const [pages, said] of [
        [FEW, /upcall: few free hugepages \(160 MiB\): 16384 packet buffers/],
        [FEW - 4, /upcall: too few free hugepages \(152 MiB, 160 MiB are needed\)/],
      ] as const
    ) {
      using _pages = reserve(pages);
      let stderr = "";
      // What other processes give back meanwhile is free as well: the number tells, and then
      // the test tries again.
      for (let tries = 0; tries < 5 && !stderr.includes(`(${2 * pages} MiB`); tries++) {
        await using _rest = await leave(pages);
        const { code, stderr: text } = await runScript(ports, { flags: ["-A"] });
        assert.equal(code, 0, text);
        stderr = text;
      }
      assert.match(stderr, said);
    }
  }),
);

Deno.test(
  "hugepages: processes share them as they share ordinary memory",
  skippable(async () => {
    needRoot("netdev");
    using _pages = reserve(2 * PAGES);
    // In a process of its own, for EAL chooses its memory once in each.
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--quiet", `${import.meta.dirname}/shared_memory_test.ts`],
      env: { NO_COLOR: "1", UPCALL_SKIPS: "" },
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).output();
    const said = new TextDecoder().decode(stdout);
    assert.equal(code, 0, said);
    assert.match(said, /vhost-user: .* ok /);
  }),
);

/** Hides the hugepages that there are from a program. */
const without = 'mount -t tmpfs none /sys/kernel/mm/hugepages; exec "$@"';

Deno.test(
  "hugepages: without them the kernel makes transparent ones, and virtio_user says what it needs",
  skippable(async () => {
    needRoot("netdev");
    const setting = "/sys/kernel/mm/transparent_hugepage/enabled";
    const enabled = await Deno.readTextFile(setting).catch(() => "[never]");
    if (/\[never\]/.test(enabled)) {
      throw new Unsupported("transparent hugepages", { requirement: "netdev" });
    }
    const program = `
      import { openDatapath } from ${module("mod.ts")};
      await using dp = await openDatapath("netdev@thp", { create: true });
      const huge = Deno.readTextFileSync("/proc/self/smaps_rollup");
      console.log(/AnonHugePages: +(\\d+)/.exec(huge)?.[1]);
      await dp.ports.add({
        name: "v", type: "dpdk", options: { devargs: "net_virtio_user0,path=/nosuch" },
      }).catch(({ message }) => console.log(message));
    `;
    const { stdout, stderr } = await new Deno.Command("unshare", {
      args: ["--mount", "sh", "-ec", without, "sh", Deno.execPath(), "eval", program],
      stdin: "null",
      env: { NO_COLOR: "1" },
    }).output();
    const [huge, refusal] = new TextDecoder().decode(stdout).split("\n");
    const said = new TextDecoder().decode(stderr);
    // The pool of packet buffers alone is 40 MiB.
    assert.ok(Number(huge) >= 40 << 10, `${huge} KiB in huge pages\n${said}`);
    assert.match(said, /too few free hugepages .*: using transparent ones/);
    assert.match(
      refusal ?? "",
      /virtio_user shares this process's memory.* EOPNOTSUPP|EOPNOTSUPP/,
    );
  }),
);

Deno.test(
  "hugepages: where private memory is limited, ordinary memory is used",
  skippable(async () => {
    needRoot("netdev");
    const program = `
      import { openDatapath } from ${module("mod.ts")};
      await using dp = await openDatapath("netdev@lim", { create: true });
      console.log((await dp.ports.add({ name: "p", type: "dummy" })).name);
    `;
    const { stdout, stderr } = await new Deno.Command("prlimit", {
      args: [`--data=${2 ** 34}`, "unshare", "--mount", "sh", "-ec", without, "sh"]
        .concat(Deno.execPath(), "eval", program),
      stdin: "null",
      env: { NO_COLOR: "1" },
    }).output();
    const said = new TextDecoder().decode(stderr);
    assert.equal(new TextDecoder().decode(stdout), "p\n", said);
    assert.match(said, /too few free hugepages .*: using ordinary memory/);
  }),
);
