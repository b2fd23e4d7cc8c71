// SPDX-License-Identifier: Apache-2.0
/**
 * Captures of a userspace datapath, read back by tcpdump.
 */
import assert from "node:assert/strict";
import { serve } from "../../control/serve.ts";
import { captureOptions, capturePackets } from "../../control/capture/capture.ts";
import {
  endMark as endOfCapture,
  newMark,
  removeMarks,
} from "../../control/capture/marks.ts";
import { output } from "../../providers/odp/mod.ts";
import { openDatapath } from "../../providers/registry.ts";
import type { Action } from "../../providers/types.ts";
import { control } from "../../control/socket.ts";
import type { PortNo } from "../../providers/ids.ts";
import { tryRun } from "../support/command.ts";
import { arpFrame, udpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { findProgram, needProgram, skippable, Unsupported } from "../support/skip.ts";
import { root } from "../support/tree.ts";
import { pause, until } from "../support/wait.ts";

interface CapturedPacket {
  readonly port: string;
  readonly comment: string;
  readonly bytes: Uint8Array;
}

/** The packets of a pcapng file, with their comments and the names of their interfaces. */
function readComments(bytes: Uint8Array): CapturedPacket[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const text = new TextDecoder();
  const names: string[] = [];
  const packets: CapturedPacket[] = [];
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
        bytes: bytes.subarray(at + 28, at + 28 + length),
      });
    }
    at += size;
  }
  return packets;
}

/** A frame that is told from others by its end: the last one of a capture. */
const lastly = (frame: Uint8Array): Uint8Array => Uint8Array.of(...frame, ...endMark);
const endMark = new TextEncoder().encode("the last of all");

/**
 * Captures `traffic` and then one more packet, `last`, which ends the capture if it comes as number
 * `count + 1`. The packets before it.
 */
async function captured(
  bench: NetdevBench,
  words: string[],
  { count, last, traffic }: {
    count: number;
    last?: { port: PortNo; frame: Uint8Array };
    traffic: () => Promise<void>;
  },
): Promise<
  { answer: string; packets: ReturnType<typeof readComments>; lines: string[] }
> {
  const folder = await Deno.makeTempDir();
  try {
    await using served = await serve(bench.dp, { path: `${folder}/dp.ctl` });
    const file = `${folder}/out.pcapng`;
    const size = last === undefined ? count : count + 1;
    const limits = ["seconds=60", `count=${size}`];
    const capture = control(served.path, "upcall/capture", [file, ...limits, ...words]);
    // It writes the head of the file, and marks the flows, at once.
    await until("the capture to begin", async () => {
      const { size } = await Deno.stat(file).catch(() => ({ size: 0 }));
      return size > 0;
    });
    await traffic();
    if (last !== undefined) bench.inject(last.port, lastly(last.frame));
    const answer = await capture;
    if (findProgram("tcpdump") === undefined) {
      throw new Unsupported("program tcpdump", { requirement: "peer" });
    }
    const { code, stdout, stderr } = await tryRun("tcpdump", "-nr", file);
    assert.equal(code, 0, stderr);
    const lines = stdout.split("\n").filter((line) => line !== "");
    const packets = readComments(await Deno.readFile(file));
    const isLast = ({ bytes }: { bytes: Uint8Array }): boolean =>
      bytes.toHex().includes(endMark.toHex());
    assert.deepEqual(packets.map(isLast).indexOf(true), last === undefined ? -1 : count);
    return { answer, packets: packets.slice(0, count), lines: lines.slice(0, count) };
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

    const { answer, packets, lines } = await captured(bench, [], {
      count: 3,
      last: { port: p1, frame: udpFrame() },
      traffic: async () => {
        bench.inject(p1, arpFrame());
        bench.inject(p2, arpFrame());
        bench.inject(p1, udpFrame());
        await bench.settle();
      },
    });
    assert.match(answer, /^4 packets in /);
    assert.equal(lines.length, 3);
    assert.equal(lines.filter((line) => line.includes("ARP, Request")).length, 2);
    assert.equal(lines.filter((line) => line.includes("UDP")).length, 1);
    packets.sort((a, b) => a.comment < b.comment ? -1 : 1);
    assert.match(packets[0]?.comment ?? "", /^drop: .*in_port\(2\).*actions:drop$/);
    assert.equal(packets[0]?.port, "p2");
    assert.match(packets[1]?.comment ?? "", /^hit: .*in_port\(1\).*actions:2$/);
    assert.equal(packets[2]?.port, "p1");
    assert.equal(packets[2]?.comment, "miss: no flow");

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
    const miss = { port: p1, frame: udpFrame() };
    const drop = { port: p2, frame: arpFrame() };
    const captures = async (
      count: number,
      last: { port: PortNo; frame: Uint8Array } | undefined,
      ...words: string[]
    ): Promise<void> => {
      const options = { count, traffic, ...(last !== undefined && { last }) };
      assert.equal((await captured(bench, words, options)).packets.length, count);
    };
    await captures(8, miss);
    await until("three misses", () => seen.length >= 3);
    assert.deepEqual(seen, ["miss", "miss", "miss"], "copies are not the program's");
    await captures(4, miss, "port=p1");
    await captures(3, drop, "reason=drop");
    await captures(3, drop, "reason=drop_action");
    await captures(2, miss, "reason=miss");
    await captures(2, undefined);
    const one = "in_port(2),eth(src=02:00:00:00:00:01,dst=ff:ff:ff:ff:ff:ff)," +
      "eth_type(0x0806),arp(op=1)";
    await captures(3, drop, `flow=${one}`, "port=2", "reason=drop");
    const refused = (word: string, message: RegExp): void =>
      assert.throws(() => captureOptions(dp, [word]), message);
    refused("port=nothere", /no port named nothere/);
    refused("reason=whim", /reason must be drop, miss or/);
    assert.throws(
      () => captureOptions(dp, [`flow=${one}`, "reason=drop_action"]),
      /flow and reason=drop_action do not go together/,
    );
    refused("count=0", /count must be a number above 0/);
    refused("nonsense", /cannot use nonsense/);
    await stream.close();
    await program;
  }),
);

