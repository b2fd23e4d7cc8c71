// SPDX-License-Identifier: Apache-2.0
/**
 * The OpenFlow switch beside Open vSwitch, with the same flows and the same packets: what flow
 * mods, set-ups and changed flows cost.
 *
 *     deno task bench:openflow [--flows N] [--packets N] [mods|miss|tables|rule|echo …]
 *
 * mods: a bundle of 100,000 flow mods. miss: set-ups in a table of 100,000 flows of 16 masks.
 * tables: set-ups through 20 tables. rule: one flow of 10,000 changes under 100,000 flows of the
 * datapath. echo: what a controller waits for its echo while another one commits bundles of 100,000
 * flow mods and removes what they added.
 *
 * Open vSwitch is the machine's own `ovs-vswitchd`, with its userspace datapath on dummy ports.
 * Costs are CPU time, not time, where nothing else is said: who else uses the machine changes them
 * little. Of Open vSwitch's set-ups the cost of a hit, and of bringing the packet in, is taken off:
 * the same packets are sent again. Nothing is taken off ours. Both have set up half of the packets
 * before, and committed four bundles: code that is compiled while it runs takes that long to be as
 * fast as it stays, which is told beside. What is left is told in three parts, with their spread.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type OpenFlowSwitch, openSwitch } from "../../openflow/open.ts";
import { until } from "../support/wait.ts";
import { bundleOf, Client } from "./openflow_client.ts";
import { EchoProbe } from "./openflow_echo.ts";
import {
  batches,
  cpuSeconds,
  cpuSecondsOf,
  Fed,
  ip,
  say,
  withDatapath,
} from "./policy_feed.ts";
import { PeerSwitch, type Sent } from "./policy_peer.ts";
import { packet, upcallOf } from "./policy_rules.ts";
import { BenchError, helpIfAsked, numberOf, orComplain } from "./usage.ts";

interface Options {
  readonly flows: number;
  readonly packets: number;
}

const ROUNDS = 3;
/** Bundles that are committed before any is measured. */
const WARM = 4;
const OUT = "output:2";
/** What the policy runtime must not be short of. */
const PLENTY = {
  idleMs: 600_000,
  masks: 512,
  flows: { cpu: 100, max: 2_000_000 },
  audit: { perSecond: 0 },
} as const;

/** Flows of 16 masks, each about addresses of its own. */
function flowsOf(count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const mask = i & 15;
    const parts = ["tcp", `nw_dst=${ip(0x0a000000 + i)}`];
    if (mask & 1) parts.push(`tp_dst=${80 + (i >> 4) % 7}`);
    if (mask & 2) parts.push("in_port=1");
    if (mask & 4) parts.push(`nw_src=${ip(0x0b000000 + (i << 8))}/24`);
    if (mask & 8) parts.push("dl_vlan=9");
    return `priority=${100 + mask},${parts.join(",")},actions=${OUT}`;
  });
}

/** A switch as a process of its own, which listens. */
async function withProgram(
  use: (path: string, cpu: () => number) => Promise<void>,
): Promise<void> {
  const path = await Deno.makeTempFile({ prefix: "upcall-of-" });
  await Deno.remove(path);
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", new URL("../../switchd.ts", import.meta.url).pathname],
      ...["--bridge", `mods${Deno.pid}`, "--listen", `punix:${path}`],
    ],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const listens = (): Promise<unknown> => Deno.stat(path).catch(() => undefined);
    // The first time its library is compiled.
    await until("the switch to listen", listens, { limitMs: 240_000 });
    await use(path, () => cpuSecondsOf(child.pid));
  } finally {
    child.kill("SIGTERM");
    await child.status;
  }
}

/**
 * Commits bundles of the same flows to a switch that has none of them, and to one that has them
 * all.
 */
async function commit(
  path: string,
  bundle: Uint8Array,
  count: number,
  cpu: () => number,
): Promise<{ readonly us: number[]; readonly perSecond: number[] }> {
  using client = await Client.to(path);
  const [us, perSecond]: [number[], number[]] = [[], []];
  for (let round = 0; round < WARM + 2 * ROUNDS; round++) {
    if (round % 2 === 0) await client.clear();
    const [start, startCpu] = [performance.now(), cpu()];
    await client.commit(bundle);
    if (round < WARM) continue;
    us.push((cpu() - startCpu) / count * 1e6);
    perSecond.push(count / (performance.now() - start) * 1e3);
  }
  return { us, perSecond };
}

