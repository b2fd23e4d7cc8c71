// SPDX-License-Identifier: Apache-2.0
/** Connections: what is committed can be listed, forgotten and limited. */
import assert from "node:assert/strict";
import type { Connection } from "../../providers/contract/conntrack.ts";
import { connectionText } from "../../control/text/conntrack.ts";
import { DatapathError } from "../../providers/errors.ts";
import { tcpFrame, udpFrame } from "../support/frames.ts";
import type { Bench, Suite } from "./environment.ts";

export const there = { src: "10.1.1.1", dst: "10.1.1.2", srcPort: 1000, dstPort: 53 };
export const back = { src: "10.1.1.2", dst: "10.1.1.1", srcPort: 53, dstPort: 1000 };
const udp = 17;

/** Zones of this process that no other test uses: the kernel's connections are not a datapath's. */
let zones = 100 + Deno.pid % 1000 * 50;

/** Actions for packets of either port, then what becomes of both. */
export function track({ dp, ports: [a, b] }: Bench, from: string, answers: string): void {
  const match = "eth(),eth_type(0x0800),ipv4(frag=no)";
  dp.flows.put({
    key: `recirc_id(0),in_port(${a}),${match}`,
    actions: `${from},recirc(1)`,
  });
  dp.flows.put({
    key: `recirc_id(0),in_port(${b}),${match}`,
    actions: `${answers},recirc(1)`,
  });
  dp.flows.put({
    key: `ct_state(-new+est+rpl+trk),recirc_id(1),in_port(${b}),${match}`,
    actions: `${a}`,
  });
  dp.flows.put({
    key: `ct_state(+trk),recirc_id(1),in_port(${a}),${match}`,
    actions: `${b}`,
  });
}

/**
 * A zone of the test's own: 0, and then without a label, where this kernel knows no other zone.
 * Nothing is in it.
 */
export function freshZone(bench: Bench): number {
  const { dp, ports: [a] } = bench;
  const key = `recirc_id(0),in_port(${a}),eth(),eth_type(0x0800),ipv4(frag=no)`;
  const zone = zones++;
  try {
    dp.flows.put({ key, actions: `ct(commit,zone=${zone},label=0x1/0x1)` });
    dp.flows.delete({ key });
    return zone;
  } catch (error) {
    if (!(error instanceof DatapathError) || error.code !== "EINVAL") throw error;
    facet(bench)?.flush({ zone: 0 });
    return 0;
  }
}

/** Zone 0 is not said: a kernel without zones refuses that it is. */
export const inZone = (zone: number) => zone === 0 ? "" : `,zone=${zone}`;
export const ctIn = (zone: number) => zone === 0 ? "ct" : `ct(zone=${zone})`;

/** The facet, or nothing where a provider has none: then there is nothing to hold it to. */
export const facet = ({ dp }: Bench) => dp.conntrack;

const listed = (bench: Bench, zone: number): Connection[] => [
  ...facet(bench)?.dump({ zone }) ?? [],
];

/** Lets a frame in at the first port, and waits for what becomes of it. */
export async function arrive(
  { env, dp, ports: [a] }: Bench,
  frame: Uint8Array,
): Promise<void> {
  await env.inject(dp, a, frame);
  await env.settle(dp);
}

