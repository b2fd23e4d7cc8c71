// SPDX-License-Identifier: Apache-2.0
/**
 * Policies beside Open vSwitch, with the same rules and the same packets: what a set-up costs, how
 * many flows packets need, what a changed rule and an idle table cost.
 *
 *     deno task bench:policy-peers [--packets N] [--flows N] [--seed N] [learning|rules|megaflows|rule|idle …]
 *
 * Open vSwitch is the machine's own `ovs-vswitchd`, with its userspace datapath on dummy ports.
 * Costs are CPU time, not time: who else uses the machine changes them little. Of Open vSwitch's
 * set-ups the cost of a hit, and of bringing the packet in, is taken off: the same packets are sent
 * again. Nothing is taken off ours.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type Policy, runPolicy } from "../../policy/mod.ts";
import { policy as learningSwitch } from "../../examples/switch.ts";
import { batches, cpuSeconds, Fed, ip, mac, say, withDatapath } from "./policy_feed.ts";
import { PeerSwitch, type Sent } from "./policy_peer.ts";
import {
  packet,
  packetsFor,
  type PeerRule,
  policyOf,
  rulesOf,
  upcallOf,
} from "./policy_rules.ts";
import { BenchError, helpIfAsked, numberOf, orComplain } from "./usage.ts";

interface Options {
  readonly packets: number;
  readonly flows: number;
  readonly seed: number;
}

/** Packets of stations that are new, to one that is known. */
const stationsOf = (from: number, count: number): Sent[] =>
  Array.from({ length: count }, (_, i) => packet(from + i, { src: mac(from + i) }));

/** Feeds a policy; CPU time of each packet that comes up, flows and masks. */
async function feed(
  policy: Policy,
  sent: readonly Sent[],
  warm: readonly Sent[] = [],
): Promise<{ us: number; flows: number; masks: number }> {
  let cost = 0;
  let flows = 0;
  let masks = 0;
  await withDatapath(async (dp) => {
    const fed = new Fed(dp);
    const run = await runPolicy(fed.dp, policy, {
      idleMs: 600_000,
      masks: 512, // Most that the datapath has.
      flows: { cpu: 100, max: 2_000_000 },
      audit: { perSecond: 0 },
    });
    await fed.handle(batches(warm.map(upcallOf)));
    let upcalls = 0;
    const chunk = 1024;
    for (let i = 0; i < sent.length; i += chunk) {
      // What a flow covers does not come up.
      const all = sent.slice(i, i + chunk).map(upcallOf);
      const found = dp.operate(all.map(({ raw: { key } }) => ({ op: "get", key })));
      const misses = batches(all.filter((_, at) => found[at]?.ok !== true));
      upcalls += misses.reduce((sum, { length }) => sum + length, 0);
      const before = cpuSeconds();
      await fed.handle(misses);
      cost += cpuSeconds() - before;
    }
    cost /= upcalls;
    ({ flows, masks } = run.stats);
    fed.end();
    await run.close();
  });
  return { us: cost * 1e6, flows, masks };
}

const names: Readonly<Record<string, string>> = {
  etherType: "dl_type",
  "ipv4.src": "nw_src",
  "ipv4.dst": "nw_dst",
  "ipv4.proto": "nw_proto",
  "tcp.src": "tp_src",
  "tcp.dst": "tp_dst",
};

const openFlow = ({ match, priority }: PeerRule): string =>
  [
    `priority=${priority}`,
    ...Object.entries(match).map(([leaf, value]) => `${names[leaf]}=${value}`),
    "actions=output:10",
  ].join(",");

const compare = (what: string, ours: number, theirs: number): void => {
  say(`${what}, policy`, "us of CPU", [ours]);
  say(`${what}, Open vSwitch`, "us of CPU", [theirs]);
  say(`${what}: Open vSwitch needs`, "x", [theirs / ours]);
};

