// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { Child, run } from "./child.ts";
import { ControlPage } from "./control_page.ts";
import { buildNetGen, ealOptions } from "./machine.ts";
import { PacketSource } from "./packets.ts";
import { skippable, Unsupported } from "../support/skip.ts";

const FOLDER = new URL("./net_gen/", import.meta.url).pathname;

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "upcall-net-gen-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function need(command: string, args: string[]): Promise<void> {
  await run(command, args).catch(() => {
    throw new Unsupported(command, { requirement: "peer" });
  });
}

Deno.test(
  "frames takes whole captures and refuses every other file",
  skippable(async () => {
    await need("cc", ["--version"]);
    await withFolder(async (folder) => {
      const program = `${folder}/frames_test`;
      await run("cc", [
        ..."-std=gnu11 -g -O1 -Wall -Wextra -Werror -Wshadow".split(" "),
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        `${FOLDER}frames.c`,
        `${FOLDER}frames_test.c`,
        "-o",
        program,
      ]);
      assert.equal(await run(program, [`${folder}/capture`]), "");
    });
  }),
);

/** Frames of a capture file, in order, as text. */
function readFrames(path: string): string[] {
  const bytes = Deno.readFileSync(path);
  const view = new DataView(bytes.buffer);
  const frames: string[] = [];
  for (let at = 24; at + 16 <= bytes.length;) {
    const length = view.getUint32(at + 8, true);
    at += 16;
    if (at + length > bytes.length) break; // written in part when the program ended
    frames.push(bytes.subarray(at, at + length).toHex());
    at += length;
  }
  return frames;
}

Deno.test(
  "net_gen sends every frame of its file once in shuffled order, then in order, and counts them",
  skippable(async () => {
    await need("dpdk-testpmd", ["--help"]);
    if (navigator.hardwareConcurrency < 2) {
      throw new Unsupported("two cores", { requirement: "peer" });
    }
    await withFolder(async (folder) => {
      await buildNetGen(`${folder}/net_gen.so`);
      const count = 1000;
      const spec = {
        kind: "udp4",
        count,
        seed: 1,
        dst: "10.0.0.0/8",
        size: 150,
      } as const;
      await new PacketSource(spec).write(`${folder}/in.pcap`);
      using receiver = new ControlPage(`${folder}/receiver`);
      using sink = new ControlPage(`${folder}/sink`);
      const start = (sender: string): Child =>
        new Child("dpdk-testpmd", [
          ..."-l 0,1 --main-lcore=0".split(" "),
          ...ealOptions(false).map((option) => option === "1024" ? "128" : option),
          "--vdev",
          `net_gen0,file=${folder}/in.pcap,control=${receiver.path},shuffle=3`,
          "--vdev",
          sender,
          ..."-- --forward-mode=io --nb-cores=1 --no-flush-rx --total-num-mbufs=4096"
            .split(" "),
        ], { env: { LD_PRELOAD: `${folder}/net_gen.so` }, log: `${folder}/log` });
      await checkFrames(
        start(`net_pcap1,tx_pcap=${folder}/out.pcap`),
        receiver,
        folder,
        count,
      );
      await checkCounters(start(`net_gen1,control=${sink.path}`), receiver, sink);
    });
  }),
);

async function checkFrames(
  testpmd: Child,
  receiver: ControlPage,
  folder: string,
  count: number,
): Promise<void> {
  await using child = testpmd;
  receiver.setOpen(true);
  await child.until(() => receiver.sample().received > 3 * count || undefined, 30);
  receiver.setOpen(false);
  await child.say(""); // Enter ends testpmd, which then flushes its capture
  await child.until((log) => log.includes("Bye") || undefined, 30);
  const sent = readFrames(`${folder}/in.pcap`);
  assert.equal(sent.length, count);
  const seen = readFrames(`${folder}/out.pcap`);
  assert.notDeepEqual(seen.slice(0, count), sent);
  assert.deepEqual(seen.slice(0, count).sort(), sent.toSorted());
  assert.deepEqual(seen.slice(count, 2 * count), sent);
}

async function checkCounters(
  testpmd: Child,
  receiver: ControlPage,
  sink: ControlPage,
): Promise<void> {
  await using child = testpmd;
  const before = receiver.sample().received;
  receiver.setOpen(true);
  await child.until(() => receiver.sample().received > before + 1e6 || undefined, 30);
  receiver.setOpen(false);
  const settled = (): true | undefined => {
    const received = receiver.sample().received - before;
    return received > 0 && sink.sample().sent === received || undefined;
  };
  await child.until(settled, 30);
  const { received } = receiver.sample();
  await child.until(settled, 30);
  assert.equal(receiver.sample().received, received, "packets came through a shut gate");
  assert.equal(receiver.sample().starved, 0);
  assert.ok(receiver.tscHz() > 1e8);
}
