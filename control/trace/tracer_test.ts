// SPDX-License-Identifier: Apache-2.0
/** Traces on a datapath in memory. */
import assert from "node:assert/strict";
import type { Datapath } from "../../providers/datapath.ts";
import {
  openDatapath,
  registerProvider,
  unregisterProvider,
} from "../../providers/registry.ts";
import { fakeProvider } from "../../tests/support/fake_provider.ts";
import { udpFrame } from "../../tests/support/frames.ts";
import { FlowFilter } from "../text/flow_filter.ts";
import { keyToTrace, traceText } from "./text.ts";

async function onFake(test: (dp: Datapath) => void | Promise<void>): Promise<void> {
  registerProvider(fakeProvider({ type: "trace" }));
  const dp = await openDatapath("trace@d0", { create: true });
  try {
    for (const name of ["p1", "p2", "p3"]) await dp.ports.add({ name, type: "dummy" });
    await test(dp);
  } finally {
    await dp.destroy();
    await dp.close();
    unregisterProvider("trace");
  }
}

const ip = "eth_type(0x0800),ipv4(src=10.0.0.0/255.255.255.0,frag=no)";
const packet = "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)," +
  "eth_type(0x0800),ipv4(src=10.0.0.7,dst=10.0.0.8,proto=17,tos=0,ttl=64,frag=no)," +
  "udp(src=80,dst=81)";

const trace = (dp: Datapath, text: string): string =>
  traceText(dp, text, { json: false });

Deno.test("a trace follows tags, recirculations and copies to the ports", () =>
  onFake((dp) => {
    dp.flows.put({
      key: `recirc_id(0),in_port(1),eth(),${ip}`,
      actions: "clone(push_vlan(vid=5,pcp=0),2),set(ipv4(ttl=3)),recirc(7)",
    });
    dp.flows.put({ key: `recirc_id(7),in_port(1),eth(),${ip}`, actions: "3,9" });
    const text = trace(dp, packet);
    assert.match(text, /^packet: in_port\(1\),eth/);
    assert.match(
      text,
      /push_vlan\(vid=5,pcp=0\) +the packet is now: .*vlan\(vid=5,pcp=0\)/,
    );
    assert.match(text, / 2 +sent to port 2, p2\n/);
    assert.match(text, /set\(ipv4\(ttl=3\)\) +the packet is now: .*ttl=3/);
    assert.match(text, /recirc\(0x7\) .*\n {2}lookup: recirc_id\(7\)/);
    assert.match(text, / 9 +there is no port 9\n/);
    assert.match(text, /\nverdict: sent to 2, 3\n$/);
    // What was done to the copy was not done to the packet.
    assert.doesNotMatch(text.slice(text.lastIndexOf("set(ipv4")), /vlan/);
    const { result } = JSON.parse(traceText(dp, packet, { json: true }));
    assert.deepEqual(result[0].verdict, {
      sent: [2, 3],
      perhaps: [],
      up: false,
      dropped: false,
    });
    assert.deepEqual(dp.stats().hit, 0n, "nothing was sent");
  }));

Deno.test("a trace of what no flow covers goes up, and drops end", () =>
  onFake((dp) => {
    dp.flows.put({ key: `recirc_id(0),in_port(2),eth(),${ip}`, actions: "drop" });
    assert.match(trace(dp, packet), /no flow of 1 fits[^]*verdict: handed up\n$/);
    assert.match(
      trace(dp, packet.replace("(1)", "(2)")),
      /ends here\nverdict: dropped\n$/,
    );
    const outside = packet.replace("(1)", "(2)").replace("10.0.0.7", "10.0.1.7");
    assert.match(trace(dp, outside), /verdict: handed up\n$/);
    const arp = "in_port(2),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)," +
      "eth_type(0x0806),arp(sip=10.0.0.7,tip=10.0.0.8,op=1)";
    assert.match(trace(dp, arp), /verdict: handed up\n$/);
  }));

