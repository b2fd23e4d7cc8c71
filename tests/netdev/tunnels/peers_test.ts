// SPDX-License-Identifier: Apache-2.0
/**
 * Tunnels between a userspace datapath and others: devices of the kernel, as far as this one has
 * them, and Open vSwitch's userspace datapath.
 */
import { figure } from "../../support/figure.ts";
import { run, shell } from "../../support/command.ts";
import { NetdevBench } from "../../support/netdev.ts";
import { needProgram, needRoot, skippable } from "../../support/skip.ts";
import { inGuest } from "../../support/uml.ts";
import { inside, kernelWords, kinds, specOf } from "./kinds.ts";
import { at, kernelDevice, makeWire, pingThrough, rates, startSide } from "./lab.ts";
import { startOvs } from "./ovs_side.ts";

async function needAll(): Promise<void> {
  needRoot("netdev");
  for (const name of ["tshark", "tcpdump", "iperf3"]) {
    needProgram(name, { requirement: "peer" });
  }
  // Compiles, or skips. In a guest it would take as long as all the rest, and compile in vain.
  if (!inGuest()) await (await NetdevBench.open())[Symbol.asyncDispose]();
}

for (const version of [4, 6] as const) {
  for (const kind of kinds) {
    // Of these the kernel's end needs routes with metadata, or a daemon.
    if (kind.name === "bareudp" || kind.name === "gtpu") continue;
    Deno.test(
      `tunnels: ${kind.name} over IPv${version} with the kernel's own device`,
      skippable(async () => {
        await needAll();
        await using wire = await makeWire(`tk${version}`);
        const [a, b] = wire.ends;
        const words = kernelWords(kind, [a, b], version);
        await kernelDevice(b, words);
        const { ipv4, ipv6 } = inside(kind, 2);
        const [device] = words.split(" ");
        await shell(`ip -n ${b.namespace} link set ${device} mtu 1400 up
          ip -n ${b.namespace} addr add ${ipv4}/24 dev ${device}
          ip -n ${b.namespace} addr add ${ipv6}/64 dev ${device} nodad`);
        const tunnels = [specOf(kind, 1, wire.ends, version)];
        await using _side = await startSide(a, { name: "ov0", tunnels });
        await pingThrough(wire, [ipv4, ipv6]);
        figure(
          `${kind.name} over IPv${version}, the kernel at the other end: ` +
            await rates(wire, [ipv4, ipv6]),
        );
      }),
    );
  }
}

/** Kinds that one Open vSwitch can have beside each other: its GRE takes what is ERSPAN's, too. */
const groups = [["vxlan", "geneve", "gre"], ["erspan"]];

for (const version of [4, 6] as const) {
  for (const group of groups) {
    Deno.test(
      `tunnels: ${
        group.join(", ")
      } over IPv${version} with Open vSwitch's userspace datapath`,
      skippable(async (t) => {
        await needAll();
        for (const name of ["ovs-vswitchd", "ovsdb-server", "ovs-vsctl"]) {
          needProgram(name, { requirement: "peer" });
        }
        await using wire = await makeWire(`to${version}`);
        const [a, b] = wire.ends;
        // It does not complete checksums that a device would.
        await run(...at(a, "ethtool", "-K", "eth0", "tx", "off"));
        const mine = kinds.filter(({ name }) => group.includes(name));
        await using _ovs = await startOvs(b, mine, version === 4 ? a.ipv4 : a.ipv6);
        const tunnels = mine.map((kind) => specOf(kind, 1, wire.ends, version));
        await using _side = await startSide(a, { name: "ov0", tunnels });
        for (const kind of mine) {
          await t.step(kind.name, async () => {
            const { ipv4, ipv6 } = inside(kind, 2);
            await pingThrough(wire, [ipv4, ipv6]);
            figure(
              `${kind.name} over IPv${version}, Open vSwitch at the other end: ` +
                await rates(wire, [ipv4, ipv6]),
            );
          });
        }
      }),
    );
  }
}
