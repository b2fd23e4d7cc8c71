// SPDX-License-Identifier: Apache-2.0
/**
 * Captures of a userspace datapath, read back by tcpdump.
 */
import assert from "node:assert/strict";
import { captureOptions } from "../../cli/capture_run.ts";
import { control } from "../../cli/control_socket.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { tryRun } from "../support/command.ts";
import { arpFrame, udpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { findProgram, skippable, Unsupported } from "../support/skip.ts";

/** Comments of the packets of a pcapng file, and the names of their interfaces. */
function readComments(bytes: Uint8Array): { port: string; comment: string }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const text = new TextDecoder();
  const names: string[] = [];
  const packets: { port: string; comment: string }[] = [];
  /** Values of the options from `at` on, by code. */
  const options = (from: number, end: number): Map<number, string> => {
    const found = new Map<number, string>();
    for (let at = from; at < end;) {
      const length = view.getUint16(at + 2, true);
      found.set(
        view.getUint16(at, true),
        text.decode(bytes.subarray(at + 4, at + 4 + length)),
      );
      at += 4 + (length + 3 & ~3);
    }
    return found;
  };
  for (let at = 0; at < bytes.length;) {
    const [type, size] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    assert.equal(view.getUint32(at + size - 4, true), size, "length at either end");
    if (type === 1) names.push(options(at + 16, at + size - 4).get(2) ?? "");
    if (type === 6) {
      const length = view.getUint32(at + 20, true);
      const from = at + 28 + (length + 3 & ~3);
      packets.push({
        port: names[view.getUint32(at + 8, true)] ?? "",
        comment: options(from, at + size - 4).get(1) ?? "",
      });
    }
    at += size;
  }
  return packets;
}

async function captured(
  dp: Datapath,
  words: string[],
  traffic: () => Promise<void>,
): Promise<
  { answer: string; packets: ReturnType<typeof readComments>; lines: string[] }
> {
  const folder = await Deno.makeTempDir();
  try {
    await using served = await dp.serve(`${folder}/dp.ctl`);
    const file = `${folder}/out.pcapng`;
    const capture = control(served.path, "upcall/capture", [file, ...words]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await traffic();
    const answer = await capture;
    if (findProgram("tcpdump") === undefined) {
      throw new Unsupported("program tcpdump", { requirement: "peer" });
    }
    const { code, stdout, stderr } = await tryRun("tcpdump", "-nr", file);
    assert.equal(code, 0, stderr);
    const lines = stdout.split("\n").filter((line) => line !== "");
    return { answer, packets: readComments(await Deno.readFile(file)), lines };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const arp = (port: number): string => `in_port(${port}),eth(),eth_type(0x0806),arp()`;

Deno.test(
  "a capture has what hits flows and what misses, each with its reason, and leaves no trace",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [p1, p2] = await bench.ports("p1", "p2");
    dp.flows.put({ key: arp(p1), actions: `${p2}` });
    dp.flows.put({ key: arp(p2), actions: "" });
    const before = [...dp.flows.dump()].map(({ raw }) => `${raw.actions}`).sort();

    const { answer, packets, lines } = await captured(dp, ["seconds=1"], async () => {
      bench.inject(p1, arpFrame());
      bench.inject(p2, arpFrame());
      bench.inject(p1, udpFrame());
      await bench.settle();
    });
    assert.match(answer, /^3 packets in /);
    assert.equal(lines.length, 3);
    assert.equal(lines.filter((line) => line.includes("ARP, Request")).length, 2);
    assert.equal(lines.filter((line) => line.includes("UDP")).length, 1);
    packets.sort((a, b) => a.comment < b.comment ? -1 : 1);
    assert.match(packets[0]?.comment ?? "", /^drop: .*in_port\(2\).*actions:drop$/);
    assert.equal(packets[0]?.port, "p2");
    assert.match(packets[1]?.comment ?? "", /^hit: .*in_port\(1\).*actions:2$/);
    assert.deepEqual(packets[2], { port: "p1", comment: "miss: no flow" });

    const after = [...dp.flows.dump()].map(({ raw }) => `${raw.actions}`).sort();
    assert.deepEqual(after, before);
    assert.deepEqual(await bench.collect(p2), [arpFrame()], "sent on all the same");
  }),
);

Deno.test(
  "a capture keeps to its port, flow, reason and count, and hides from the program",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [p1, p2] = await bench.ports("p1", "p2");
    dp.flows.put({ key: arp(p1), actions: `${p2}` });
    dp.flows.put({ key: arp(p2), actions: "" });
    const seen: string[] = [];
    const stream = dp.upcalls();
    const program = (async () => {
      for await (const { kind } of stream) seen.push(kind);
    })();
    const traffic = async (): Promise<void> => {
      for (const port of [p1, p2]) {
        for (let n = 0; n < 3; n++) bench.inject(port, arpFrame());
        bench.inject(port, udpFrame());
      }
      await bench.settle();
    };
    const count = async (...words: string[]): Promise<number> =>
      (await captured(dp, ["seconds=0.5", ...words], traffic)).packets.length;
    assert.equal(await count(), 8);
    assert.deepEqual(seen, ["miss", "miss"], "copies are not the program's");
    assert.equal(await count("port=p1"), 4);
    assert.equal(await count("reason=drop"), 3);
    assert.equal(await count("reason=miss"), 2);
    assert.equal(await count("count=2"), 2);
    const one = "in_port(2),eth(src=02:00:00:00:00:01,dst=ff:ff:ff:ff:ff:ff)," +
      "eth_type(0x0806),arp(op=1)";
    assert.equal(await count(`flow=${one}`, "port=2", "reason=drop"), 3);
    const refused = (word: string, message: RegExp): void =>
      assert.throws(() => captureOptions(dp, [word]), message);
    refused("port=nothere", /no port named nothere/);
    refused("reason=whim", /reason must be drop or miss/);
    refused("count=0", /count must be a number above 0/);
    refused("nonsense", /cannot use nonsense/);
    await stream.close();
    await program;
  }),
);