Deno.test(
  "a capture of drops says how many came too fast, and has those of its last moment",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [p1] = await bench.ports("p1");
    dp.flows.put({ key: arp(p1), actions: "drop" });
    const path = await Deno.makeTempFile();
    try {
      const end = Promise.withResolvers<void>();
      const options = { reason: "drop", count: 5000, seconds: 600 } as const;
      const capture = capturePackets(dp, path, { ...options, until: end.promise });
      await until("the capture to begin", async () => {
        bench.inject(p1, arpFrame());
        await bench.settle();
        await pause(50);
        return (await Deno.stat(path)).size > 1000;
      });
      const before = dp.stats().counters?.drop_action ?? 0n;
      // The event loop has no turn, so nobody looks.
      for (let sent = 0; sent < 1500;) {
        try {
          bench.inject(p1, arpFrame());
          sent++;
        } catch (error) {
          if (!/ENOBUFS/.test(`${error}`)) throw error;
        }
      }
      while ((dp.stats().counters?.drop_action ?? 0n) < before + 1500n);
      end.resolve();
      const { packets, lost } = await capture;
      assert.ok(lost >= 476 - 64, `${lost}`);
      const all = Number(dp.stats().counters?.drop_action);
      assert.ok(
        packets + lost <= all && packets >= 1024,
        `${packets} + ${lost} of ${all}`,
      );
      assert.equal(readComments(await Deno.readFile(path)).length, packets);
    } finally {
      await Deno.remove(path);
    }
  }),
);

