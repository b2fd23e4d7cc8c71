// SPDX-License-Identifier: Apache-2.0
/**
 * Meters beside Open vSwitch's: the same meter, list and frames into both; the same frames out of
 * both, the same counters, and the same text about it. Rates are so low that nothing depends on
 * time: a case that took long enough to be judged by the clock is done again.
 */
import assert from "node:assert/strict";
import { runVerb } from "../../control/verbs/verbs.ts";
import { noFlags } from "../../control/verbs/verb.ts";
import type { MeterConfig } from "../../providers/contract/meters.ts";
import { openableDatapaths } from "../../control/datapath_source.ts";
import { type Dummy, startDummy } from "../odp/ovs_dummy.ts";
import { udpFrame } from "../support/frames.ts";
import { collectAll, NetdevBench } from "../support/netdev.ts";
import { random } from "../support/random.ts";
import { figure } from "../support/figure.ts";
import { skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";

const SEED = 20261129;
const CASES = 120;
/** Meter 1 of OpenFlow is number 0 of Open vSwitch's datapath. */
const theirId = 0;
const ourId = 1;

/** Lists around a meter; M is its number. */
const lists: readonly string[] = [
  "meter(M),2",
  "meter(M),2",
  "2,meter(M),3",
  "meter(M)",
  "2,meter(M)",
  "push_vlan(vid=5,pcp=0),meter(M),2",
  "trunc(60),meter(M),2",
  "clone(meter(M),3),2",
  "sample(sample=100%,actions(meter(M),2)),3",
  "check_pkt_len(size=300,gt(meter(M),2),le(3))",
  "set(eth(dst=02:00:00:00:00:09)),meter(M),set(ipv4(ttl=3)),2",
];

/** One case. */
interface Case {
  readonly config: MeterConfig;
  readonly list: string;
  readonly sizes: readonly number[];
}

/**
 * Units that a drop must be away from being none, if nothing fills the buckets: half a second's at
 * the highest rate.
 */
const MARGIN = 1500;

/** Whether the clock would have to tell much time to make another outcome. */
function isClear({ config: { unit, bands }, list, sizes }: Case): boolean {
  const reached = list.startsWith("check") ? sizes.filter((size) => size > 300) : sizes;
  return unit === "pktps" || bands.every(({ burst = 0 }) => {
    let bucket = burst * 1000;
    return reached.every((size) => {
      const missing = size * 8 - bucket;
      if (missing <= 0) bucket -= size * 8;
      return missing <= 0 || missing > MARGIN;
    });
  });
}

/** What a datapath did with it. */
interface Done {
  readonly two: readonly string[];
  readonly three: readonly string[];
  readonly stats: string;
}

const lengths = [60, 64, 290, 400, 1000, 1400];

function* cases(): Generator<Case> {
  const below = random(SEED);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  for (let count = 0; count < CASES;) {
    const unit = below(3) === 0 ? "pktps" : "kbps";
    const bands = Array.from({ length: 1 + below(3) * below(3) }, () => ({
      rate: 1 + below(3),
      burst: 1 + below(unit === "kbps" ? 30 : 8),
    }));
    const sizes = Array.from({ length: 12 }, () => pick(lengths));
    const one: Case = { config: { unit, bands }, list: pick(lists), sizes };
    if (!isClear(one)) continue;
    count++;
    yield one;
  }
}

/** Frames as their first 34 bytes, their last and their length; all that lists change is there. */
const shown = (frames: readonly Uint8Array[]) =>
  frames.map((frame) =>
    `${frame.subarray(0, 34).toHex()}…${frame.subarray(-1).toHex()} ${frame.length}`
  );

/** A meter in the notation of ovs-ofctl. */
function text({ unit, bands }: MeterConfig): string {
  const list = bands.map(({ rate, burst }) =>
    `type=drop rate=${rate} burst_size=${burst}`
  );
  return `meter=${ourId} ${unit} burst stats bands=${list.join(" ")}`;
}

/** What only OpenFlow knows, taken from what ovs-ofctl prints. */
function withoutOpenFlow(printed: string): string {
  return printed.replace(/^OFPST.*\n/, "").replace(/ flow_count:\d+/, "")
    .replace(/ duration:\S+/, "").trimEnd();
}

const key = "in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)";

function frameOf(size: number): Uint8Array {
  return udpFrame({ payload: new Uint8Array(size - 42).fill(size & 0xff) });
}

async function theirs(dummy: Dummy, one: Case): Promise<Done> {
  await dummy.call("dpctl/del-flows", "dummy@ovs-dummy");
  const actions = one.list.replaceAll("M", `${theirId}`);
  await dummy.call("dpctl/add-flow", "dummy@ovs-dummy", key, actions);
  await dummy.ofctl("mod-meter", "br0", text(one.config));
  for (const size of one.sizes) {
    await dummy.call("netdev-dummy/receive", "p1", frameOf(size).toHex());
  }
  await until("all frames have met the flow", async () => {
    const dump = await dummy.call("dpctl/dump-flows", "dummy@ovs-dummy");
    return dump.includes(`packets:${one.sizes.length},`) || undefined;
  });
  return {
    two: shown(await dummy.sent(2)),
    three: shown(await dummy.sent(3)),
    stats: withoutOpenFlow(await dummy.ofctl("meter-stats", "br0")),
  };
}

/** What a verb of dpctl prints. */
async function verb(...words: string[]): Promise<string> {
  let printed = "";
  const wentWell = await runVerb(words, {
    program: "dpctl",
    isControl: false,
    flags: noFlags,
    datapaths: openableDatapaths(["netdev"]),
    output: { print: (text) => printed += text, complain: (text) => printed += text },
    readText: () => Promise.reject(new Error("no file is read")),
  });
  assert.ok(wentWell, printed);
  return printed;
}

async function ours(bench: NetdevBench, one: Case): Promise<Done> {
  const { dp } = bench;
  dp.flows.flush();
  dp.flows.put({ key, actions: one.list.replaceAll("M", `${ourId}`) });
  await verb("mod-meter", dp.fullName, text(one.config));
  // One by one: a list is done to a burst action by action, there as here.
  for (const size of one.sizes) {
    bench.inject(1, frameOf(size));
    await bench.settle();
  }
  return {
    two: shown(collectAll(dp, 2)),
    three: shown(collectAll(dp, 3)),
    stats: (await verb("meter-stats", dp.fullName)).trimEnd(),
  };
}

Deno.test(
  "meters drop and count what Open vSwitch's drop and count",
  skippable(async () => {
    await using dummy = await startDummy();
    await using bench = await NetdevBench.open();
    await bench.ports("p1", "p2", "p3");
    await dummy.call("upcall/set-flow-limit", "0");
    const first = text({ unit: "kbps", bands: [{ rate: 1, burst: 1 }] });
    await dummy.ofctl("add-meter", "br0", first);
    await verb("add-meter", bench.dp.fullName, first);
    const features = await dummy.ofctl("meter-features", "br0");
    assert.equal(
      (await verb("meter-features", bench.dp.fullName)).trimEnd(),
      withoutOpenFlow(features),
    );
    let dropped = 0;
    for (const one of cases()) {
      const compare = async (): Promise<true | undefined> => {
        const them = await theirs(dummy, one);
        const us = await ours(bench, one);
        if (JSON.stringify(them) === JSON.stringify(us)) {
          dropped += Number(/^0: packet_count:(\d+)/m.exec(us.stats)?.[1]);
          return true;
        }
        // A bucket got a packet's worth meanwhile: only a busy machine makes that happen, and not
        // again and again.
        differences = `${text(one.config)} ${one.list} ${one.sizes}\n` +
          `theirs ${JSON.stringify(them)}\nours   ${JSON.stringify(us)}`;
        return undefined;
      };
      let differences = "";
      let equal: true | undefined;
      for (let round = 0; round < 4 && !equal; round++) equal = await compare();
      assert.ok(equal, differences);
      assert.equal(
        (await verb("dump-meters", bench.dp.fullName)).trimEnd(),
        withoutOpenFlow(await dummy.ofctl("dump-meters", "br0")),
      );
    }
    figure(
      `${CASES} meters: ${dropped} of ${12 * CASES} packets dropped by a first band`,
    );
    assert.ok(dropped > CASES);
  }),
);