const figures: Readonly<Record<string, (options: Options) => Promise<void>>> = {
  /** A learning switch, each packet of a new station. */
  learning: async ({ packets }) => {
    const warm = [packet(0, { src: mac(1), dst: mac(99) })];
    const sent = stationsOf(2, packets);
    const { us } = await feed(learningSwitch, sent, warm);
    await using peer = await PeerSwitch.start(["priority=1,actions=NORMAL"]);
    await peer.send(warm, 10);
    const theirs = await peer.costOfSetUps(sent);
    compare("a set-up of a learning switch", us, theirs);
  },

  /** 1,000 rules of five fields. */
  rules: async ({ packets, seed }) => {
    const rules = rulesOf(1000, seed);
    const sent = packetsFor(rules, packets, seed);
    const { us, flows, masks } = await feed(policyOf(rules), sent);
    await using peer = await PeerSwitch.start(rules.map(openFlow));
    const theirs = await peer.costOfSetUps(sent);
    console.log(
      `  ${flows} flows, ${masks} masks; ${await peer.flows()} flows in Open vSwitch`,
    );
    compare("a packet that comes up, through 1,000 rules", us, theirs);
  },

  /** Flows that the same packets need under the same rules, ten sets of them. */
  megaflows: async ({ packets, seed }) => {
    const ratios: number[] = [];
    for (let set = 0; set < 10; set++) {
      const rules = rulesOf([20, 50, 100, 200, 500][set % 5] as number, seed + set);
      const sent = packetsFor(rules, packets, seed + set);
      const { flows, masks } = await feed(policyOf(rules), sent);
      await using peer = await PeerSwitch.start(rules.map(openFlow));
      await peer.send(sent, 1);
      const theirs = await peer.flows();
      ratios.push(flows / theirs);
      console.log(
        `  ${rules.length} rules: ${flows} flows, ${masks} masks; Open vSwitch ${theirs} flows`,
      );
    }
    say("flows, of what Open vSwitch has", "x", ratios);
  },

  /** One rule of 10,000 that no packet matches is changed, ten times, with many flows. */
  rule: async ({ flows }) => {
    await using peer = await PeerSwitch.start(
      Array.from(
        { length: 10_000 },
        (_, i) =>
          `priority=10,tcp,nw_dst=${
            ip(0x0a000000 + (i << 8))
          }/24,actions=${PER_CONNECTION}`,
      ),
    );
    await peer.send(perConnection(flows), 1);
    const before = await peer.flows();
    await peer.revalidate();
    const cpu = peer.cpu();
    for (let round = 0; round < 10; round++) {
      await peer.ofctl(
        "add-flow",
        "br0",
        `priority=10,ip,nw_dst=11.0.${round}.0/24,actions=drop`,
      );
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
    console.log(`  ${await peer.dumps()}`);
    console.log(
      `  Open vSwitch: ${before} flows, ${await peer
        .flows()} after ten rules that no packet matches`,
    );
    say("ten such rules, Open vSwitch", "s of CPU", [peer.cpu() - cpu]);
    console.log("  what a policy does: deno task bench:policy rule");
  },

  /** What a table costs that nothing happens to. */
  idle: async ({ flows }) => {
    await using peer = await PeerSwitch.start([
      `priority=1,tcp,actions=${PER_CONNECTION}`,
    ]);
    await peer.send(perConnection(flows), 1);
    console.log(`  ${await peer.flows()} flows`);
    await peer.revalidate();
    const shares: number[] = [];
    for (let round = 0; round < 3; round++) {
      const [cpu, start] = [peer.cpu(), performance.now()];
      await new Promise((resolve) => setTimeout(resolve, 4000));
      shares.push((peer.cpu() - cpu) / (performance.now() - start) * 1e5);
    }
    say("an idle Open vSwitch with that many flows", "% of a core", shares);
    console.log("  what a policy takes: deno task bench:policy idle");
  },
};

/** Actions that look at address and port: each connection has a flow of its own. */
const PER_CONNECTION =
  "move:NXM_OF_TCP_SRC[]->NXM_NX_REG0[0..15],move:NXM_OF_IP_DST[]->NXM_NX_REG1[],output:10";

/** Packets each of which needs a flow of its own where the transport ports are looked at. */
const perConnection = (count: number): Sent[] =>
  Array.from(
    { length: count },
    (_, i) =>
      packet(i, {
        ipDst: ip(0x0a000000 + (i % 10_000 << 8) + 1 + Math.floor(i / 10_000)),
        srcPort: 1024 + i % 60_000,
      }),
  );

async function main(): Promise<void> {
  helpIfAsked(import.meta.url);
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: {
      packets: { type: "string", default: "20000" },
      flows: { type: "string", default: "100000" },
      seed: { type: "string", default: "1" },
    },
  });
  const options = {
    packets: numberOf("--packets", values.packets),
    flows: numberOf("--flows", values.flows, 1_000_000),
    seed: numberOf("--seed", values.seed),
  };
  for (const name of positionals.length > 0 ? positionals : Object.keys(figures)) {
    const figure = figures[name];
    if (figure === undefined) {
      throw new BenchError(
        `no figure ${name}: there are ${Object.keys(figures).join(", ")}`,
      );
    }
    await figure(options);
  }
}

if (import.meta.main) await orComplain(main);