/** Runs a switch on a datapath that is fed by hand. */
async function withSwitch(
  flows: readonly string[],
  use: (
    of: OpenFlowSwitch,
    feed: (sent: readonly Sent[]) => Promise<number>,
  ) => Promise<void>,
): Promise<void> {
  await withDatapath(async (dp) => {
    const fed = new Fed(dp);
    const of = await openSwitch(fed.dp, PLENTY);
    try {
      for (const flow of flows) of.flowMod(flow);
      await use(of, (sent) => fed.handle(batches(sent.map(upcallOf))));
    } finally {
      fed.end();
      await of.close();
    }
  });
}

/** Compares set-ups: each packet needs a flow of its own. */
async function setUps(
  what: string,
  flows: readonly string[],
  sent: readonly Sent[],
): Promise<void> {
  const warm = sent.length >> 1;
  const size = (sent.length - warm) / ROUNDS | 0;
  const parts = Array.from(
    { length: ROUNDS },
    (_, i) => sent.slice(warm + i * size, warm + (i + 1) * size),
  );
  const [ours, theirs]: [number[], number[]] = [[], []];
  await withSwitch(flows, async (of, feed) => {
    const cold = await feed(sent.slice(0, warm));
    say(`${what}, ours before that`, "us of CPU", [cold / of.run.stats.flows * 1e6]);
    for (const part of parts) {
      const before = of.run.stats.flows;
      const cost = await feed(part);
      ours.push(cost / (of.run.stats.flows - before) * 1e6);
    }
  });
  await using peer = await PeerSwitch.start(
    flows.map((flow) => flow.replace(OUT, "output:10")),
  );
  await peer.send(sent.slice(0, warm), 1);
  for (const part of parts) theirs.push(await peer.costOfSetUps(part));
  say(`${what}, ours`, "us of CPU", ours);
  say(`${what}, Open vSwitch`, "us of CPU", theirs);
  const ratios = theirs.map((one, i) => one / (ours[i] as number));
  say(`${what}: Open vSwitch needs`, "x", ratios);
}

/** Packets that differ in their destination, from the `from`-th on. */
const toEach = (count: number, from = 0): Sent[] =>
  Array.from(
    { length: count },
    (_, i) => packet(i, { ipDst: ip(0x0a000000 + from + i), srcPort: 1024 + i % PORTS }),
  );

/** Ports that packets come from: a number that has no factor in common with others here. */
const PORTS = 64_511;
/** Actions that look at port and address: each connection has a flow of its own. */
const PER_CONNECTION = "move:NXM_OF_TCP_SRC[]->NXM_NX_REG0[0..15]," +
  "move:NXM_OF_IP_DST[0..15]->NXM_NX_REG1[0..15]";

