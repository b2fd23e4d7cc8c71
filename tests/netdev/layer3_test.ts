// SPDX-License-Identifier: Apache-2.0
/** Packets without Ethernet header: their ports, keys, upcalls and flows, and service headers. */
import assert from "node:assert/strict";
import { formatKey } from "../../providers/odp/mod.ts";
import type { PortNo } from "../../providers/ids.ts";
import { tcpFrame, udpFrame } from "../support/frames.ts";
import { collectAll, NetdevBench } from "../support/netdev.ts";
import { needRoot, skippable } from "../support/skip.ts";
import { Tap } from "../support/tap.ts";
import { until } from "../support/wait.ts";

const frame = udpFrame();
const packet = frame.subarray(14);
const udp = "eth_type(0x0800),ipv4(proto=17,frag=no),udp(src=0/0)";
const plain = `recirc_id(0),in_port(1),eth(),${udp}`;
const bare = `in_port(3),packet_type(ns=1,id=0x800),${udp}`;

/** Two ports for frames, and one (3) for packets without Ethernet header. */
async function open(): Promise<NetdevBench> {
  const bench = await NetdevBench.open();
  await bench.ports("p1", "p2");
  const options = { packet_type: "legacy_l3" };
  await bench.dp.ports.add({ name: "p3", type: "dummy", options });
  return bench;
}

const drops = (bench: NetdevBench, name: string) =>
  bench.dp.stats().counters?.[`drop_${name}`] ?? 0n;

const hex = (list: readonly Uint8Array[]) => list.map((bytes) => bytes.toHex());

Deno.test(
  "layer 3: packets without Ethernet header come in by their ports and leave by them",
  skippable(async () => {
    await using bench = await open();
    const { dp } = bench;
    dp.flows.put({ key: plain, actions: "pop_eth,3" });
    dp.flows.put({
      key: bare,
      actions: "push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),2",
    });
    bench.inject(1 as PortNo, frame);
    assert.deepEqual(hex(await bench.collect(3 as PortNo)), [packet.toHex()]);
    bench.inject(3 as PortNo, packet);
    const expected = `0200000000020200000000010800${packet.toHex()}`;
    assert.deepEqual(hex(await bench.collect(2 as PortNo)), [expected]);
    const text = [...dp.flows.dump()].map((flow) => flow.toString()).join("\n");
    assert.match(text, /packet_type\(ns=1,id=0x800\),eth_type\(0x0800\)/);
    assert.equal(dp.stats().hit, 2n);
  }),
);

Deno.test(
  "layer 3: the wrong kind of packet for a port is dropped under a name, and counted by the port",
  skippable(async () => {
    await using bench = await open();
    const { dp } = bench;
    dp.flows.put({ key: plain, actions: "3,pop_eth,2" });
    bench.inject(1 as PortNo, frame);
    await bench.settle();
    assert.equal(drops(bench, "tx_packet_type"), 2n);
    assert.equal(dp.ports.stats(2 as PortNo).txDropped, 1n);
    assert.equal(dp.ports.stats(3 as PortNo).txDropped, 1n);
    bench.inject(3 as PortNo, new Uint8Array(40));
    await bench.settle();
    assert.equal(drops(bench, "rx_no_type"), 1n);
    await assert.rejects(
      () => dp.ports.add({ name: "p4", type: "dummy", options: { packet_type: "ptap" } }),
      /packet_type is "ptap"/,
    );
  }),
);

Deno.test(
  "layer 3: an upcall has the packet and a key that puts a flow for it",
  skippable(async () => {
    await using bench = await open();
    const { dp } = bench;
    const upcalls = dp.upcalls({ signal: AbortSignal.timeout(60_000) });
    const next = upcalls.next();
    bench.inject(3 as PortNo, tcpFrame({ version: 6 }).subarray(14));
    const { value: upcall } = await next;
    assert.ok(upcall);
    assert.equal(upcall.packet.toHex(), tcpFrame({ version: 6 }).subarray(14).toHex());
    assert.deepEqual(upcall.key.packetType, { ns: 1, id: 0x86dd });
    assert.equal(upcall.key.ethernet, undefined);
    assert.match(
      formatKey({ key: upcall.key }),
      /packet_type\(ns=1,id=0x86dd\),eth_type\(0x86dd\),ipv6/,
    );
    const actions = "push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),2";
    dp.flows.put({ key: upcall.key, actions });
    dp.execute({ packet: upcall.packet, key: upcall.key, actions });
    bench.inject(3 as PortNo, upcall.packet);
    await bench.settle();
    const sent = hex(collectAll(dp, 2 as PortNo));
    assert.deepEqual(
      sent,
      Array(2).fill(`02000000000202000000000186dd${upcall.packet.toHex()}`),
    );
    await upcalls.return?.();
  }),
);

