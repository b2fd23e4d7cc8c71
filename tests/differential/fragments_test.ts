// SPDX-License-Identifier: Apache-2.0
/**
 * Fragments on their way through `ct`, beside Open vSwitch's userspace datapath: the same frames
 * out of both, with the same states, the same packets that wait, the same counters, in the same
 * words.
 *
 * What a fragment became is written into a VLAN tag, as in `conntrack_test.ts`.
 */
import assert from "node:assert/strict";
import type { PortNo } from "../../providers/ids.ts";
import { noFlags } from "../../control/verbs/verb.ts";
import { runVerb } from "../../control/verbs/verbs.ts";
import { openableDatapaths } from "../../control/datapath_source.ts";
import { type Dummy, startDummy } from "../odp/ovs_dummy.ts";
import { figure } from "../support/figure.ts";
import { collectAll, NetdevBench } from "../support/netdev.ts";
import { random } from "../support/random.ts";
import { skippable } from "../support/skip.ts";
import type { Version } from "./conntrack_packets.ts";
import { type Arrival, arrivals, type Part } from "./fragment_packets.ts";

/** Actions of packets from either side, before they are looked up again. */
interface World {
  readonly clients: string;
  readonly servers: string;
  readonly versions?: readonly Version[];
}

const worlds: readonly World[] = [
  { clients: "ct(commit)", servers: "ct" },
  { clients: "ct", servers: "ct" },
  { clients: "ct(commit,zone=5),ct(commit,zone=6)", servers: "ct(zone=5)" },
  { clients: "ct(commit,nat(src=9.9.9.9:7000))", servers: "ct(nat)", versions: [4] },
  { clients: "ct(commit,nat(dst=10.1.1.9:8053))", servers: "ct(nat)", versions: [4] },
  { clients: "ct(commit,nat(src=[fd00::99]:7000))", servers: "ct(nat)", versions: [6] },
];

const dp = "dummy@ovs-dummy";
const SEED = Number(Deno.env.get("FRAGMENTS_SEED") ?? 20261129);
const EACH = Number(Deno.env.get("FRAGMENTS_SEQUENCES") ?? 120) / 8;
/** States that occur. */
const states = [
  ...[0x20, 0x21, 0x22, 0x2a, 0x30, 0x61, 0x62, 0x6a, 0xa1, 0xa2, 0xaa, 0xb0, 0x70],
  ...[0x24, 0x2c, 0x60, 0xa0],
];

const match = (version: Version, frag: string): string =>
  version === 4
    ? `eth(),eth_type(0x0800),ipv4(frag=${frag})`
    : `eth(),eth_type(0x86dd),ipv6(frag=${frag})`;

/**
 * What Open vSwitch 3.1.0 sees otherwise, from a fragment on that others of its packet came before.
 */
interface Difference {
  readonly reason: string;
  readonly applies: (part: Part, before: readonly Part[]) => boolean;
}

const differences: readonly Difference[] = [
  {
    reason:
      "a fragment that covers an older one whole overlaps it: Open vSwitch 3.1.0 keeps both, and the " +
      "packet can never be put together",
    applies: ({ start, end }, before) =>
      before.some((old) => start < old.start && old.end < end),
  },
  {
    reason:
      "a fragment behind the packet's end, or a second end, contradicts what is there: Open " +
      "vSwitch 3.1.0 keeps it",
    applies: ({ start, end, last }, before) =>
      before.some((old) =>
        (old.last && old.end <= start) || (last && (old.last || end <= old.start))
      ),
  },
];

/** Both datapaths, with the same flows. */
class Pair implements AsyncDisposable {
  readonly #dummy: Dummy;
  readonly #bench: NetdevBench;
  readonly #made = new Set<string>();

  private constructor(dummy: Dummy, bench: NetdevBench) {
    this.#dummy = dummy;
    this.#bench = bench;
  }