Deno.test(
  "captures at once, a client that leaves and a datapath that closes leave no marks",
  skippable(async () => {
    const folder = await Deno.makeTempDir();
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await using keeper = await openDatapath(dp.fullName);
    const [p1] = await bench.ports("p1", "p2");
    keeper.flows.put({ key: arp(p1), actions: "2" });
    const flow = (): string => `${[...keeper.flows.dump()][0]?.toString()}`;
    const marks = (): number => (flow().match(/userspace\(/g) ?? []).length;
    const served = await serve(dp, { path: `${folder}/dp.ctl` });
    const capture = (file: string, seconds: number): Promise<string> =>
      control(served.path, "upcall/capture", [`${folder}/${file}`, `seconds=${seconds}`]);
    try {
      const first = capture("first", 60);
      await until("one mark", () => marks() === 1);
      const second = capture("second", 1);
      await until("two marks", () => marks() === 2);
      await second;
      // The first goes on below the second's mark, and does not mark again.
      await until("the second's to go", () => marks() === 1);

      const leaving = await Deno.connect({ transport: "unix", path: served.path });
      const params = JSON.stringify([`${folder}/third`, "seconds=60"]);
      await leaving.write(
        new TextEncoder().encode(`{"id":1,"method":"upcall/capture","params":${params}}`),
      );
      await until("its mark", () => marks() === 2);
      leaving.close();
      await until("its mark to go", () => marks() === 1);

      const failed = assert.rejects(first, /hung up/).catch(() => first);
      await dp.close();
      await failed;
      assert.equal(marks(), 0, flow());
      assert.match(flow(), /actions:2$/);
    } finally {
      await served.close();
      await Deno.remove(folder, { recursive: true });
    }
  }),
);

Deno.test(
  "marks of captures that have ended are removed, those of others stay",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [p1] = await bench.ports("p1", "p2");
    const ended = await new Deno.Command("sh", {
      args: ["-c", "echo $$"],
      stdout: "piped",
    })
      .output();
    const pid = Number(new TextDecoder().decode(ended.stdout));
    const living = newMark();
    const dead = living.slice();
    new DataView(dead.buffer).setUint32(6, pid);
    const unlike = living.slice(0, 6); // A program's own data may begin alike.
    const mark = (userdata: Uint8Array): Action => ({
      type: "userspace",
      portId: 0,
      userdata,
    });
    const put = (...marks: Uint8Array[]): void =>
      void dp.flows.put({
        key: arp(p1),
        actions: [...marks.map(mark), output(2)],
        modify: true,
      });
    const left = (): (Uint8Array | undefined)[] =>
      ([...dp.flows.dump()][0]?.actions ?? []).flatMap((action) =>
        action.type === "userspace" ? [action.userdata] : []
      );
    put(dead, living, dead);
    assert.equal(removeMarks(dp), 1);
    assert.deepEqual(left(), [living]);
    assert.equal(removeMarks(dp, living), 0);
    assert.deepEqual(left(), []);
    put(unlike, dead);
    assert.equal(removeMarks(dp), 0);
    assert.deepEqual(
      left(),
      [unlike, dead],
      "what is behind the program's own is its own",
    );
    put(living);
    endOfCapture(living);
    assert.equal(removeMarks(dp), 0, "of a capture of this program that is over");
    assert.deepEqual(left(), []);
  }),
);

/** `dpctl capture DP -` into a program, while `traffic` runs again and again. What both said. */
async function piped(
  reader: string,
  traffic: (bench: NetdevBench) => void,
  words = "",
): Promise<{ code: number; stdout: string; stderr: string }> {
  await using bench = await NetdevBench.open();
  const [p1] = await bench.ports("left", "right");
  bench.dp.flows.put({ key: arp(p1), actions: "2" });
  const folder = await Deno.makeTempDir();
  try {
    await using served = await serve(bench.dp, { path: `${folder}/dp.ctl` });
    const tool = `${Deno.execPath()} run -A --no-check ${root}dpctl.ts`;
    const call = tryRun(
      "bash",
      "-c",
      `set -o pipefail; ${tool} --socket ${served.path} capture - ${words} | ${reader}`,
    );
    let isOver = false;
    const over = (): boolean => isOver = true;
    call.then(over, over);
    await until("the pipe to end", async () => {
      traffic(bench);
      await pause(20);
      return isOver;
    });
    return await call;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test(
  "a capture to a pipe is read by tcpdump while it is taken, and ends when that has seen enough",
  skippable(async () => {
    needProgram("tcpdump", { requirement: "peer" });
    const { code, stdout, stderr } = await piped(
      "tcpdump -nr - -c 3",
      (bench) => bench.inject(1, arpFrame()),
    );
    assert.equal(stdout.match(/ARP, Request/g)?.length, 3, stderr);
    assert.equal(code, 0, stderr);
  }),
);

Deno.test(
  "a capture that saw nothing is one that tcpdump can read",
  skippable(async () => {
    needProgram("tcpdump", { requirement: "peer" });
    const { code, stderr } = await piped("tcpdump -nr -", () => {}, "seconds=1");
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^dpctl: 0 packets$/m);
  }),
);

Deno.test(
  "a capture to a pipe ends after its count, and says so where it is no capture",
  skippable(async () => {
    const { code, stdout, stderr } = await piped(
      "cat",
      (bench) => bench.inject(1, arpFrame()),
      "count=4",
    );
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^dpctl: 4 packets$/m);
    assert.equal(stdout.slice(0, 4), "\n\r\r\n", "the head of a section");
  }),
);
