// SPDX-License-Identifier: Apache-2.0
/**
 * GTP-U and ERSPAN beside Open vSwitch, byte for byte, which makes their headers of OpenFlow's
 * rules.
 */
import assert from "node:assert/strict";
import type { Datapath } from "../../providers/datapath.ts";
import type { TunnelKey } from "../../providers/types.ts";
import { type Dummy, startDummy } from "../odp/ovs_dummy.ts";
import { figure } from "../support/figure.ts";
import { collectAll, NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";
import { plain, through } from "./tunnel_judge.ts";
import {
  gtpuCases,
  optionsOf,
  type RuleCase,
  ruleCases,
  type Way,
  ways,
} from "./tunnel_rules.ts";

const count = Number(Deno.env.get("TUNNEL_CASES") ?? 1020);
const seed = Number(Deno.env.get("TUNNEL_SEED") ?? 15);
const own = { 4: "1.1.2.88", 6: "2001:cafe::88" } as const;
const farMac = "f8:bc:12:44:34:b6";
/** Numbers of Open vSwitch's tunnels in OpenFlow, from the first way's on. */
const firstPort = 20;

const isIpv6 = ({ remote }: Way) => remote.includes(":");

/** Has Open vSwitch know the ways, with a port for each, and the underlay at port 2. */
async function prepare(dummy: Dummy): Promise<void> {
  await dummy.call("upcall/set-flow-limit", "0");
  await dummy.call("netdev-dummy/ip4addr", "br0", `${own[4]}/24`);
  await dummy.call("netdev-dummy/ip6addr", "br0", `${own[6]}/64`);
  await dummy.call("ovs/route/add", `${own[4]}/24`, "br0");
  await dummy.call("ovs/route/add", `${own[6]}/64`, "br0");
  for (const [n, way] of ways.entries()) {
    await dummy.call("tnl/neigh/set", "br0", way.remote, farMac);
    await dummy.vsctl(
      ...["add-port", "br0", `w${n}`, "--", "set", "interface", `w${n}`],
      ...[`type=${way.kind}`, `ofport_request=${firstPort + n}`, ...optionsOf(way)],
    );
  }
  const table = await dummy.call("tnl/neigh/show");
  assert.equal(table.split(farMac).length - 1, ways.length, table);
}

/** Has Open vSwitch have these rules, and no other. */
async function setRules(dummy: Dummy, rules: readonly string[]): Promise<void> {
  const file = await Deno.makeTempFile({ prefix: "upcall-tunnels-" });
  try {
    await Deno.writeTextFile(file, rules.map((rule) => `${rule}\n`).join(""));
    await dummy.ofctl("del-flows", "br0");
    await dummy.ofctl("add-flows", "br0", file);
  } finally {
    await Deno.remove(file);
  }
}

const macOf = (bytes: Uint8Array) => bytes.toHex().replaceAll(/..(?!$)/g, "$&:");

/** The rule by which Open vSwitch sends a case's packet. */
function ruleOf({ way, frame, key, erspan }: RuleCase): string {
  const fields: Record<string, number> = erspan === undefined
    ? {}
    : erspan.version === 1
    ? { tun_erspan_ver: 1, tun_erspan_idx: erspan.index }
    : {
      tun_erspan_ver: 2,
      tun_erspan_dir: erspan.direction,
      tun_erspan_hwid: erspan.hardware,
    };
  const set = Object.entries({ tun_id: key, ...fields })
    .map(([name, value]) => `set_field:${value}->${name},`);
  const source = macOf(frame.subarray(6, 12));
  return `in_port=1,dl_src=${source},actions=${set.join("")}output:${firstPort + way}`;
}

/** The port that a packet of ours goes by: the kind's, or the way's, if it has a key of its own. */
type Ports = (way: number) => number;

async function addPorts(dp: Datapath): Promise<Ports> {
  const byKind = new Map<string, number>();
  const byWay = new Map<number, number>();
  for (const [n, { kind, remote, inherits }] of ways.entries()) {
    const shared = { csum: "true", df: "true" };
    if (inherits !== undefined) {
      const own = { remote_ip: remote, key: inherits, tos: "inherit", ttl: "inherit" };
      const port = { name: `w${n}`, type: kind, options: { ...own, ...shared } };
      byWay.set(n, (await dp.ports.add(port)).no);
    } else if (!byKind.has(kind)) {
      byKind.set(kind, (await dp.ports.add({ name: `t-${kind}`, type: kind })).no);
    }
  }
  return (n) => byWay.get(n) ?? byKind.get(ways[n]?.kind ?? "") ?? 0;
}

/** The actions by which we send a case's packet. */
function actionsOf({ way: n, key, erspan }: RuleCase, ports: Ports): string {
  const way = ways[n] as Way;
  const { remote, tos = 0, ttl = 64, mayFragment = false } = way;
  const outer = way.kind === "gtpu" ? "pop_eth," : "";
  if (way.inherits !== undefined) return `${outer}${ports(n)}`;
  const own = erspan === undefined
    ? ""
    : erspan.version === 1
    ? `,erspan(ver=1,idx=0x${erspan.index.toString(16)})`
    : `,erspan(ver=2,dir=${erspan.direction},hwid=0x${erspan.hardware.toString(16)})`;
  const flags = [
    ...(mayFragment ? [] : ["df"]),
    ...(way.kind === "gtpu" ? ["csum"] : []),
    "key",
  ];
  return `${outer}set(tunnel(tun_id=${key},${
    isIpv6(way) ? "ipv6_dst" : "dst"
  }=${remote},` +
    `tos=${tos},ttl=${ttl}${own},flags(${flags.join("|")}))),${ports(n)}`;
}

/** Has our datapath know the ways as well: port p2 is the underlay, and has the same addresses. */
async function findWays(bench: NetdevBench, ports: Ports): Promise<void> {
  const { tunnels } = bench.dp;
  assert.ok(tunnels);
  for (
    const prefix of [{ address: own[4], length: 24 }, { address: own[6], length: 64 }]
  ) {
    tunnels.addAddress({ device: "p2", prefix });
    tunnels.addRoute({ destination: prefix, device: "p2" });
  }
  for (const { remote } of ways) {
    tunnels.setNeighbour({ address: remote, mac: farMac, device: "p2" });
  }
  for (const one of ruleCases(ways.length, 1)) {
    await until(`the way to ${ways[one.way]?.remote}`, () => {
      bench.dp.execute({ packet: one.frame, actions: actionsOf(one, ports) });
      return collectAll(bench.dp, 2 as never).length > 0;
    });
  }
}

/** An outer packet as it can be compared. `isTheirs`: Open vSwitch's, with its faults. */
function comparable(
  { way, erspan }: RuleCase,
  frame: Uint8Array,
  isTheirs: boolean,
): string {
  const bytes = frame.slice();
  bytes.fill(0, 6, 12); // Each end has another address.
  const l4 = isIpv6(ways[way] as Way) ? 54 : 34;
  if (erspan !== undefined) {
    bytes.fill(0, l4 + 4, l4 + 8); // The number: of Open vSwitch's ports they share one.
    if (erspan.version === 2) bytes.fill(0, l4 + 12, l4 + 16); // The time.
    return plain(bytes);
  }
  const summed = bytes.slice();
  // It sums up before it writes the length.
  if (isTheirs) summed.fill(0, l4 + 10, l4 + 12);
  return plain(bytes, summed);
}

Deno.test(
  "tunnels: headers of GTP-U and ERSPAN are those that Open vSwitch makes, byte for byte",
  skippable(async () => {
    await using dummy = await startDummy();
    await using bench = await NetdevBench.open();
    await bench.ports("p1", "p2");
    await prepare(dummy);
    const ports = await addPorts(bench.dp);
    await findWays(bench, ports);
    const cases = ruleCases(count, seed);
    await setRules(dummy, [
      ...cases.map(ruleOf),
      "in_port=LOCAL,actions=output:2",
    ]);
    const pushed = await through(dummy, cases.map(({ frame }) => frame), ["p1", 2]);
    cases.forEach((one, n) => {
      bench.dp.execute({ packet: one.frame, actions: actionsOf(one, ports) });
      const [frame] = collectAll(bench.dp, 2 as never);
      assert.ok(frame, `case ${n} of seed ${seed}: ${ruleOf(one)}`);
      assert.equal(
        comparable(one, frame, false),
        comparable(one, pushed[n] ?? new Uint8Array(), true),
        `case ${n} of seed ${seed}: ${ruleOf(one)}`,
      );
    });
    figure(`${count} packets got headers of GTP-U and ERSPAN, as in Open vSwitch`);
  }),
);

/** The rule by which Open vSwitch passes on what has the metadata that we read. */
const passRule = ({ id, src, gtpu }: TunnelKey) =>
  `in_port=${firstPort},tun_id=${id},tun_src=${src},tun_gtpu_flags=${gtpu?.flags},` +
  `tun_gtpu_msgtype=${gtpu?.messageType},actions=output:4`;

Deno.test(
  "tunnels: GTP-U comes out as in Open vSwitch, with the same metadata",
  skippable(async () => {
    await using dummy = await startDummy();
    await using bench = await NetdevBench.open();
    await bench.ports("p1", "p2", "p3");
    await prepare(dummy);
    const { no } = await bench.dp.ports.add({ name: "t-gtpu", type: "gtpu" });
    bench.dp.flows.put({
      key: "in_port(3),eth(),eth_type(0x0800),ipv4(proto=17,frag=no),udp(dst=2152)",
      actions: `tnl_pop(${no})`,
    });
    const mac = (await dummy.vsctl("get", "interface", "br0", "mac_in_use"))
      .replaceAll(/[":\s]/g, "");
    const cases = gtpuCases(count, seed, Uint8Array.fromHex(mac));
    const upcalls = bench.dp.upcalls({ signal: AbortSignal.timeout(300_000) });
    const rules: string[] = [];
    for (const [n, one] of cases.entries()) {
      bench.inject(3 as never, one.outer);
      const { value: upcall } = await upcalls.next();
      const what = `case ${n} of seed ${seed}`;
      assert.ok(upcall, what);
      assert.equal(upcall.packet.toHex(), one.inner.toHex(), what);
      assert.equal(upcall.key.tunnel?.id, BigInt(one.key), what);
      rules.push(passRule(upcall.key.tunnel ?? {}));
    }
    await upcalls.return?.();
    await setRules(dummy, [...rules, "in_port=3,actions=LOCAL"]);
    const popped = await through(dummy, cases.map(({ outer }) => outer), ["p3", 4]);
    assert.deepEqual(
      // An Ethernet header is put before packets that leave by a port which has such.
      popped.map((frame) => frame.subarray(14).toHex()),
      cases.map(({ inner }) => inner.toHex()),
    );
    figure(`${count} packets of GTP-U came out as in Open vSwitch`);
  }),
);