  static async open(bench: NetdevBench): Promise<Pair> {
    const pair = new Pair(await startDummy(), bench);
    await pair.#dummy.call("upcall/set-flow-limit", "0");
    // Its expired fragments would leave by the actions of the next packet.
    await pair.#dummy.call("time/stop");
    for (const version of [4, 6] as const) {
      for (const frag of ["no", "first", "later"]) {
        for (const port of [1, 2]) {
          for (const state of states) {
            await pair.#put(
              `recirc_id(0x1),in_port(${port}),ct_state(0x${state.toString(16)}/0xff),` +
                match(version, frag),
              `push_vlan(vid=${state},pcp=0),${3 - port}`,
            );
          }
        }
      }
    }
    return pair;
  }

  async putWorld({ clients, servers }: World, version: Version): Promise<void> {
    for (const [port, actions] of [[1, clients], [2, servers]] as const) {
      for (const frag of ["no", "first", "later"]) {
        const key = `recirc_id(0),in_port(${port}),${match(version, frag)}`;
        await this.#put(key, `${actions},recirc(1)`);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dummy[Symbol.asyncDispose]();
  }

  async #put(key: string, actions: string): Promise<void> {
    this.#bench.dp.flows.put({ key, actions, create: true, modify: true });
    const verb = this.#made.has(key) ? "dpctl/mod-flow" : "dpctl/add-flow";
    this.#made.add(key);
    await this.#dummy.call(verb, dp, key, actions);
  }

  /** Lets a frame in; what came out, theirs and ours. */
  async arrive({ port, frame }: Arrival): Promise<[string[], string[]]> {
    const out = (3 - port) as PortNo;
    this.#bench.inject(port as PortNo, frame);
    await this.#dummy.call("netdev-dummy/receive", `p${port}`, frame.toHex());
    await this.#bench.settle();
    const ours = collectAll(this.#bench.dp, out).map((sent) => sent.toHex());
    const theirs: string[] = [];
    for (let i = 0; i < (theirs.length < ours.length ? 200 : 4); i++) {
      await this.#dummy.call("version");
      theirs.push(...(await this.#dummy.sent(out)).map((sent) => sent.toHex()));
    }
    return [theirs, ours];
  }

  /** The same verb to both; what they print. */
  async verb(...words: readonly string[]): Promise<[string, string]> {
    const [verb = "", ...args] = words;
    const more = verb === "ipf-get-status" ? ["-m"] : [];
    // Options count among the arguments there: for the datapath is no room then, and there is one
    // only.
    const theirs = await this.#dummy.call(
      `dpctl/${verb}`,
      ...more.length ? more : [dp],
      ...args,
    )
      .catch((error: Error) => error.message);
    const name = `netdev@${this.#bench.dp.name}`;
    let ours = "";
    await runVerb([verb, name, ...args], {
      program: "ovs-vswitchd",
      isControl: true,
      flags: { ...noFlags, verbosity: more.length },
      datapaths: openableDatapaths(["netdev"]),
      output: { print: (text) => ours += text, complain: (text) => ours += text },
      readText: () => Promise.resolve(""),
    });
    // After an error ours gives a reason and a hint, each in a line of its own.
    const first = ours.replace(/\n +(reason|hint): .*/s, "");
    return [theirs.replace(/^dpctl\/[\w-]+: /, "").trimEnd(), first.trimEnd()];
  }

  async forget(): Promise<void> {
    this.#bench.dp.conntrack?.flush();
    for (let i = 0; i < 10; i++) {
      await this.#dummy.call("dpctl/flush-conntrack");
      if ((await this.#dummy.call("dpctl/dump-conntrack", dp)).trim() === "") return;
    }
  }
}

/**
 * Frames by the flow that sent them: Open vSwitch sends those of a burst that one flow matched
 * together, and so before others.
 */
function byFlow(frames: readonly string[]): string {
  const flows = new Map<string, string[]>();
  for (const hex of frames) {
    // The tag that tells the state; whether it is the first fragment: flags of IPv4 or of the
    // header behind IPv6's.
    const v4 = hex.slice(32, 36) === "0800";
    const field = parseInt(v4 ? hex.slice(48, 52) : hex.slice(120, 124), 16);
    const later = (field & (v4 ? 0x1fff : 0xfff8)) !== 0;
    const flow = `${hex.slice(28, 32)} ${later}`;
    flows.set(flow, [...flows.get(flow) ?? [], hex]);
  }
  return JSON.stringify([...flows].sort());
}

/** One sequence; answers with what differs, if anything does. */
async function sequence(
  pair: Pair,
  version: Version,
  { seed, id }: { readonly seed: number; readonly id: number },
): Promise<{ story: string; known: Difference | undefined } | undefined> {
  const next = random(seed);
  const story: string[] = [];
  const parts: Part[] = [];
  let known: Difference | undefined;
  const all = Array.from(
    { length: 1 + next(3) },
    (_, i) => arrivals(next, version, id + i),
  ).flat();
  for (const arrival of all) {
    const { part } = arrival;
    if (part !== undefined) {
      const before = parts.filter(({ id }) => id === part.id);
      known ??= differences.find(({ applies }) => applies(part, before));
      parts.push(part);
    }
    const [theirs, ours] = await pair.arrive(arrival);
    story.push(
      `  ${arrival.port} ${arrival.what} -> ${theirs.map((t) => t.slice(28, 32))}`,
    );
    if (byFlow(theirs) !== byFlow(ours)) {
      const short = (frames: string[]) =>
        frames.map((frame) => frame.slice(0, 140)).join("\n    ");
      story.push(`  theirs ${short(theirs)}`, `  ours ${short(ours)}`);
      return { story: story.join("\n"), known };
    }
  }
  return known && { story: story.join("\n"), known };
}

/**
 * Lines of packets that wait, with these identifications; and counters that only grow with what
 * came.
 */
function comparable(status: string, from: number): string[] {
  return status.split("\n").map((line) => line.trim()).filter((line) => {
    const [, id] = /ip_id=(\d+)/.exec(line) ?? [];
    if (id !== undefined) return Number(id) >= from;
    return /accepted|completed|small|overlapped|enabled|min v|max num/.test(line);
  }).sort();
}

Deno.test(
  "sequences of fragments get the states, bytes, counters and words that Open vSwitch's userspace datapath gives them",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    await bench.ports("p1", "p2");
    await using pair = await Pair.open(bench);
    const [theirs, ours] = await pair.verb("ipf-get-status");
    assert.equal(ours, theirs);
    const most = await pair.verb("ipf-set-max-nfrags", "5000");
    assert.equal(most[1], most[0]);
    const wrong: string[] = [];
    const seen = new Set<Difference>();
    let compared = 0;
    let id = 1;
    for (const [at, world] of worlds.entries()) {
      for (const version of world.versions ?? [4, 6] as const) {
        await pair.putWorld(world, version);
        for (let i = 0; i < EACH; i++) {
          const seed = SEED + 1000 * at + i * 7919 + version;
          const first = id;
          const before = await pair.verb("ipf-get-status");
          await pair.forget();
          const difference = await sequence(pair, version, { seed, id });
          id += 4;
          compared++;
          const where =
            `${world.clients} / ${world.servers}, IPv${version}, seed ${seed}`;
          if (difference?.known !== undefined) {
            seen.add(difference.known);
            continue;
          }
          if (difference !== undefined) wrong.push(`${where}\n${difference.story}`);
          const after = await pair.verb("ipf-get-status");
          const [a, b] = after.map((status, who) =>
            grown(before[who] ?? "", status, first)
          );
          if (JSON.stringify(a) !== JSON.stringify(b)) {
            wrong.push(
              `${where}\n  theirs ${a?.join("\n    ")}\n  ours ${b?.join("\n    ")}`,
            );
          }
        }
      }
    }
    figure(`${compared} sequences of fragments compared`);
    assert.equal(
      wrong.length,
      0,
      `${wrong.length} of ${compared}:\n${wrong.slice(0, 8).join("\n")}`,
    );
    for (const difference of differences) {
      assert.ok(seen.has(difference), `no longer different: ${difference.reason}`);
    }
  }),
);

/**
 * What a status has more than an earlier one, and the packets that wait from an identification on.
 */
function grown(before: string, after: string, from: number): string[] {
  const old = comparable(before, from);
  return comparable(after, from).map((line) => {
    const [, name, value] =
      /^(.*(?:accepted|completed|small|overlapped)): (\d+)$/.exec(line) ?? [];
    if (name === undefined) return line;
    const was = old.find((other) => other.startsWith(`${name}: `))?.split(": ")[1] ?? 0;
    return `${name}: +${Number(value) - Number(was)}`;
  });
}

Deno.test(
  "verbs about fragments answer in Open vSwitch's words",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    await bench.ports("p1", "p2");
    await using pair = await Pair.open(bench);
    for (
      const line of [
        "ipf-set-disabled v4",
        "ipf-set-enabled v4",
        "ipf-set-disabled v6",
        "ipf-set-min-frag v4 400",
        "ipf-set-min-frag v6 2000",
        "ipf-set-max-nfrags 0",
        "ipf-set-max-nfrags 5000",
        "ipf-get-status",
        "ipf-set-min-frag v4 399",
        "ipf-set-min-frag v5 500",
        "ipf-set-min-frag v4 x",
        "ipf-set-max-nfrags 5001",
        "ipf-set-max-nfrags x",
        "ipf-set-enabled v5",
        "ipf-get-status",
      ]
    ) {
      const said = await pair.verb(...line.split(" ")).catch((error) => {
        throw new Error(line, { cause: error });
      });
      assert.equal(said[1], said[0], line);
    }
  }),
);
