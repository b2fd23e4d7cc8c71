// SPDX-License-Identifier: Apache-2.0
/** Marks and priorities that actions set, seen by Linux on what leaves by a port of type system. */
import assert from "node:assert/strict";
import type { PortNo } from "../../providers/ids.ts";
import { run, tryRun } from "../support/command.ts";
import { udpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { needRoot, skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";

/** Says mark and priority of frames that leave by a device, a line each; 41 bytes are nobody's length. */
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

Deno.test(
  "marks: skb_mark and skb_priority are those of what a system port sends, packet by packet",
  skippable(async () => {
    needRoot("netdev");
    const device = `mk${Deno.pid}`;
    await run("ip", "link", "add", device, "type", "veth", "peer", "name", `${device}p`);
    try {
      await run("ip", "link", "set", device, "up");
      await run("ip", "link", "set", `${device}p`, "up");
      await using bench = await NetdevBench.open();
      const { dp } = bench;
      await bench.ports("p1");
      const { no } = await dp.ports.add({ name: device, type: "system" });
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
        const key = (n: number) =>
          `in_port(1),eth(src=02:00:00:00:00:${
            n.toString(16).padStart(2, "0")
          }),eth_type(0x88b5)`;
        const marks = [[0, 0], [5, 0], [5, 3], [0x12345678, 6], [0, 1], [0, 0]] as const;
        for (const [i, [mark, priority]] of marks.entries()) {
          const sets = [
            ...(mark === 0 ? [] : [`set(skb_mark(${mark}))`]),
            ...(priority === 0 ? [] : [`set(skb_priority(${priority}))`]),
          ];
          dp.flows.put({ key: key(i), actions: [...sets, `${no}`].join() });
        }
        const order = [0, 1, 2, 3, 4, 5, 1, 1, 0, 3, 2];
        await bench.injectAll(
          1 as PortNo,
          order.map((i) => {
            const frame = numbered(i);
            frame[11] = i; // Of the source: which flow it meets.
            return frame;
          }),
        );
        await bench.settle();
        const lines = () => text.split("\n").slice(1, -1);
        await until("all frames", () => lines().length === order.length, {
          state: () => text,
        });
        const expected = order.map((i) => {
          const [mark = 0, priority = 0] = marks[i] ?? [];
          return `${i} ${mark} ${text.includes("unknown") ? "unknown" : priority}`;
        });
        assert.deepEqual(lines(), expected);
        assert.equal(dp.ports.stats(no).txPackets, BigInt(order.length));
      } finally {
        child.kill();
        await child.status;
        await reading;
      }
    } finally {
      await tryRun("ip", "link", "del", device);
    }
  }),
);
