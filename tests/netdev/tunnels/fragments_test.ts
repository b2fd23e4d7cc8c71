// SPDX-License-Identifier: Apache-2.0
/**
 * Packets inside that are larger than the path go in fragments of the outer packet, to Linux's own
 * device and from it.
 */
import assert from "node:assert/strict";
import { run, shell, tryRun } from "../../support/command.ts";
import { NetdevBench } from "../../support/netdev.ts";
import { needProgram, needRoot, skippable } from "../../support/skip.ts";
import { inside, kernelWords, kinds, specOf } from "./kinds.ts";
import {
  at,
  captured,
  kernelDevice,
  makeWire,
  objections,
  reach,
  startSide,
} from "./lab.ts";

for (const peer of ["the kernel's own device", "another datapath"] as const) {
  Deno.test(
    `tunnels: outer packets in fragments, to and from ${peer}`,
    skippable(async () => {
      needRoot("netdev");
      for (const name of ["tshark", "tcpdump"]) {
        needProgram(name, { requirement: "peer" });
      }
      await (await NetdevBench.open())[Symbol.asyncDispose](); // Compiles, or skips.
      await using wire = await makeWire("tf");
      const [a, b] = wire.ends;
      const [kind] = kinds;
      assert.ok(kind);
      const { ipv4 } = inside(kind, 2);
      /** The outer packet may be fragmented, and the packet inside be larger. */
      const spec = (which: 1 | 2) => {
        const { actions = "", commands, ...rest } = specOf(kind, which, wire.ends, 4);
        return {
          name: "ov0",
          tunnels: [{
            ...rest,
            actions: actions.replace("flags(df|key)", "flags(key)"),
            commands: commands.map((line) => line.replace("mtu 1400", "mtu 4000")),
          }],
        };
      };
      await using ends = new AsyncDisposableStack();
      ends.use(await startSide(a, spec(1)));
      if (peer === "another datapath") {
        ends.use(await startSide(b, spec(2)));
      } else {
        const words = kernelWords(kind, [a, b], 4);
        await kernelDevice(b, words);
        const [device] = words.split(" ");
        await shell(`ip -n ${b.namespace} link set ${device} mtu 4000 up
          ip -n ${b.namespace} addr add ${ipv4}/24 dev ${device}`);
      }
      await reach(a, ipv4);
      await captured(a, async () => {
        const options = `-n -c 5 -i 0.1 -w 30 -M dont -s 3500 ${ipv4}`.split(" ");
        const { stdout, code } = await tryRun(...at(a, "ping", ...options));
        assert.equal(code, 0, stdout);
      }, async (path) => {
        assert.deepEqual(await objections(path), []);
        for (const from of [a.ipv4, b.ipv4]) {
          const filter = `ip.src == ${from} and ip.flags.mf == 1`;
          const words = ["tshark", "-n", "-r", path, "-Y", filter];
          assert.notEqual(await run(...words), "", `no fragments from ${from}`);
        }
      });
    }),
  );
}
