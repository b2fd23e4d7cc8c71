// SPDX-License-Identifier: Apache-2.0
/** Linux does not answer outer packets for which a socket stands that takes nothing. */
import assert from "node:assert/strict";
import { Silence } from "../../../providers/netdev/tunnels/silence.ts";
import { run, tryRun } from "../../support/command.ts";
import { type Host, makeHosts, on } from "../../support/netns.ts";
import { needRoot, skippable } from "../../support/skip.ts";
import { until } from "../../support/wait.ts";

/** Whether a host is told that nobody has a UDP port of this end. */
async function isRefused(host: Host, address: string, port: number): Promise<boolean> {
  // The second write fails if the first was answered.
  const send = `exec 3>/dev/udp/${address}/${port}; echo 1 >&3; sleep 0.2; echo 2 >&3`;
  return (await tryRun(...on(host, "bash", "-c", send))).stderr.includes("refused");
}

Deno.test(
  "tunnels: Linux says nothing of packets that end in tunnels, as long as they are wanted",
  skippable(async () => {
    needRoot("netdev");
    await using made = await makeHosts("si", 1, { net: 76 });
    const [host] = made.hosts as [Host];
    await run("ip", "addr", "add", "10.76.0.254/24", "dev", host.device);
    await run("ip", "addr", "add", "fd00:76::fe/64", "dev", host.device, "nodad");
    const port = 20_000 + Deno.pid % 20_000;
    const addresses = ["10.76.0.254", "fd00:76::fe"];
    const refused = () =>
      Promise.all(addresses.map((each) => isRefused(host, each, port)));
    await until(
      "Linux to refuse both",
      async () => (await refused()).every((each) => each),
    );
    const silence = new Silence();
    try {
      silence.set([{ protocol: 17, udpPort: port }, { protocol: 47 }]);
      assert.deepEqual(await refused(), [false, false]);
      // What another socket has is left to it, and what nobody wants any more is given back.
      const second = new Silence();
      second.set([{ protocol: 17, udpPort: port }]);
      second.close();
      assert.deepEqual(await refused(), [false, false]);
      silence.set([{ protocol: 47 }]);
      await until("both again", async () => (await refused()).every((each) => each));
    } finally {
      silence.close();
      silence.close();
    }
  }),
);
