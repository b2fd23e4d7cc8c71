// SPDX-License-Identifier: Apache-2.0
/** What becomes of connections is told, and what helpers expect can be listed. */
import assert from "node:assert/strict";
import type {
  ConnectionChange,
  ConntrackEvent,
  ConntrackEventOptions,
  ConntrackFacet,
} from "../../providers/contract/conntrack.ts";
import { expectationText } from "../../control/text/conntrack.ts";
import { DatapathError } from "../../providers/errors.ts";
import { ctZone } from "../../providers/ids.ts";
import { ct, recirc } from "../../providers/odp/constructors.ts";
import { tcpFrame, udpFrame } from "../support/frames.ts";
import { patience } from "../support/wait.ts";
import {
  arrive,
  back,
  ctIn,
  facet,
  freshZone,
  inZone,
  there,
  track,
} from "./conntrack.ts";
import type { Bench, Suite } from "./environment.ts";

type Stream = ReturnType<ConntrackFacet["events"]>;

/** What a stream says next; rejects when that takes too long. */
function within<T>(promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const signal = patience();
  signal.addEventListener("abort", () => reject(signal.reason));
  return Promise.race([promise, late]);
}

/**
 * Of one source port, as other tests may leave connections of their own in a kernel's only zone.
 */
async function nextOf(stream: Stream, port: number): Promise<ConntrackEvent> {
  for (;;) {
    const { value } = await within(stream.next());
    assert.ok(value !== undefined, "the stream has ended");
    if (value.kind === "lost" || value.connection.orig.srcPort === port) return value;
  }
}

function connectionOf(event: ConntrackEvent) {
  assert.ok(event.kind !== "lost");
  return event.connection;
}

/** Bits of IPCT_*. */
const report = { new: 0x1, destroy: 0x4, reply: 0x8, mark: 0x80 } as const;

async function answer(
  { env, dp, ports: [, b] }: Bench,
  frame: Uint8Array,
): Promise<void> {
  await env.inject(dp, b, frame);
  await env.settle(dp);
}

/** Kinds that are told of one connection until it is destroyed. */
async function kindsUntilEnd(stream: Stream, port: number): Promise<string[]> {
  const kinds: string[] = [];
  do kinds.push((await nextOf(stream, port)).kind); while (kinds.at(-1) !== "destroy");
  return kinds;
}

