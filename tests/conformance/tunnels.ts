// SPDX-License-Identifier: Apache-2.0
/**
 * Tunnels: ports of every kind, what a flow says of them, and packets through them.
 *
 * The host has the addresses of the underlay on the local port: outer packets come out of it, and
 * those that flows send there end in the tunnel.
 */
import assert from "node:assert/strict";
import {
  build,
  ethernet,
  geneve,
  gre,
  ipv4,
  ipv6,
  parse,
  payload,
  udp,
  vxlan,
} from "../../frames/mod.ts";
import type { Layer } from "../../frames/mod.ts";
import { DatapathError } from "../../providers/errors.ts";
import { udpFrame } from "../support/frames.ts";
import { until } from "../support/wait.ts";
import { fails, sameFrames } from "./assert.ts";
import type { Bench, Suite } from "./environment.ts";

const types = ["vxlan", "geneve", "gre", "ip6gre", "erspan", "ip6erspan", "bareudp"];

/** A test for providers that have tunnels, which a datapath for tests has not. */
function tunnelled(test: (bench: Bench) => Promise<void>): Suite[string] {
  return async (bench) => {
    if (bench.env.underlay !== undefined) await test(bench);
  };
}

/** Names that Open vSwitch gives to ports: Linux's devices of these names are known by them. */
const names: Readonly<Record<string, string>> = {
  vxlan: "vxlan_sys_4789",
  geneve: "genev_sys_6081",
  gre: "gre_sys",
  ip6gre: "ip6gre_sys",
  erspan: "erspan_sys",
  ip6erspan: "ip6erspan_sys",
  bareudp: "udp_sys_6635",
};

/** Adds a port; undefined where this kernel has no such kind. */
async function addTunnel({ dp }: Bench, type: string): Promise<number | undefined> {
  try {
    return (await dp.ports.add({ name: names[type] ?? type, type })).no;
  } catch (error) {
    const isLacking = dp.type === "system" && error instanceof DatapathError &&
      ["EOPNOTSUPP", "EAFNOSUPPORT", "ENODEV", "ENOENT"].includes(error.code);
    if (isLacking) return undefined;
    throw error;
  }
}

const own = { 4: "10.99.0.1", 6: "fd00:99::1" } as const;
const far = { 4: "10.99.0.2", 6: "fd00:99::2" } as const;
const farMac = "02:00:00:00:99:02";
const inner = udpFrame();

/** UDP without a checksum over IPv4, as most send it; IPv6 asks for one. */
const outerUdp = (version: 4 | 6, dst: number) =>
  udp({ src: 50_000, dst, ...(version === 4 && { checksum: 0 }) });

/** Kinds as packets: what a flow sets, and the headers between the outer IP and the inner frame. */
const formats = [
  {
    type: "vxlan",
    set: "",
    protocol: 17,
    headers: (version: 4 | 6) => [outerUdp(version, 4789), vxlan({ vni: 0x51 })],
    read: (layers: readonly Layer[]) => layers.find(({ type }) => type === "vxlan"),
    wanted: { vni: 0x51, flags: 8 },
  },
  {
    type: "geneve",
    set: ",geneve({class=0x102,type=0x3,len=4,0x11223344})",
    protocol: 17,
    headers: (version: 4 | 6) => [
      outerUdp(version, 6081),
      geneve({
        vni: 0x51,
        options: [{ class: 0x102, kind: 3, data: Uint8Array.fromHex("11223344") }],
      }),
    ],
    read: (layers: readonly Layer[]) => layers.find(({ type }) => type === "geneve"),
    wanted: { vni: 0x51 },
  },
  {
    type: "gre",
    set: "",
    protocol: 47,
    headers: () => [gre({ key: 0x51, protocol: 0x6558 })],
    read: (layers: readonly Layer[]) => layers.find(({ type }) => type === "gre"),
    wanted: { key: 0x51 },
  },
] as const;

