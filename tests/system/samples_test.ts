// SPDX-License-Identifier: Apache-2.0
/** Samples that the kernel takes of packets of a datapath's ports, by tc(8) and by `psample`. */
import {
  deepStrictEqual as deepEqual,
  ok,
  strictEqual as equal,
} from "node:assert/strict";
import { DatapathError } from "../../mod.ts";
import type { PacketSample } from "../../providers/contract/samples.ts";
import { tryRun } from "../support/command.ts";
import { udpFrame } from "../support/frames.ts";
import { Unsupported } from "../support/skip.ts";
import { Tap } from "../support/tap.ts";
import { makeDatapath, newName, systemTest, until } from "./system.ts";

/** Has the kernel sample what comes in by a device. */
async function sample(device: string, group: number): Promise<void> {
  for (
    const words of [
      ["qdisc", "add", "dev", device, "clsact"],
      `filter add dev ${device} ingress matchall action sample rate 1 group ${group} trunc 40`
        .split(" "),
    ]
  ) {
    const { code, stderr } = await tryRun("tc", ...words);
    if (code === 0) continue;
    throw new Unsupported(`tc's action sample: ${stderr}`, { requirement: "peer" });
  }
}

systemTest(
  "samples of ports are told with group, rate and port, others are not",
  async () => {
    await using made = await makeDatapath();
    const { dp } = made;
    using tap = new Tap(`t${newName()}`);
    using other = new Tap(`t${newName()}`);
    const { no } = await dp.ports.add({ name: tap.name });
    const early = dp.samples?.watch();
    ok(early !== undefined);
    using watch = dp.samples?.watch(); // As many as look.
    ok(watch !== undefined);
    tap.write(udpFrame());
    deepEqual([early.receive(), watch.receive(), watch.lost], [[], [], 0n]);
    early[Symbol.dispose]();
    deepEqual(early.receive(), []);
    await sample(tap.name, 7);
    await sample(other.name, 8);
    const frame = udpFrame();
    const samples: PacketSample[] = [];
    const receive = async (n: number): Promise<void> => {
      samples.length = 0;
      await until(() => samples.push(...watch.receive()) >= n);
    };
    const began = BigInt(Date.now()) * 1_000_000n;
    other.write(frame);
    tap.write(frame);
    await receive(1);
    const [{ time, ...first }] = samples as [PacketSample];
    ok(time > began - 60_000_000_000n && time < began + 600_000_000_000n);
    deepEqual(first, {
      group: 7,
      rate: 1,
      inPort: no,
      packet: frame.slice(0, 40),
      originalLength: frame.length,
    });
    equal(watch.lost, 0n);
    try {
      const actions = "sample(sample=100%,actions(psample(group=9,cookie=0x0102)))";
      dp.flows.put({ key: `in_port(${no}),eth(),eth_type(0x0800),ipv4()`, actions });
    } catch (error) {
      ok(error instanceof DatapathError && error.code === "EINVAL");
      return; // Before Linux 6.11.
    }
    tap.write(frame);
    await receive(2);
    const own = samples.find(({ group }) => group === 9);
    deepEqual(own?.cookie, Uint8Array.of(1, 2));
    deepEqual(own?.packet, frame);
    equal(own?.inPort, no);
  },
);