/** The header of reference: version 0, ttl 63, path 0x1234, index 255. */
const md1 = "0fc60103001234ff" + "11223344" + "00000000".repeat(3);

Deno.test(
  "layer 3: service headers are pushed, matched, set, popped, and what is inside is looked up again",
  skippable(async () => {
    await using bench = await open();
    const { dp } = bench;
    const push =
      "push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1234,si=255,c1=0x11223344,c2=0x0,c3=0x0,c4=0x0)";
    dp.flows.put({ key: plain, actions: `${push},recirc(1)` });
    const nsh = "packet_type(ns=1,id=0x894f),eth_type(0x894f)";
    dp.flows.put({
      key:
        `recirc_id(1),in_port(1),${nsh},nsh(mdtype=1,np=3,spi=0x1234,si=255,c1=0x11223344)`,
      actions:
        "set(nsh(ttl=62,spi=0x5)),push_eth(src=00:00:00:00:00:00,dst=11:22:33:44:55:66),2,pop_eth,recirc(2)",
    });
    dp.flows.put({
      key: `recirc_id(2),in_port(1),${nsh},nsh(np=3)`,
      actions: "pop_nsh(),recirc(3)",
    });
    dp.flows.put({
      key: `recirc_id(3),in_port(1),eth(),${udp}`,
      actions: "set(udp(src=7)),2",
    });
    bench.inject(1 as PortNo, frame);
    const [outer, inner, ...rest] = hex(await bench.collect(2 as PortNo));
    const changed = md1.replace("0fc6", "0f86").replace("001234", "000005");
    assert.equal(outer, `112233445566000000000000894f${changed}${frame.toHex()}`);
    assert.equal(inner?.slice(0, 68), frame.toHex().slice(0, 68));
    assert.equal(inner?.slice(68, 72), "0007");
    assert.deepEqual(rest, []);
  }),
);

Deno.test(
  "actions that cannot be done to every packet of a flow are refused, and the text says which",
  skippable(async () => {
    await using bench = await open();
    const { dp } = bench;
    for (
      const [key, actions, why] of [
        [
          `in_port(1),eth(),eth_type(0x0800),ipv4()`,
          "2,3,set(tcp(dst=80))",
          "actions[2].set.tcp: the key does not say that the packet is TCP",
        ],
        [
          plain,
          "clone(push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)),2",
          "actions[0].clone[0].push_eth: the packet has an Ethernet header there",
        ],
        [
          bare,
          "pop_eth,2",
          "actions[0].pop_eth: the packet has no Ethernet header there",
        ],
        [
          bare,
          "push_vlan(vid=5,pcp=0),2",
          "actions[0].push_vlan: the packet has no Ethernet header there",
        ],
        [
          plain,
          "sample(sample=50%,actions(pop_mpls(eth_type=0x800))),2",
          "actions[0].sample.actions[0].pop_mpls: the key does not say",
        ],
        [
          plain,
          "check_pkt_len(size=100,gt(2),le(3,pop_nsh()))",
          "actions[0].check_pkt_len.le[1].pop_nsh: the key does not say",
        ],
      ] as const
    ) {
      assert.throws(() => dp.flows.put({ key, actions }), (error: Error) => {
        assert.ok(error.message.includes(why), error.message);
        assert.ok(error.message.endsWith("(EINVAL)"), error.message);
        return true;
      });
    }
    assert.equal(dp.stats().flows, 0);
  }),
);

Deno.test(
  "layer 3: a device without Ethernet header is a port for such packets, by packet_type=legacy_l3",
  skippable(async () => {
    needRoot("netdev");
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1");
    using tun = new Tap(`l3t${Deno.pid % 100000}`, "tun");
    using tap = new Tap(`l3e${Deno.pid % 100000}`);
    const options = { packet_type: "legacy_l3" };
    const { no, mac } = await dp.ports.add({ name: tun.name, options });
    assert.equal(no, 2);
    assert.equal(mac, undefined);
    dp.flows.put({ key: plain, actions: "pop_eth,2" });
    dp.flows.put({
      key: `in_port(2),packet_type(ns=1,id=0x800),${udp}`,
      actions: "push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),1",
    });
    bench.inject(1 as PortNo, frame);
    const out = await until("the packet to leave by the device", () => tun.read());
    assert.equal(out.toHex(), packet.toHex());
    tun.write(packet);
    const back = await until("the packet to come back", () => dp.ports.collect?.(1));
    assert.equal(back.toHex(), `0200000000020200000000010800${packet.toHex()}`);
    await assert.rejects(
      dp.ports.add({ name: tap.name, options }),
      /no device for packets without link header: its type is 1 \(Ethernet\)/,
    );
  }),
);
