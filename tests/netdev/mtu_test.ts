// SPDX-License-Identifier: Apache-2.0
/** Frames of every size, and devices whose MTU changes while they are ports. */
import assert from "node:assert/strict";
import type { Datapath } from "../../providers/datapath.ts";
import { run } from "../support/command.ts";
import { type Host, ping, pinged } from "../support/netns.ts";
import { skippable } from "../support/skip.ts";
import { iperf, withSwitch } from "./switch.ts";

/** Answers to three pings of `size` bytes that must not be fragmented. */
async function whole(
  from: Host,
  to: Host,
  size: number,
  seconds?: number,
): Promise<number> {
  const options = ["-M", "do", "-s", `${size}`];
  const limit = seconds === undefined ? {} : { seconds };
  return (await pinged(from, to.ipv4, { count: 3, options, ...limit })).length;
}

async function setMtu(host: Host, device: "inner" | "port", mtu: number): Promise<void> {
  const [place, name] = device === "inner"
    ? [["-n", host.namespace], host.inner]
    : [[], host.device];
  await run("ip", ...place, "link", "set", name, "mtu", `${mtu}`);
}

function oversize(dp: Datapath): bigint {
  return dp.stats().counters?.drop_tx_oversize ?? assert.fail("no such counter");
}

Deno.test(
  "mtu: ping and TCP of 9000 bytes between devices that take them",
  skippable(() =>
    withSwitch({ prefix: "nma", mtu: 9000 }, async ({ dp }, left, right) => {
      assert.equal(await whole(left, right, 8000), 3);
      assert.equal(await whole(right, left, 8972), 3);
      const tcp = await iperf(left, right, right.ipv4);
      assert.ok(tcp.sum_received.bits_per_second > 0.02e9);
      assert.equal(oversize(dp), 0n);
    })
  ),
);

Deno.test(
  "mtu: a port follows its device up and down, and counts what is too large",
  skippable(() =>
    withSwitch({ prefix: "nmb", mtu: 9000 }, async ({ dp }, left, right) => {
      assert.equal(await whole(left, right, 8000), 3);

      // Down: the first frame, which the device refuses, finds out.
      await setMtu(right, "port", 1500);
      const before = oversize(dp);
      assert.equal(await whole(left, right, 8000, 1), 0);
      assert.ok(oversize(dp) - before >= 4n, `${oversize(dp) - before} counted`);
      await ping(left, right.ipv4);

      // Segments of TCP that are too large for the device leave it in smaller ones.
      const tcp = await iperf(left, right, right.ipv4);
      assert.ok(tcp.sum_received.bits_per_second > 0.02e9);

      // And up.
      await setMtu(right, "port", 9000);
      assert.ok(await whole(left, right, 8000) >= 2);
    })
  ),
);
