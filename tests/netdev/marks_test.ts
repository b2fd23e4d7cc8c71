// SPDX-License-Identifier: Apache-2.0
/** Marks and priorities that actions set, seen by Linux on what leaves by a port of type system. */
import assert from "node:assert/strict";
import type { PortNo } from "../../providers/ids.ts";
import { run, tryRun } from "../support/command.ts";
import { udpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { needRoot, skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";

/**
 * Says mark and priority of frames that leave by a device, a line each; 41 bytes are nobody's
 * length.
 */
const sniffer = `
import socket, struct, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.setsockopt(socket.SOL_SOCKET, 75, 1)  # SO_RCVMARK
try:
    s.setsockopt(socket.SOL_SOCKET, 82, 1)  # SO_RCVPRIORITY, Linux 6.14
    tells = True
except OSError:
    tells = False
s.bind((sys.argv[1], 3))
print("ready", flush=True)
while True:
    data, ancillary, flags, address = s.recvmsg(2048, 256)
    if address[2] != 4 or data[12:14] != b"\\x88\\xb5":  # PACKET_OUTGOING
        continue
    got = {kind: struct.unpack("I", value[:4])[0] for level, kind, value in ancillary if level == 1}
    print(data[14], got.get(36, 0), got.get(12, 0) if tells else "unknown", flush=True)
`;

/** A frame that has a number. */
function numbered(n: number): Uint8Array {
  const frame = udpFrame().slice();
  frame.set([0x88, 0xb5, n], 12);
  return frame;
}

/** What leaves by a device from now on: lines of number, mark and priority. */
interface Sniffed {
  readonly device: string;
  /** Waits for so many frames, and gives their lines. */
  lines(count: number): Promise<string[]>;
  /** What Linux says of a frame: a priority is known from 6.14 on. */
  line(n: number, mark: number, priority: number): string;
}

/** Calls `use` while a veth of its own is listened to. */
async function withSniffer(use: (sniffed: Sniffed) => Promise<void>): Promise<void> {
  const device = `mk${Deno.pid}`;
  await run("ip", "link", "add", device, "type", "veth", "peer", "name", `${device}p`);
  try {
    await run("ip", "link", "set", device, "up");
    await run("ip", "link", "set", `${device}p`, "up");
    const child = new Deno.Command("python3", {
      args: ["-c", sniffer, device],
      stdout: "piped",
    }).spawn();
    let text = "";
    const reading = (async () => {
      for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
        text += part;
      }
    })();
    try {
      await until("the sniffer", () => text.startsWith("ready\n"));
      await use({
        device,
        lines: async (count) => {
          const lines = () => text.split("\n").slice(1, -1);
          await until("all frames", () => lines().length >= count, { state: () => text });
          return lines();
        },
        line: (n, mark, priority) =>
          `${n} ${mark} ${text.includes("unknown") ? "unknown" : priority}`,
      });
    } finally {
      child.kill();
      await child.status;
      await reading;
    }
  } finally {
    await tryRun("ip", "link", "del", device);
  }
}

/** The key of frames that have a number, which their source address ends in. */
const key = (n: number): string =>
  `in_port(1),eth(src=02:00:00:00:00:${
    n.toString(16).padStart(2, "0")
  }),eth_type(0x88b5)`;

/** A frame that has a number, in its source address as well. */
function keyed(n: number): Uint8Array {
  const frame = numbered(n);
  frame[11] = n;
  return frame;
}

Deno.test(
  "marks: skb_mark and skb_priority are those of what a system port sends, packet by packet",
  skippable(async () => {
    needRoot("netdev");
    await withSniffer(async ({ device, lines, line }) => {
      await using bench = await NetdevBench.open();
      const { dp } = bench;
      await bench.ports("p1");
      const { no } = await dp.ports.add({ name: device, type: "system" });
      const marks = [[0, 0], [5, 0], [5, 3], [0x12345678, 6], [0, 1], [0, 0]] as const;
      for (const [i, [mark, priority]] of marks.entries()) {
        const sets = [
          ...(mark === 0 ? [] : [`set(skb_mark(${mark}))`]),
          ...(priority === 0 ? [] : [`set(skb_priority(${priority}))`]),
        ];
        dp.flows.put({ key: key(i), actions: [...sets, `${no}`].join() });
      }
      const order = [0, 1, 2, 3, 4, 5, 1, 1, 0, 3, 2];
      await bench.injectAll(1 as PortNo, order.map(keyed));
      await bench.settle();
      const expected = order.map((i) => {
        const [mark = 0, priority = 0] = marks[i] ?? [];
        return line(i, mark, priority);
      });
      assert.deepEqual(await lines(order.length), expected);
      assert.equal(dp.ports.stats(no).txPackets, BigInt(order.length));
    });
  }),
);

Deno.test(
  "marks: a copy has the mark that its packet had when it was made, and none where that had none",
  skippable(async () => {
    needRoot("netdev");
    await withSniffer(async ({ device, lines, line }) => {
      await using bench = await NetdevBench.open();
      const { dp } = bench;
      await bench.ports("p1");
      const { no } = await dp.ports.add({ name: device, type: "system" });
      const copies = `${no},set(skb_mark(9)),${no},clone(set(skb_mark(7)),${no}),${no},` +
        `set(skb_mark(0)),${no},sample(sample=100%,actions(set(skb_priority(3)),${no})),${no}`;
      dp.flows.put({ key: key(1), actions: copies });
      dp.flows.put({ key: key(2), actions: `${no},${no}` });
      const rounds = 12; // Buffers of marked packets come again as copies of others.
      const order = Array.from({ length: rounds }, () => [1, 2]).flat();
      await bench.injectAll(1 as PortNo, order.map(keyed));
      await bench.settle();
      const marks = [[0, 0], [9, 0], [7, 0], [9, 0], [0, 0], [0, 3], [0, 0]] as const;
      const one = [
        ...marks.map(([mark, priority]) => line(1, mark, priority)),
        line(2, 0, 0),
        line(2, 0, 0),
      ];
      const expected = Array.from({ length: rounds }, () => one).flat();
      assert.deepEqual(await lines(expected.length), expected);
    });
  }),
);
