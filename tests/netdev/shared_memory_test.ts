// SPDX-License-Identifier: Apache-2.0
/** Frames between two processes by shared memory. */
import assert from "node:assert/strict";
import type { Datapath } from "../../providers/datapath.ts";
import { output } from "../../providers/odp/mod.ts";
import type { PortNo } from "../../providers/ids.ts";
import { udpFrame } from "../support/frames.ts";
import { collectAll, NetdevBench, settled } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";

const FRAMES = 1000;

/** A port of the userspace datapath, without its number. */
interface Near {
  readonly type: string;
  readonly options: Record<string, string>;
}

const specifier = JSON.stringify(new URL("../../mod.ts", import.meta.url).href);

/** The other process: sends back what it receives, until its input ends. */
const peer = (far: Near): string => `
  const { openDatapath } = await import(${specifier});
  await using dp = await openDatapath("netdev@peer", {
    create: true,
    onNotice: () => {},
    // Memory that the other end can be given, with hugepages or without.
    config: { eal: "--no-huge\\n--no-shconf\\n--no-pci\\n--no-telemetry\\n--iova-mode=va\\n-m\\n512" },
  });
  const { no } = await dp.ports.add({ name: "far", ...${JSON.stringify(far)} });
  dp.flows.put({
    key: \`recirc_id(0),in_port(\${no}),eth_type(0x0800),ipv4(frag=no)\`,
    actions: \`\${no}\`,
  });
  console.log("ready");
  for await (const _ of Deno.stdin.readable);
`;

/** Starts the other process, and resolves when its port is there. */
async function startPeer(far: Near): Promise<Deno.ChildProcess> {
  const script = await Deno.makeTempFile({ prefix: "upcall-shared-", suffix: ".ts" });
  await Deno.writeTextFile(script, peer(far));
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-lock", "--no-config", script],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  await Deno.remove(script);
  assert.equal(new TextDecoder().decode(value), "ready\n");
  return child;
}

/** Sends frames that differ, and returns those that came back. */
async function roundTrip(
  dp: Datapath,
  ports: { out: PortNo; host: PortNo },
): Promise<void> {
  const sent = Array.from(
    { length: FRAMES },
    (_, i) => udpFrame({ srcPort: i + 1, payload: new Uint8Array(i + 1).fill(i) }),
  );
  const got: Uint8Array[] = [];
  for (let at = 0; at < sent.length; at += 100) { // Its ring is not to overflow.
    for (const frame of sent.slice(at, at + 100)) dp.ports.inject?.(ports.host, frame);
    await until(`frames from ${at}`, () => {
      got.push(...collectAll(dp, ports.out));
      return got.length >= Math.min(at + 100, sent.length);
    });
  }
  assert.deepEqual(got, sent);
}

/** Both ends of a way from one process to another; the near one is made first. */
const links: Record<string, (socket: string) => { far: Near; near: Near }> = {
  "memif": (socket) => ({
    far: { type: "memif", options: { socket, role: "client", id: "7" } },
    near: { type: "memif", options: { socket, role: "server", id: "7" } },
  }),
  "vhost-user": (socket) => ({
    far: { type: "dpdk", options: { devargs: `net_virtio_user7,path=${socket}` } },
    near: { type: "vhost-user", options: { path: socket } },
  }),
};

for (const [name, ends] of Object.entries(links)) {
  Deno.test(
    `${name}: frames pass to another process and back, and its death is no harm`,
    skippable(async () => {
      const folder = await Deno.makeTempDir({ prefix: "upcall-shared-" });
      const socket = `${folder}/socket`;
      const { far, near: end } = ends(socket);
      await using bench = await NetdevBench.open();
      const { dp } = bench;
      const [host, out] = await bench.ports("host", "out");
      const { no: near } = await dp.ports.add({ name: "near", ...end });
      const child = await startPeer(far);
      try {
        for (const [from, to] of [[host, near], [near, out]] as const) {
          dp.flows.put({
            key: `recirc_id(0),in_port(${from}),eth_type(0x0800),ipv4(frag=no)`,
            actions: [output(to)],
          });
        }
        // The two find each other in their own time; what is sent before that is dropped.
        await until("the link", () => {
          dp.ports.inject?.(host, udpFrame());
          return collectAll(dp, out).length > 0;
        });
        // Some of it may still be under way: when the last comes back, all has.
        const last = udpFrame({ payload: new TextEncoder().encode("the last") });
        dp.ports.inject?.(host, last);
        await until(
          "what was sent to come back",
          () => collectAll(dp, out).some((frame) => frame.toHex() === last.toHex()),
        );
        await roundTrip(dp, { out, host });

        child.kill("SIGKILL");
        await child.status;
        const before = Number(dp.stats().counters?.received);
        for (let i = 0; i < 100; i++) dp.ports.inject?.(host, udpFrame());
        await settled(dp, before + 100);
      } finally {
        await child.stdin.close().catch(() => {});
        await child.stdout.cancel();
        await child.status;
        await Deno.remove(folder, { recursive: true });
      }
    }),
  );
}
