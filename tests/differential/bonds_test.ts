// SPDX-License-Identifier: Apache-2.0
/**
 * Bonds beside a running ovs-vswitchd: its bond of two members, which LACP has brought up, balances
 * TCP by `lb_output`. Its table of buckets goes into ours; then the same frames leave by the same
 * members here and there, and their buckets have counted the bytes of these.
 */
import assert from "node:assert/strict";
import type { PortNo } from "../../providers/ids.ts";
import { build, ethernet, ipv4, payload, tcp, udp } from "../../frames/mod.ts";
import { startDummy } from "../odp/ovs_dummy.ts";
import { figure } from "../support/figure.ts";
import { collectAll, NetdevBench } from "../support/netdev.ts";
import { random } from "../support/random.ts";
import { skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";

const SEED = 20261130;
const FRAMES = 400;
/** Who sends, and who receives: a bridge forwards nothing between addresses of zeros. */
const STATIONS = { src: "02:00:00:00:00:07", dst: "02:00:00:00:00:99" } as const;
/** Where the frames come in. */
const CLIENT = 7;
const BUCKETS = 256;
/**
 * Frames of a call that brings load: as many as a dummy port of Open vSwitch takes at once, nearly.
 */
const CALL_FRAMES = 64;

/** Ports that are members. */
const sides: readonly PortNo[] = [21, 22];

/**
 * The bond of these ports: `bond-id 2:` and its lines `bucket 0 - member 21`. The other end is a
 * bond as well.
 */
function readBond(text: string): { id: number; members: PortNo[] } | undefined {
  for (const section of text.split(/^ *bond-id /m).slice(1)) {
    const members: PortNo[] = [];
    for (const [, bucket, member] of section.matchAll(/bucket (\d+) - member (\d+)/g)) {
      members[Number(bucket)] = Number(member);
    }
    if (members.length !== BUCKETS || !members.every((no) => sides.includes(no))) {
      continue;
    }
    return { id: Number.parseInt(section), members };
  }
  return undefined;
}

Deno.test(
  "a bond of a running Open vSwitch sends each frame by the member that ours sends it by, and its buckets count it",
  skippable(async () => {
    await using dummy = await startDummy({ bond: true });
    const show = async () => readBond(await dummy.call("dpif-netdev/bond-show"));
    await dummy.ofctl("add-flow", "br0", "actions=normal");
    const below = random(SEED);
    const makeFrame = () => {
      const ports = { src: 1 + below(65535), dst: 1 + below(65535) };
      const addresses = { src: `10.0.${below(256)}.${1 + below(254)}`, dst: "10.1.0.1" };
      const layer4 = below(2) === 0 ? tcp(ports) : udp(ports);
      const rest = payload(new Uint8Array(20 + below(400)));
      return build([ethernet(STATIONS), ipv4(addresses), layer4, rest]);
    };
    // Flows stay as they are made, so that none may be before the bond carries traffic.
    await until("LACP to agree on both members", async () => {
      const text = await dummy.call("bond/show", "bond0");
      return text.match(/^member \S+: enabled$/gm)?.length === sides.length;
    }, { limitMs: 120_000 });
    // Both members have buckets at once, or the first that is up has all until traffic is balanced.
    // Open vSwitch looks whether to do that when its revalidators have listed the flows, at most
    // once a second, and moves buckets only if a member has 100,000 bytes more than the other: they
    // run, and a call brings many frames.
    const large = () =>
      build([
        ethernet(STATIONS),
        ipv4({ src: `10.0.${below(256)}.1`, dst: "10.1.0.1" }),
        udp({ src: 1 + below(65535), dst: 7 }),
        payload(new Uint8Array(1400)),
      ]).toHex();
    const load = Array.from({ length: CALL_FRAMES }, large);
    let calls = 0;
    await dummy.call("revalidator/resume");
    await until("both members to have buckets", async () => {
      await dummy.call("netdev-dummy/receive", `p${CLIENT}`, ...load);
      calls++;
      return new Set((await show())?.members).size === sides.length;
    }, {
      limitMs: 120_000,
      state: async () =>
        `${calls} calls of ${CALL_FRAMES} frames\n${await dummy.call(
          "bond/show",
          "bond0",
        )}`,
    });
    await dummy.vsctl("set", "Port", "bond0", "other-config:bond-rebalance-interval=0");
    await dummy.call("revalidator/pause");
    const shown = await show();
    assert.ok(shown !== undefined);
    const { id, members } = shown;
    for (const side of sides) await dummy.sent(side);
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    for (const no of [CLIENT, ...sides]) {
      await dp.ports.add({ name: `p${no}`, type: "dummy", no, options: { queue: 1024 } });
    }
    dp.bonds?.add(id, members);
    dp.flows.put({
      key: `in_port(${CLIENT}),eth(),eth_type(0x0800),ipv4()`,
      actions: `lb_output(${id})`,
    });
    const frames = Array.from({ length: FRAMES }, makeFrame);
    const theirs = new Map(sides.map((side) => [side, [] as string[]]));
    for (const frame of frames) {
      await dummy.call("netdev-dummy/receive", `p${CLIENT}`, frame.toHex());
    }
    const wanted = new Set(frames.map((frame) => frame.toHex()));
    const take = async (): Promise<number> => {
      let count = 0;
      for (const [side, list] of theirs) {
        const sent = (await dummy.sent(side)).map((frame) => frame.toHex());
        list.push(...sent.filter((frame) => wanted.has(frame)));
        count += list.length;
      }
      return count;
    };
    await until("all frames on the members", async () => await take() >= FRAMES, {
      state: () => [...theirs].map(([side, list]) => `${side}: ${list.length}`).join(),
    });

    await bench.injectAll(CLIENT as PortNo, frames);
    await bench.settle();
    for (const [side, list] of theirs) {
      const ours = collectAll(dp, side).map((frame) => frame.toHex());
      assert.deepEqual(ours.sort(), list.sort(), `member ${side}`);
      assert.ok(ours.length > FRAMES / 4, `member ${side} has ${ours.length}`);
    }
    const flows = await dummy.call("dpctl/dump-flows", "dummy@ovs-dummy");
    assert.match(flows, new RegExp(`lb_output\\(${id}\\)`), "they go by way of the bond");
    const bytes = dp.bonds?.stats(id) ?? [];
    const used = bytes.filter((count) => count > 0n).length;
    for (const side of sides) {
      const sum = bytes.reduce(
        (all, count, i) => members[i] === side ? all + count : all,
        0n,
      );
      const sent = (theirs.get(side) ?? []).reduce(
        (all, frame) => all + frame.length / 2,
        0,
      );
      assert.equal(sum, BigInt(sent), `bytes of buckets of member ${side}`);
    }
    assert.equal(
      bytes.reduce((sum, count) => sum + count, 0n),
      BigInt(frames.reduce((sum, frame) => sum + frame.length, 0)),
    );
    figure(
      `bonds: ${FRAMES} frames over ${used} buckets, members ${sides.join(" and ")}`,
    );
  }),
);