export const conntrackSuite: Suite = {
  "a committed connection is listed with tuples, mark and label": async (bench) => {
    const { env, dp, ports: [a, b] } = bench;
    if (facet(bench) === undefined) return;
    const zone = freshZone(bench);
    const label = zone === 0 ? "" : ",label=0x7/0xf";
    track(bench, `ct(commit${inZone(zone)},mark=0x12/0xff${label})`, ctIn(zone));
    await arrive(bench, udpFrame(there));
    assert.equal((await env.collect(dp, b)).length, 1);
    await env.inject(dp, b, udpFrame(back));
    assert.equal((await env.collect(dp, a)).length, 1, "the answer is established");
    const [connection, ...more] = listed(bench, zone);
    assert.ok(connection);
    assert.equal(more.length, 0);
    assert.equal(
      connectionText(connection, {}),
      "udp,orig=(src=10.1.1.1,dst=10.1.1.2,sport=1000,dport=53)," +
        "reply=(src=10.1.1.2,dst=10.1.1.1,sport=53,dport=1000)," +
        (zone === 0 ? "mark=18" : `zone=${zone},mark=18,labels=0x7`),
    );
    assert.ok((connection.timeout ?? 0) > 0);
    facet(bench)?.flush({ zone });
    assert.deepEqual(listed(bench, zone), []);
  },

  "a translated connection is listed with the tuple of its answers": async (bench) => {
    const { env, dp, ports: [, b] } = bench;
    if (facet(bench) === undefined) return;
    const zone = freshZone(bench);
    track(
      bench,
      `ct(commit${inZone(zone)},nat(src=10.9.9.9:7000))`,
      `ct(nat${inZone(zone)})`,
    );
    await arrive(bench, tcpFrame({ ...there, flags: 2 }));
    assert.equal((await env.collect(dp, b)).length, 1);
    const [connection] = listed(bench, zone);
    assert.deepEqual(
      connection?.reply,
      { src: "10.1.1.2", dst: "10.9.9.9", proto: 6, srcPort: 53, dstPort: 7000 },
    );
    assert.equal(connection?.tcp?.orig, "SYN_SENT");
    facet(bench)?.flush({ zone });
  },

  "a flush forgets a zone, or one connection by its tuple": async (bench) => {
    const conntrack = facet(bench);
    if (conntrack === undefined) return;
    const zone = freshZone(bench);
    const other = zone === 0 ? undefined : zones++;
    const twice = other === undefined ? "" : `,ct(commit,zone=${other})`;
    track(bench, `ct(commit${inZone(zone)})${twice}`, "ct");
    await arrive(bench, udpFrame(there));
    await arrive(bench, udpFrame({ ...there, srcPort: 1001 }));
    assert.equal(listed(bench, zone).length, 2);
    conntrack.flush({ zone, tuple: { ...there, proto: udp } });
    assert.deepEqual(listed(bench, zone).map(({ orig }) => orig.srcPort), [1001]);
    assert.throws(
      () => conntrack.flush({ zone, tuple: { ...there, proto: udp } }),
      { code: "ENOENT" },
    );
    conntrack.flush({ zone });
    assert.equal(listed(bench, zone).length, 0);
    if (other === undefined) return;
    assert.equal(listed(bench, other).length, 2, "of another zone");
    conntrack.flush({ zone: other });
    assert.equal(listed(bench, other).length, 0);
  },

  "a flush forgets what fits a mark, a label, or parts of tuples": async (bench) => {
    const conntrack = facet(bench);
    if (conntrack === undefined) return;
    const zone = freshZone(bench);
    const commit = async (port: number, mark: number, label: number) => {
      bench.dp.flows.flush();
      const labels = zone === 0 ? "" : `,label=0x${label.toString(16)}/0xff`;
      track(bench, `ct(commit${inZone(zone)},mark=${mark}/0xff${labels})`, "ct");
      await arrive(bench, udpFrame({ ...there, srcPort: port }));
    };
    const ports = () =>
      listed(bench, zone).map(({ orig }) => orig.srcPort ?? 0).sort((a, b) => a - b);
    const again = async () => {
      conntrack.flush({ zone });
      await commit(1001, 0x11, 0x81);
      await commit(1002, 0x12, 0x82);
      await commit(1003, 0x23, 0x43);
      assert.deepEqual(ports(), [1001, 1002, 1003]);
    };
    await again();
    conntrack.flush({ zone, mark: { value: 0x12 } });
    assert.deepEqual(ports(), [1001, 1003]);
    conntrack.flush({ zone, mark: { value: 0x10, mask: 0xf0 } });
    assert.deepEqual(ports(), [1003]);
    conntrack.flush({ zone, mark: { value: 1 } });
    assert.deepEqual(ports(), [1003], "none that fits is no error");
    await again();
    if (zone !== 0) {
      conntrack.flush({ zone, labels: { value: 0x43n } });
      assert.deepEqual(ports(), [1001, 1002]);
      conntrack.flush({ zone, labels: { value: 0x80n, mask: 0xf0n } });
      assert.deepEqual(ports(), []);
      await again();
    }
    conntrack.flush({ zone, orig: { srcPort: 1002 } });
    assert.deepEqual(ports(), [1001, 1003]);
    conntrack.flush({ zone, reply: { dstPort: 1003, proto: 6 } });
    assert.deepEqual(ports(), [1001, 1003], "of another protocol");
    conntrack.flush({ zone, reply: { dstPort: 1003 }, mark: { value: 0x11 } });
    assert.deepEqual(ports(), [1001, 1003], "all that is said counts");
    conntrack.flush({ zone, reply: { dstPort: 1003, src: "10.1.1.2" } });
    assert.deepEqual(ports(), [1001]);
    conntrack.flush({ zone, orig: { dst: "10.1.1.9" } });
    assert.deepEqual(ports(), [1001]);
    conntrack.flush({ zone, orig: { dst: "10.1.1.2" } });
    assert.deepEqual(ports(), []);
    const tuple = { ...there, proto: udp };
    assert.throws(() => conntrack.flush({ tuple, mark: { value: 1 } }), TypeError);
    assert.throws(() => conntrack.flush({ mark: { value: -1 } }), RangeError);
    assert.throws(() => conntrack.flush({ labels: { value: 1n << 128n } }), RangeError);
    assert.throws(() => conntrack.flush({ orig: { srcPort: 65536 } }), RangeError);
  },

  "connections are told a part at a time, while other work goes on": async (bench) => {
    const conntrack = facet(bench);
    if (conntrack === undefined) return;
    const zone = freshZone(bench);
    track(bench, `ct(commit${inZone(zone)})`, "ct");
    const count = 300;
    for (let i = 0; i < count; i++) {
      await bench.env.inject(
        bench.dp,
        bench.ports[0],
        udpFrame({ ...there, srcPort: 2000 + i }),
      );
      if (i % 50 === 49) await bench.env.settle(bench.dp);
    }
    let turns = 0;
    const timer = setInterval(() => turns++);
    const ports = new Set<number>();
    for await (const { orig } of conntrack.connections({ zone })) {
      ports.add(orig.srcPort ?? 0);
    }
    clearInterval(timer);
    assert.equal(ports.size, listed(bench, zone).length);
    assert.equal(ports.size, count);
    assert.ok(turns > 0, "a timer had its turn");
    // A loop that is left early leaves nothing open.
    for await (const _ of conntrack.connections({ zone })) break;
    conntrack.flush({ zone });
  },

  "limits of zones are set, read, and forgotten": (bench) => {
    const limits = facet(bench)?.limits;
    if (limits === undefined) return;
    const zone = zones++;
    limits.set([{ zone, limit: 5 }]);
    assert.deepEqual(limits.get([zone]), [{ zone, limit: 5, count: 0 }]);
    assert.ok(limits.get().some((limit) => limit.zone === zone && limit.limit === 5));
    limits.set([{ zone, limit: 7 }]);
    assert.deepEqual(limits.get([zone]), [{ zone, limit: 7, count: 0 }]);
    limits.delete([zone]);
    assert.ok(!limits.get().some((limit) => limit.zone === zone));
    assert.throws(() => limits.set([{ zone: 65536, limit: 1 }]), RangeError);
  },

  "timeout policies are set, read, and forgotten": (bench) => {
    const policies = facet(bench)?.timeoutPolicies;
    if (policies === undefined) return;
    const id = zones++;
    policies.set({ id, timeouts: { udpSingle: 3, tcpEstablished: 100 } });
    const { timeouts } = policies.get(id);
    assert.deepEqual([timeouts.udpSingle, timeouts.tcpEstablished], [3, 100]);
    policies.delete(id);
    assert.throws(() => policies.get(id), { code: "ENOENT" });
  },

  "settings that a datapath has can be written and read": (bench) => {
    const conntrack = facet(bench);
    const { maxConnections, tcpSequenceCheck, sweepInterval } = conntrack ?? {};
    if (maxConnections) {
      maxConnections.set(1000);
      assert.equal(maxConnections.get(), 1000);
      assert.throws(() => maxConnections.set(-1), RangeError);
    }
    if (tcpSequenceCheck) {
      assert.equal(tcpSequenceCheck.get(), true);
      tcpSequenceCheck.set(false);
      assert.equal(tcpSequenceCheck.get(), false);
      // A word is none: "false" would switch it on.
      const word = "false" as unknown as boolean;
      assert.throws(() => tcpSequenceCheck.set(word), TypeError);
      assert.equal(tcpSequenceCheck.get(), false);
    }
    if (sweepInterval) {
      sweepInterval.set(500);
      assert.equal(sweepInterval.get(), 500);
    }
  },
};
