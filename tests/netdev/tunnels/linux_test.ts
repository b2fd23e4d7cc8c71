// SPDX-License-Identifier: Apache-2.0
/**
 * Tunnels between one userspace datapath and Linux's own devices of every kind, over both families:
 * pings, jumbo frames, fragments inside and outside, TCP.
 *
 * Few kernels have all kinds, so that this runs in the guest of `tests/system/guest_test.ts`, too,
 * where to open a datapath takes longer than all the rest: there is one for all of them.
 */
import assert from "node:assert/strict";
import { figure } from "../../support/figure.ts";
import { run, shell, tryRun } from "../../support/command.ts";
import { NetdevBench } from "../../support/netdev.ts";
import { needProgram, needRoot, skippable, Unsupported } from "../../support/skip.ts";
import { inGuest } from "../../support/uml.ts";
import {
  at,
  captured,
  type End,
  iperf,
  kernelDevice,
  makeWire,
  objections,
  reach,
  startSide,
  type TunnelSpec,
} from "./lab.ts";

/**
 * Of the wire. Inside, a packet of `LARGE` bytes fits with every header, one of `WIDE` with none.
 */
const MTU = 9000;
const LARGE = 8800;
const WIDE = 8990;

/** A tunnel: the port at our end, Linux's device at the other. */
interface Case {
  /** Also of the subnets inside: 10.NET.0.0/24, fd00:NET::/64. */
  readonly net: number;
  readonly version: 4 | 6;
  readonly type: string;
  readonly options?: Readonly<Record<string, string>>;
  /** Parts of `tunnel()` besides the destination and flags. */
  readonly set: string;
  /** Arguments of `ip link add`, but for name and ends. */
  readonly device: string;
  /** Options of the device that say its ends. */
  readonly ends?: "remote";
  /** The outer packet may be fragmented: not where Linux does not. */
  readonly isCut?: boolean;
  /** GTP: without Ethernet inside, and IPv4 alone. */
  readonly isLayer3?: boolean;
}

const cases: readonly Case[] = [
  {
    net: 61,
    version: 4,
    type: "vxlan",
    set: "tun_id=0x3d",
    device: "vxlan id 61 dstport 4789",
    isCut: true,
  },
  {
    net: 62,
    version: 6,
    type: "vxlan",
    options: { dst_port: "4790" },
    set: "tun_id=0x3e",
    device: "vxlan id 62 dstport 4790",
  },
  {
    net: 63,
    version: 4,
    type: "geneve",
    set: "tun_id=0x3f,geneve({class=0x102,type=0x3,len=4,0x11223344})",
    device: "geneve id 63",
    ends: "remote",
    isCut: true,
  },
  {
    net: 64,
    version: 6,
    type: "geneve",
    options: { dst_port: "6082" },
    set: "tun_id=0x40",
    device: "geneve id 64 dstport 6082",
    ends: "remote",
  },
  {
    net: 65,
    version: 4,
    type: "gre",
    set: "tun_id=0x41",
    device: "gretap key 65 nopmtudisc",
    isCut: true,
  },
  {
    net: 66,
    version: 6,
    type: "ip6gre",
    set: "tun_id=0x42",
    device: "ip6gretap key 66 encaplimit none",
  },
  {
    net: 67,
    version: 4,
    type: "erspan",
    options: { key: "67" },
    set: "tun_id=0x43,erspan(ver=1,idx=0x7)",
    device: "erspan seq key 67 erspan_ver 1 erspan 7",
  },
  {
    net: 68,
    version: 4,
    type: "erspan",
    options: { key: "68" },
    set: "tun_id=0x44,erspan(ver=2,dir=1,hwid=0x4)",
    device: "erspan seq key 68 erspan_ver 2 erspan_dir egress erspan_hwid 4",
  },
  {
    net: 69,
    version: 6,
    type: "ip6erspan",
    set: "tun_id=0x45,erspan(ver=1,idx=0x7)",
    device: "ip6erspan seq key 69 encaplimit none erspan_ver 1 erspan 7",
  },
  {
    net: 70,
    version: 4,
    type: "gtpu",
    set: "tun_id=0x46",
    device: "gtp role ggsn",
    isLayer3: true,
  },
];

/** What is between the ends of a tunnel without Ethernet, seen from ours. */
const [OURS, THEIRS] = ["02:00:00:00:70:01", "02:00:00:00:70:02"];