export const conntrackEventSuite: Suite = {
  "what becomes of a connection is told": async (bench) => {
    const conntrack = facet(bench);
    if (conntrack === undefined) return;
    const zone = freshZone(bench);
    track(bench, `ct(commit${inZone(zone)},mark=0x12)`, ctIn(zone));
    await using stream = conntrack.events({ zone });
    const ports = { srcPort: 1071, dstPort: 53 };
    await arrive(bench, udpFrame({ ...there, ...ports }));
    const first = await nextOf(stream, 1071);
    assert.equal(first.kind, "new");
    const { orig, reply, mark, timeout } = connectionOf(first);
    assert.deepEqual(orig, { src: there.src, dst: there.dst, proto: 17, ...ports });
    assert.deepEqual([reply.dstPort, mark], [1071, 0x12]);
    assert.ok((timeout ?? 0) > 0);
    await answer(bench, udpFrame({ ...back, dstPort: 1071 }));
    assert.equal((await nextOf(stream, 1071)).kind, "update", "the first answer");
    conntrack.flush({ zone });
    for (let event = await nextOf(stream, 1071); event.kind !== "destroy";) {
      assert.equal(event.kind, "update");
      event = await nextOf(stream, 1071);
    }
  },

  "states of TCP are told as they change": async (bench) => {
    const conntrack = facet(bench);
    if (conntrack === undefined) return;
    const zone = freshZone(bench);
    track(bench, `ct(commit${inZone(zone)})`, ctIn(zone));
    await using stream = conntrack.events({ zone });
    await arrive(bench, tcpFrame({ ...there, srcPort: 1072, flags: 2 }));
    const first = await nextOf(stream, 1072);
    assert.deepEqual([first.kind, connectionOf(first).tcp?.orig], ["new", "SYN_SENT"]);
    await answer(bench, tcpFrame({ ...back, dstPort: 1072, flags: 0x12 }));
    const second = await nextOf(stream, 1072);
    assert.equal(second.kind, "update");
    assert.notEqual(connectionOf(second).tcp?.reply, "CLOSED");
    conntrack.flush({ zone });
  },

  "a stream has the kinds and the zone that it was asked for": async (bench) => {
    const conntrack = facet(bench);
    if (conntrack === undefined) return;
    const zone = freshZone(bench);
    track(bench, `ct(commit${inZone(zone)})`, ctIn(zone));
    const streamOf = (options: ConntrackEventOptions) => conntrack.events(options);
    await using ends = streamOf({ zone, kinds: ["destroy"] });
    await using others = streamOf({ zone: zone + 1, kinds: ["new"] });
    await using all = streamOf({});
    await arrive(bench, udpFrame({ ...there, srcPort: 1073 }));
    await answer(bench, udpFrame({ ...back, dstPort: 1073 }));
    conntrack.flush({ zone });
    assert.equal((await nextOf(ends, 1073)).kind, "destroy");
    const kinds = await kindsUntilEnd(all, 1073);
    assert.deepEqual(new Set(kinds), new Set(["new", "update", "destroy"]));
    assert.deepEqual([kinds[0], kinds.at(-1)], ["new", "destroy"]);
    const none = others.next();
    await others.return?.();
    assert.deepEqual(await none, { done: true, value: undefined });
    assert.throws(() => streamOf({ zone: 65536 }), RangeError);
    assert.throws(
      () => streamOf({ kinds: ["old" as ConnectionChange] }),
      TypeError,
    );
    assert.throws(() => streamOf({ signal: 1 as unknown as AbortSignal }), TypeError);
  },

  "the mask of events says what is told": async (bench) => {
    const conntrack = facet(bench);
    if (conntrack === undefined) return;
    const zone = freshZone(bench);
    const told = async (mask: number, port: number): Promise<string[]> => {
      bench.dp.flows.flush();
      await using stream = conntrack.events({ zone });
      track(bench, "ct", ctIn(zone));
      const { dp, ports: [a] } = bench;
      // Text has no word for a mask.
      dp.flows.put({
        key: `recirc_id(0),in_port(${a}),eth(),eth_type(0x0800),ipv4(frag=no)`,
        actions: [
          ct({ commit: true, eventMask: mask, ...zone !== 0 && { zone: ctZone(zone) } }),
          recirc(1 as never),
        ],
        modify: true,
      });
      await arrive(bench, udpFrame({ ...there, srcPort: port }));
      await answer(bench, udpFrame({ ...back, dstPort: port }));
      conntrack.flush({ zone });
      // One that all is told of says when that is.
      bench.dp.flows.flush();
      track(bench, `ct(commit${inZone(zone)})`, ctIn(zone));
      await arrive(bench, udpFrame({ ...there, srcPort: 1099 }));
      conntrack.flush({ zone });
      const kinds: string[] = [];
      for (;;) {
        const { value } = await within(stream.next());
        assert.ok(value !== undefined && value.kind !== "lost");
        const { orig } = value.connection;
        if (orig.srcPort === port) kinds.push(value.kind);
        if (orig.srcPort === 1099 && value.kind === "destroy") return kinds;
      }
    };
    assert.deepEqual(await told(report.new | report.destroy, 1074), ["new", "destroy"]);
    assert.deepEqual(await told(report.destroy, 1075), ["destroy"]);
    assert.deepEqual(await told(report.reply, 1076), ["update"]);
    assert.deepEqual(await told(report.mark, 1077), []);
  },

  "streams of events end with their datapath": async (bench) => {
    const conntrack = facet(bench);
    if (conntrack === undefined) return;
    const stream = conntrack.events();
    const waiting = stream.next();
    await bench.dp.destroy();
    assert.deepEqual(await waiting, { done: true, value: undefined });
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
  },

  "what a helper expects is listed": async (bench) => {
    const conntrack = facet(bench);
    if (conntrack?.expectations === undefined) return;
    const zone = freshZone(bench);
    try {
      track(bench, `ct(commit${inZone(zone)},helper=tftp)`, ctIn(zone));
    } catch (error) {
      // A kernel without this helper.
      if (!(error instanceof DatapathError) || bench.dp.type !== "system") throw error;
      return;
    }
    const list = () => [...conntrack.expectations?.({ zone }) ?? []];
    assert.deepEqual(list(), []);
    const payload = new TextEncoder().encode("\0\x01file\0octet\0");
    await arrive(bench, udpFrame({ ...there, srcPort: 1078, dstPort: 69, payload }));
    const [expected, ...more] = list();
    assert.ok(expected !== undefined);
    assert.deepEqual(more, []);
    assert.equal(
      expectationText(expected),
      `udp,orig=(src=10.1.1.2,dst=10.1.1.1,sport=0,dport=1078)` +
        (zone === 0 ? "" : `,zone=${zone}`) +
        ",parent=(src=10.1.1.1,dst=10.1.1.2,sport=1078,dport=69)",
    );
    assert.ok((expected.timeout ?? 0) > 0);
    assert.deepEqual([...conntrack.expectations({ zone: zone + 1 })], []);
    conntrack.flush({ zone });
    assert.deepEqual(list(), []);
  },
};