const figures: Readonly<Record<string, (options: Options) => Promise<void>>> = {
  mods: async ({ flows: count }) => {
    const bundle = bundleOf(flowsOf(count));
    const tell = (who: string, made: Awaited<ReturnType<typeof commit>>): void => {
      say(`flow mods in a bundle, ${who}`, "a second by the clock", made.perSecond);
      say(`a flow mod in a bundle, ${who}`, "us of CPU", made.us);
    };
    await withProgram(async (path, cpu) =>
      tell("ours", await commit(path, bundle, count, cpu))
    );
    await using peer = await PeerSwitch.start([]);
    const { socket } = peer;
    tell(
      "Open vSwitch",
      await commit(socket, bundle, count, () => cpuSecondsOf(peer.pid)),
    );
  },

  miss: async ({ flows: count, packets }) => {
    const flows = [...flowsOf(count), `priority=1,tcp,actions=${PER_CONNECTION},${OUT}`];
    await setUps(
      `a set-up in ${count} flows`,
      flows,
      toEach(packets, Math.max(0, count - packets)),
    );
  },

  tables: async ({ packets }) => {
    const flows: string[] = [];
    for (let table = 0; table < 20; table++) {
      const next = table === 19 ? OUT : `goto_table:${table + 1}`;
      const about =
        ["in_port=1", "tcp,tp_dst=80", "ip,nw_dst=10.0.0.0/8", "tcp"][table % 4];
      for (let i = 0; i < 8; i++) {
        flows.push(`table=${table},priority=9,ip,nw_src=10.9.${i}.${table},actions=drop`);
      }
      const learns = table === 19 ? `${PER_CONNECTION},` : "";
      flows.push(`table=${table},priority=5,${about},actions=${learns}${next}`);
    }
    await setUps("a set-up through 20 tables", flows, toEach(packets));
  },

  echo: async ({ flows: count }) => {
    const bundle = bundleOf(flowsOf(count));
    const ask = async (who: string, path: string): Promise<void> => {
      using client = await Client.to(path);
      const probe = await EchoProbe.start(path);
      for (let round = 0; round < 2 * ROUNDS; round++) {
        await client.commit(bundle);
        if (round % 2 === 1) await client.clear();
      }
      const waits = await probe.end();
      const at = (share: number): number =>
        waits[Math.floor(share * (waits.length - 1))] ?? NaN;
      say(`an echo beside bundles, ${who}: half of ${waits.length}`, "ms", [at(0.5)]);
      say(`an echo beside bundles, ${who}: all but one of 100`, "ms", [at(0.99)]);
      say(`an echo beside bundles, ${who}: the last`, "ms", [at(1)]);
    };
    await withProgram((path) => ask("ours", path));
    await using peer = await PeerSwitch.start([]);
    await ask("Open vSwitch", peer.socket);
  },

  rule: async ({ flows: count }) => {
    const rules = Array.from(
      { length: 10_000 },
      (_, i) =>
        `priority=10,tcp,nw_dst=${
          ip(0x0a000000 + (i << 8))
        }/24,actions=${PER_CONNECTION},${OUT}`,
    );
    const sent = Array.from(
      { length: count },
      (_, i) =>
        packet(i, {
          ipDst: ip(0x0a000000 + (i % 10_000 << 8) + 1 + Math.floor(i / 10_000)),
          srcPort: 1024 + i % PORTS,
        }),
    );
    const changes = Array.from(
      { length: 10 },
      (_, i) => (rules[100 + i] as string).replace(OUT, "output:3"),
    );
    await withSwitch(rules, async (of, feed) => {
      await feed(sent);
      const before = { ...of.run.stats };
      const [us, ms]: [number[], number[]] = [[], []];
      for (const change of changes) {
        const [start, startCpu] = [performance.now(), cpuSeconds()];
        of.flowMod(change);
        await of.run.settled();
        ms.push(performance.now() - start);
        us.push((cpuSeconds() - startCpu) * 1e6);
      }
      const after = { ...of.run.stats };
      const again = (["reruns", "kept", "modified"] as const).map((name) =>
        `${name} ${after[name] - before[name]}`
      );
      console.log(
        `  ${before.flows} flows; ten flows changed: ${
          again.join(", ")
        }; ${after.flows} flows left`,
      );
      say("one flow changed, ours: all is true again after", "ms by the clock", ms);
      say("one flow changed, ours", "us of CPU", us);
    });
    await using peer = await PeerSwitch.start(
      rules.map((rule) => rule.replace(OUT, "output:10")),
    );
    await peer.send(sent, 1);
    const flows = await peer.flows();
    await peer.revalidate();
    const cpu = peer.cpu();
    for (const change of changes) {
      await peer.ofctl("add-flow", "br0", change);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    console.log(`  Open vSwitch: ${flows} flows; ${await peer.flows()} flows left`);
    say("one flow changed, Open vSwitch", "us of CPU", [(peer.cpu() - cpu) * 1e5]);
  },
};

async function main(): Promise<void> {
  helpIfAsked(import.meta.url);
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: {
      packets: { type: "string", default: "120000" },
      flows: { type: "string", default: "100000" },
    },
  });
  const options = {
    packets: numberOf("--packets", values.packets),
    flows: numberOf("--flows", values.flows, 1_000_000),
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