/** What the other end has, or why it cannot. */
async function makeDevice(one: Case, [far, own]: readonly [End, End]): Promise<void> {
  const { net, version, ends, isCut } = one;
  const [remote, local] = version === 4 ? [far.ipv4, own.ipv4] : [far.ipv6, own.ipv6];
  const [kind = "", ...words] = one.device.split(" ");
  const said = one.isLayer3
    ? []
    : ends === "remote"
    ? ["remote", remote]
    : ["remote", remote, "local", local];
  await kernelDevice(own, [`in${net} type ${kind}`, ...words, ...said].join(" "));
  await shell(`ip -n ${own.namespace} link set in${net} mtu ${isCut ? WIDE : LARGE} up
    ip -n ${own.namespace} addr add 10.${net}.0.2/24 dev in${net}
    ip -n ${own.namespace} addr add fd00:${net}::2/64 dev in${net} nodad`);
  if (!one.isLayer3) return;
  const program = new URL("gtp_context.ts", import.meta.url).pathname;
  const context = [`in${net}`, remote, `10.${net}.0.1`, `${net}`];
  await run(...at(own, Deno.execPath(), "run", "-A", "--no-check", program, ...context));
}

function specOf(one: Case, far: End): TunnelSpec {
  const { net, version, type, options = {}, set, isCut, isLayer3 } = one;
  const [id, ...metadata] = set.split(/,(?=geneve|erspan)/);
  const flags = isCut ? "flags(key)" : "flags(df|key)";
  const to = version === 4 ? `dst=${far.ipv4}` : `ipv6_dst=${far.ipv6}`;
  return {
    name: `t${net}`,
    type,
    options,
    actions: `${isLayer3 ? "pop_eth," : ""}set(tunnel(${
      [id, to, "ttl=64", ...metadata, flags].join(",")
    }))`,
    ...(isLayer3 && { back: `push_eth(src=${THEIRS},dst=${OURS})` }),
    tap: `in${net}`,
    commands: [
      ...(isLayer3 ? [`link set in${net} address ${OURS}`] : []),
      `link set in${net} mtu ${isCut ? WIDE : LARGE} up`,
      `addr add 10.${net}.0.1/24 dev in${net}`,
      `-6 addr add fd00:${net}::1/64 dev in${net} nodad`,
      ...(isLayer3
        ? [`neigh replace 10.${net}.0.2 lladdr ${THEIRS} nud permanent dev in${net}`]
        : []),
    ],
  };
}

/** Sizes of echo requests: small, jumbo, in fragments inside, and in fragments outside. */
async function pingAll(from: End, { net, isCut, isLayer3 }: Case): Promise<void> {
  const sizes = [56, LARGE - 28, 20_000, ...(isCut ? [WIDE - 28] : [])];
  await reach(from, `10.${net}.0.2`);
  if (!isLayer3) await reach(from, `fd00:${net}::2`);
  for (const size of sizes) {
    // Without DF: a packet with it would be answered instead.
    const options = `-n -M dont -c 2 -i 0.02 -w 30 -s ${size} 10.${net}.0.2`.split(" ");
    const { stdout, code } = await tryRun(...at(from, "ping", ...options));
    assert.equal(code, 0, `ping ${options.join(" ")}: ${stdout}`);
  }
}

Deno.test(
  "tunnels: Linux's own devices of every kind, over both families, with one datapath",
  skippable(async (t) => {
    needRoot("netdev");
    for (const name of ["tshark", "tcpdump", "iperf3"]) {
      needProgram(name, { requirement: "peer" });
    }
    // Compiles, or skips. In a guest it would compile in vain.
    if (!inGuest()) await (await NetdevBench.open())[Symbol.asyncDispose]();
    await using wire = await makeWire("tl", MTU);
    const [a, b] = wire.ends;
    const there: Case[] = [];
    const missing = new Set<string>();
    for (const one of cases) {
      try {
        await makeDevice(one, [a, b]);
        there.push(one);
      } catch (error) {
        if (!(error instanceof Unsupported)) throw error;
        missing.add(error.message);
      }
    }
    if (there.length === 0) {
      throw new Unsupported("devices of tunnels", { requirement: "peer" });
    }
    const tunnels = there.map((one) => specOf(one, b));
    await using side = await startSide(a, { name: "ov0", tunnels });
    await captured(a, async () => {
      for (const one of there) {
        await t.step(`${one.type} over IPv${one.version}: ${one.device}`, async () => {
          await pingAll(a, one).catch(async (error: Error) => {
            throw new Error(await side.control("coverage/show"), { cause: error });
          });
        });
      }
    }, async (path) => assert.deepEqual(await objections(path), []));
    for (const { net, type, version, isLayer3 } of there) {
      const back = isLayer3 ? `10.${net}.0.2` : `fd00:${net}::2`;
      const rates = [
        await iperf(wire.ends, `10.${net}.0.2`, ["-n", "4M"]),
        await iperf(wire.ends, back, ["-n", "4M", "-R"]),
      ].map((rate) => (rate / 1e6).toFixed(0));
      figure(
        `${type} over IPv${version}, Linux's device: TCP ${rates.join(" and ")} Mbit/s`,
      );
    }
    if (missing.size > 0) figure(`not in this kernel: ${[...missing].join(", ")}`);
  }),
);