export const tunnelSuite: Suite = {
  "ports of every kind are added, listed and deleted": tunnelled(async (bench) => {
    const { dp } = bench;
    for (const type of types) {
      const no = await addTunnel(bench, type);
      if (no === undefined) continue;
      assert.equal(dp.ports.get(no)?.type, type);
      assert.ok(
        [...dp.ports.dump()].some((port) => port.no === no && port.type === type),
      );
      await dp.ports.delete(no);
      assert.equal(dp.ports.get(no), undefined);
    }
  }),

  "what is wrong with an option is said": tunnelled(async ({ dp }) => {
    const add = (type: string, options: Record<string, string | number>) => () =>
      dp.ports.add({ name: "cwrong", type, options });
    const unknown = await fails(add("vxlan", { "no such": 1 }), "EINVAL");
    assert.match(unknown.message, /there are: .*dst_port/);
    for (const dst_port of [0, 65536, "x"]) {
      const error = await fails(add("vxlan", { dst_port }), "EINVAL");
      assert.match(error.message, /dst_port/);
    }
    await fails(add("gre", { packet_type: "x" }), "EINVAL");
    await fails(add("bareudp", { payload_type: "x" }), "EINVAL");
    assert.equal(dp.ports.get("cwrong"), undefined);
  }),

  "tunnel keys and actions come back as they were put": tunnelled(async (bench) => {
    const { dp, ports: [, two] } = bench;
    const no = await addTunnel(bench, "geneve");
    if (no === undefined) return;
    const option = "geneve({class=0x102,type=0x3,len=4,0x11223344/0xffffffff})";
    const outer = "tun_id=0x51,src=10.99.0.2,dst=10.99.0.1,ttl=0/0";
    const key = `tunnel(${outer},${option},flags(-df-csum+key)),in_port(${no}),eth(),` +
      "eth_type(0x0800),ipv4(frag=no)";
    dp.flows.put({ key, actions: `${two}` });
    const [flow] = [...dp.flows.dump()];
    assert.equal(flow?.key?.tunnel?.id, 0x51n);
    assert.equal(flow?.key?.tunnel?.geneve?.length, 1);
    dp.flows.flush();
    dp.flows.put({
      key,
      actions:
        `set(tunnel(tun_id=0x1,dst=10.99.0.2,tos=0x8,ttl=9,tp_dst=6081,flags(df|csum|key))),${no}`,
    });
    const [set] = dp.flows.get({ key })?.actions ?? [];
    assert.equal(set?.type, "set");
    const { tunnel } = set?.type === "set" ? set.key : {};
    assert.deepEqual(
      [
        tunnel?.id,
        tunnel?.dst,
        tunnel?.tos,
        tunnel?.ttl,
        tunnel?.dontFragment,
        tunnel?.checksum,
      ],
      [1n, "10.99.0.2", 8, 9, true, true],
    );
  }),

  ...Object.fromEntries(
    formats.flatMap(({ type, set, protocol, headers, read, wanted }) =>
      ([4, 6] as const).map((version): [string, Suite[string]] => [
        `packets go out and come in by ${type} over IPv${version}`,
        tunnelled(async (bench) => {
          const { env, dp, ports: [one, two] } = bench;
          // Linux's between hosts is in tests/system/traffic_test.ts.
          if (type === "gre" && version === 4 && env.type === "system") return;
          const no = await addTunnel(
            bench,
            version === 6 && type === "gre" ? "ip6gre" : type,
          );
          const mac = await env.underlay?.(dp, {
            own: own[version],
            far: far[version],
            farMac,
          });
          if (no === undefined || mac === undefined) return;
          const [dst, src, key] = version === 4
            ? [`dst=${far[4]}`, `src=${far[4]},dst=${own[4]}`, "ipv4(frag=no)"]
            : [
              `ipv6_dst=${far[6]}`,
              `ipv6_src=${far[6]},ipv6_dst=${own[6]}`,
              "ipv6(frag=no)",
            ];
          const etherType = version === 4 ? "0x0800" : "0x86dd";
          // Out: port 1, the tunnel, the local port, port 2.
          dp.flows.put({
            key: `in_port(${one}),eth(),eth_type(0x0800),ipv4(frag=no)`,
            actions: `set(tunnel(tun_id=0x51,${dst},ttl=64${set},flags(df|key))),${no}`,
          });
          dp.flows.put({
            key: `in_port(0),eth(),eth_type(${etherType}),${key}`,
            actions: `${two}`,
          });
          const sent: Uint8Array[] = [];
          await until("an outer packet", async () => {
            await env.inject(dp, one, inner);
            sent.push(...(await env.collect(dp, two)).filter((frame) => {
              const { layers } = parse(frame);
              return read(layers) !== undefined;
            }));
            return sent.length > 0;
          });
          const { layers } = parse(sent[0] as Uint8Array);
          const [ethernetLayer, ip] = layers;
          assert.ok(
            ethernetLayer?.type === "ethernet" &&
              (ip?.type === "ipv4" || ip?.type === "ipv6"),
          );
          assert.deepEqual([ethernetLayer.src, ethernetLayer.dst], [mac, farMac]);
          assert.deepEqual([ip.src, ip.dst], [own[version], far[version]]);
          assert.partialDeepStrictEqual(read(layers), wanted);
          assert.ok(
            (sent[0] as Uint8Array).toHex().endsWith(inner.toHex()),
            "the inner frame is whole",
          );

          // In: port 2, the local port, the tunnel, port 1.
          dp.flows.flush();
          await env.collect(dp, one);
          dp.flows.put({
            key: `in_port(${two}),eth(),eth_type(${etherType}),${key}`,
            actions: "0",
          });
          dp.flows.put({
            key:
              `tunnel(tun_id=0x51,${src},ttl=0/0${
                set.replace("0x11223344", "0x11223344/0xffffffff")
              },flags(+key)),` +
              `in_port(${no}),eth(),eth_type(0x0800),ipv4(frag=no)`,
            actions: `${one}`,
          });
          const ends = { src: far[version], dst: own[version] };
          const outer = build([
            ethernet({ src: farMac, dst: mac }),
            version === 4
              ? ipv4({ ...ends, proto: protocol })
              : ipv6({ ...ends, next: protocol }),
            ...headers(version),
            payload(inner),
          ]);
          const got: Uint8Array[] = [];
          await until("an inner packet", async () => {
            await env.inject(dp, two, outer);
            got.push(...await env.collect(dp, one));
            return got.length > 0;
          });
          sameFrames(got.slice(0, 1), [inner]);
        }),
      ])
    ),
  ),
};
