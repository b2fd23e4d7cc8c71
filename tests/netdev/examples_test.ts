// SPDX-License-Identifier: Apache-2.0
/** The examples, really run: each as the file that it is, in a process of its own. */
import assert from "node:assert/strict";
import { run, tryRun } from "../support/command.ts";
import { tcpFrame, udpFrame } from "../support/frames.ts";
import { answers, type Host, makeHosts, on, ping } from "../support/netns.ts";
import { NetdevBench } from "../support/netdev.ts";
import { until } from "../support/wait.ts";
import { needProgram, needRoot, skippable } from "../support/skip.ts";

const example = (name: string) =>
  new URL(`../../examples/${name}`, import.meta.url).pathname;

/** Runs an example until the body is through, then sends SIGINT; it must not have ended before. */
async function withExample(
  args: readonly string[],
  body: () => Promise<void>,
): Promise<void> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", ...args],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  const stderr = new Response(child.stderr).text();
  let ended = false;
  const status = child.status.then((status) => {
    ended = true;
    return status;
  });
  try {
    await body();
    assert.equal(ended, false, "the example ended by itself");
  } catch (error) {
    if (ended) throw new Error(await stderr, { cause: error });
    throw error;
  } finally {
    if (!ended) child.kill("SIGINT");
    await status;
    await stderr;
  }
  const { code } = await status;
  assert.equal(code, 0, await stderr);
  assert.match(await stderr, /^netdev@\S+ is ready with /m);
}

/** Waits until a host is reached. */
async function reached(from: Host, address: string): Promise<void> {
  await until(`an answer of ${address}`, () => answers(from, address));
}

/** Compiles the library before an example's clock runs, and skips where that cannot be. */
async function prepare(): Promise<void> {
  needRoot("netdev");
  await using _ = await NetdevBench.open();
}

for (const name of ["hub.ts", "learning_switch.ts", "aging_switch.ts"]) {
  Deno.test(
    `example: ${name} connects three hosts`,
    skippable(async () => {
      await prepare();
      await using network = await makeHosts("exa", 3, { net: 83 });
      const [a, b, c] = network.hosts;
      assert.ok(a !== undefined && b !== undefined && c !== undefined);
      const devices = network.hosts.map(({ device }) => device);
      await withExample([example(name), "netdev@example", ...devices], async () => {
        await reached(a, b.ipv4);
        await ping(a, c.ipv4, 3);
        await ping(c, b.ipv6, 3);
      });
    }),
  );
}

Deno.test(
  "example: aging_switch.ts follows a station that moves, and forgets silent ones",
  skippable(async () => {
    await prepare();
    await using network = await makeHosts("exb", 3, { net: 84 });
    const [a, b, c] = network.hosts;
    assert.ok(a !== undefined && b !== undefined && c !== undefined);
    const devices = network.hosts.map(({ device }) => device);
    await withExample([
      example("aging_switch.ts"),
      "netdev@example",
      ...devices,
      "--age=1",
    ], async () => {
      await reached(a, b.ipv4);
      await ping(a, b.ipv4, 3);
      // The station moves: its addresses go to another host, which says so.
      await run("ip", "-n", b.namespace, "link", "set", b.inner, "down");
      await run("ip", "-n", c.namespace, "link", "set", c.inner, "address", b.mac);
      await run("ip", "-n", c.namespace, "addr", "add", `${b.ipv4}/24`, "dev", c.inner);
      await tryRun(...on(c, "ping", "-c", "1", "-W", "1", a.ipv4));
      await reached(a, b.ipv4);
      await ping(a, b.ipv4, 3);
    });
  }),
);

Deno.test(
  "example: mirror.ts lets a third host see what passes",
  skippable(async () => {
    await prepare();
    const tcpdump = needProgram("tcpdump", { requirement: "peer" });
    await using network = await makeHosts("exc", 3, { net: 85 });
    const [a, b, monitor] = network.hosts;
    assert.ok(a !== undefined && b !== undefined && monitor !== undefined);
    const devices = network.hosts.map(({ device }) => device);
    await withExample(
      [example("mirror.ts"), "netdev@example", ...devices, "100"],
      async () => {
        await reached(a, b.ipv4);
        const seen = run(
          ...on(
            monitor,
            "timeout",
            "60",
            tcpdump,
            "-n",
            "-l",
            "-c",
            "6",
            "-i",
            monitor.inner,
            "icmp",
          ),
        );
        // It may not listen yet when the first go by.
        let isOver = false;
        const over = () => isOver = true;
        seen.then(over, over);
        await until("tcpdump to see six", async () => {
          await ping(a, b.ipv4, 2);
          return isOver;
        });
        const text = await seen;
        assert.match(text, /echo request/);
        assert.match(text, /echo reply/);
      },
    );
  }),
);

/** A capture file of frames, as libpcap writes it. */
function capture(frames: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const size = frames.reduce((sum, { length }) => sum + 16 + length, 24);
  const file = new Uint8Array(size);
  const view = new DataView(file.buffer);
  view.setUint32(0, 0xa1b2c3d4, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, 65535, true);
  view.setUint32(20, 1, true);
  let at = 24;
  for (const [i, frame] of frames.entries()) {
    view.setUint32(at, i, true);
    view.setUint32(at + 8, frame.length, true);
    view.setUint32(at + 12, frame.length, true);
    file.set(frame, at + 16);
    at += 16 + frame.length;
  }
  return file;
}

Deno.test(
  "example: counter.ts counts the bytes of each host in a capture file, without root",
  skippable(async () => {
    await using _ = await NetdevBench.open();
    const directory = await Deno.makeTempDir({ prefix: "upcall-counter-" });
    try {
      const frames = Array.from(
        { length: 900 },
        (_, i) =>
          i % 3 === 0
            ? tcpFrame({ src: "10.1.0.1", payload: new Uint8Array(100) })
            : udpFrame({ src: `10.1.0.${2 + i % 2}`, payload: new Uint8Array(i % 200) }),
      );
      frames.push(udpFrame({ version: 6, src: "fd00::77" }));
      const wanted = new Map<string, number>();
      for (const frame of frames) {
        const host = frame[12] === 8 ? frame.slice(26, 30).join(".") : "fd00::77";
        wanted.set(host, (wanted.get(host) ?? 0) + frame.length);
      }
      await Deno.writeFile(`${directory}/in.pcap`, capture(frames));
      await Deno.chmod(directory, 0o755);
      const { code, stdout, stderr } = await tryRun(
        Deno.execPath(),
        "run",
        "-A",
        "--quiet",
        example("counter.ts"),
        `${directory}/in.pcap`,
      ); // deno-fmt-ignore
      assert.equal(code, 0, stderr);
      const found = new Map(
        stdout.trim().split("\n").map((line): [string, number] => {
          const [total, host = ""] = line.split("\t");
          return [host, Number(total)];
        }),
      );
      assert.deepEqual(found, wanted, stderr);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  }),
);