Deno.test("a trace follows what happens to some packets only, and says so", () =>
  onFake((dp) => {
    const put = (actions: string): void =>
      void dp.flows.put({ key: `recirc_id(0),in_port(1),eth(),${ip}`, actions });
    put("sample(sample=25.0%,actions(push_vlan(vid=5,pcp=0),2)),3");
    const sampled = trace(dp, packet);
    assert.match(sampled, /of 25 % of packets, a copy:\n {4}push_vlan.*vlan\(vid=5/);
    assert.match(sampled, /\nverdict: sent to 3; perhaps sent to 2\n$/);
    dp.flows.flush();
    put("sample(sample=100.0%,actions(psample(group=7))),2");
    assert.match(trace(dp, packet), /samples, for group 7\n[^]*\nverdict: sent to 2\n$/);
    dp.flows.flush();
    put("sample(sample=100.0%,actions(2))");
    assert.match(trace(dp, packet), /\nverdict: sent to 2\n$/);
    dp.flows.flush();
    put("push_vlan(vid=5,pcp=0),check_pkt_len(size=64,gt(2),le(drop)),pop_vlan,3");
    const unknown = trace(dp, packet);
    assert.match(unknown, /if it has more than 64:\n {4}2 [^]*if it has 64 at most:/);
    assert.match(unknown, /\nverdict: sent to 3; perhaps sent to 2\n$/);
    const frame = (size: number): string =>
      `in_port(1),${udpFrame({ payload: new Uint8Array(size - 42) }).toHex()}`;
    // The tag makes it longer.
    const short = trace(dp, frame(60));
    assert.match(short, /it has 64 bytes, 64 at most:\n[^]*\nverdict: sent to 3\n$/);
    const long = trace(dp, frame(61));
    assert.match(long, /it has 65 bytes, more than 64:\n[^]*\nverdict: sent to 2, 3\n$/);
  }));

Deno.test("a trace goes on behind a recirculation that is not the last action", () =>
  onFake((dp) => {
    const put = (recircId: number, actions: string): void =>
      void dp.flows.put({
        key: `recirc_id(${recircId}),in_port(1),eth(),${ip}`,
        actions,
      });
    put(0, "recirc(7),push_vlan(vid=5,pcp=0),recirc(8),3");
    put(7, "set(ipv4(ttl=3)),2");
    const text = trace(dp, packet);
    assert.match(text, /\nverdict: sent to 2, 3; handed up\n$/);
    // What was done to the copy was not done to the packet.
    assert.doesNotMatch(text.slice(text.lastIndexOf("push_vlan")), /ttl=3/);
    dp.flows.flush();
    put(0, "clone(recirc(7),2),3");
    put(7, "drop");
    assert.match(trace(dp, packet), /\nverdict: sent to 2, 3\n$/);
    dp.flows.flush();
    put(0, "recirc(0),recirc(0),recirc(0),recirc(0),3");
    const { result } = JSON.parse(traceText(dp, packet, { json: true }));
    assert.ok(result[0].steps.length < 10_000, `${result[0].steps.length} steps`);
  }));

Deno.test("a trace that goes round in circles ends", () =>
  onFake((dp) => {
    dp.flows.put({ key: `recirc_id(0),in_port(1),eth(),${ip}`, actions: "recirc(0)" });
    assert.match(trace(dp, packet), /recirculated 8 times\nverdict: dropped\n$/);
  }));

Deno.test("packets in hexadecimal digits are traced from a port", () =>
  onFake((dp) => {
    const hex = "0200000000020200000000010806" + "0001080006040001".padEnd(56, "0");
    assert.equal(keyToTrace(dp, hex).key.inPort, 0);
    assert.equal(keyToTrace(dp, `in_port(p2) ${hex}`).key.inPort, 2);
    assert.equal(keyToTrace(dp, `in_port(3),${hex}`).length, 42);
    assert.throws(
      () => keyToTrace(dp, `in_port(nothere)${hex}`),
      /no port named nothere/,
    );
    assert.throws(() => keyToTrace(dp, "nonsense"), SyntaxError);
  }));

Deno.test("filters choose flows by fields, masks and words for protocols", () =>
  onFake((dp) => {
    dp.flows.put({ key: `recirc_id(0),in_port(1),eth(),${ip}`, actions: "2" });
    dp.flows.put({
      key: "recirc_id(0),in_port(2),eth(src=02:00:00:00:00:01),eth_type(0x86dd)," +
        "ipv6(src=fc00::/ffff::,proto=17,frag=no),udp(dst=53)",
      actions: "1",
    });
    const chosen = (text: string): (number | undefined)[] => {
      const filter = new FlowFilter(text, { ports: dp.ports.dump() });
      return [...dp.flows.dump()].filter((flow) => filter.matches(flow))
        .map(({ key }) => key?.inPort).sort();
    };
    assert.deepEqual(chosen(""), [1, 2]);
    assert.deepEqual(chosen("ip"), [1]);
    assert.deepEqual(chosen("in_port=p2"), [2]);
    assert.deepEqual(chosen("ip,nw_src=10.0.0.9"), [1]);
    assert.deepEqual(chosen("ip,nw_src=10.0.1.9"), []);
    assert.deepEqual(chosen("ip,nw_src=10.0.0.0/8"), [1]);
    assert.deepEqual(chosen("udp6,udp_dst=53"), [2]);
    assert.deepEqual(chosen("udp6,tp_dst=54"), []);
    assert.deepEqual(chosen("ipv6,ipv6_src=fc00::5"), [2]);
    assert.deepEqual(chosen("ipv6,dl_src=02:00:00:00:00:01"), [2]);
    assert.deepEqual(chosen("dl_vlan=5"), []);
    for (
      const [text, message] of [
        ["nosuchfield=1", /unknown field nosuchfield/],
        ["in_port", /missing value/],
        ["ip,nw_src=x", /invalid value for nw_src/],
        ["tp_src=1", /prerequisites not met for setting tp_src/],
        ["ip,nw_ttl=256", /value too large for 8-bit field nw_ttl/],
      ] as const
    ) assert.throws(() => chosen(text), message);
  }));

Deno.test("a trace puts headers in front of packets and takes them away", () =>
  onFake((dp) => {
    const push =
      "push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x12,si=255,c1=0x1,c2=0x0,c3=0x0,c4=0x0)";
    dp.flows.put({
      key: `recirc_id(0),in_port(1),eth(),${ip}`,
      actions:
        `pop_eth,push_eth(src=02:00:00:00:00:05,dst=02:00:00:00:00:06),push_mpls(label=7,tc=0,ttl=9,bos=1,eth_type=0x8847),${push},recirc(1),pop_nsh()`,
    });
    dp.flows.put({
      key:
        "recirc_id(1),in_port(1),packet_type(ns=1,id=0x894f),eth_type(0x894f),nsh(spi=0x12)",
      actions: "2",
    });
    const text = trace(dp, packet);
    assert.match(
      text,
      /pop_eth +the packet is now: .*packet_type\(ns=1,id=0x800\),eth_type\(0x0800\)/,
    );
    assert.match(
      text,
      /push_eth.* +the packet is now: .*eth\(src=02:00:00:00:00:05,dst=02:00:00:00:00:06\)/,
    );
    assert.match(
      text,
      /push_mpls.* +the packet is now: .*mpls\(label=7,tc=0,ttl=9,bos=1\)/,
    );
    assert.match(
      text,
      /pop_nsh\(\) +what is behind the service header only the packet tells/,
    );
    assert.match(text, /verdict: sent to 2\n$/);
  }));
