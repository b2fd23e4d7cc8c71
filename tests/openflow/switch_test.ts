// SPDX-License-Identifier: Apache-2.0
/** A switch on dummy ports: driven by ovs-ofctl, and forwarding what its flows say. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { openSwitch, type OpenSwitchOptions } from "../../openflow/open.ts";
import type { OpenFlowSwitch } from "../../openflow/open.ts";
import { type Lab, openLab, until } from "../../testing/mod.ts";
import { skippable } from "../support/skip.ts";
import { build, ethernet, ipv4, payload, udp, vlan } from "../../frames/mod.ts";
import { extractKey } from "../../providers/odp/mod.ts";
import { handled } from "./handled.ts";
import { ofctl, ofctlPath } from "./recorder.ts";

/** A switch with three ports, and a way to have ovs-ofctl speak to it. */
class Bench implements AsyncDisposable {
  readonly lab: Lab;
  readonly of: OpenFlowSwitch;
  readonly faults: string[];

  constructor(lab: Lab, of: OpenFlowSwitch, faults: string[]) {
    this.lab = lab;
    this.of = of;
    this.faults = faults;
  }

  get target(): string {
    return this.of.listeners[0] as string;
  }

  /** What ovs-ofctl printed; throws if it failed. */
  async ofctl(version: string, ...args: string[]): Promise<string> {
    const [command = "", ...rest] = args;
    const { code, stdout, stderr } = await ofctl([
      "-O",
      `OpenFlow1${version}`,
      command,
      this.target,
      ...rest,
    ]);
    if (code !== 0 || stderr !== "") throw new Error(`${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.of.close();
    await this.lab[Symbol.asyncDispose]();
    deepStrictEqual(this.faults, []);
  }
}

async function bench(options: OpenSwitchOptions = {}): Promise<Bench> {
  const lab = await openLab({ ports: ["p1", "p2", "p3"] });
  const path = Deno.makeTempFileSync({ prefix: "sw" });
  Deno.removeSync(path);
  const faults: string[] = [];
  const of = await openSwitch(lab.dp, {
    listen: [`punix:${path}`],
    onError: (error) => void faults.push(error.message),
    ...options,
  });
  return new Bench(lab, of, faults);
}

/** A UDP packet from 10.0.0.1 to 10.0.0.2. */
function packet(
  dstPort: number,
  more: { readonly ttl?: number; readonly vid?: number } = {},
) {
  const { ttl = 64, vid } = more;
  return build([
    ethernet({ src: "02:00:00:00:00:01", dst: "02:00:00:00:00:02" }),
    ...(vid === undefined ? [] : [vlan({ vid })]),
    ipv4({ src: "10.0.0.1", dst: "10.0.0.2", ttl }),
    udp({ src: 1000, dst: dstPort }),
    payload("hello"),
  ]);
}

/** Where a packet that came by p1 left, as `port: what it is now`. */
async function sent({ lab, of }: Bench, frame: Uint8Array): Promise<string[]> {
  await lab.inject("p1", frame);
  await handled(lab, of);
  const found: string[] = [];
  for (const port of ["p1", "p2", "p3"]) {
    for (const one of await lab.collect(port)) found.push(`${port}: ${shown(one)}`);
  }
  return found;
}

/** What tests look at of a frame. */
function shown(frame: Uint8Array): string {
  const { key } = { key: extractKey(frame, { inPort: 1 }) };
  const tags = (key.vlans ?? []).map(({ vid }) => `vlan ${vid} `).join("");
  const labels = (key.mpls ?? []).map(({ label }) => `mpls ${label} `).join("");
  const { ipv4: ip, udp: ports } = key;
  const transport = ip && `${ip.dst} ttl ${ip.ttl} tos ${ip.tos} port ${ports?.dst}`;
  return `${tags}${labels}${key.ethernet?.dst} ${transport ?? ""}`.trim();
}

const plain = "02:00:00:00:00:02 10.0.0.2 ttl 64 tos 0 port";

Deno.test(
  "openflow switch: every version of ovs-ofctl sees the flows of all others",
  skippable(async () => {
    ofctlPath();
    await using it = await bench();
    for (const version of ["0", "1", "2", "3", "4", "5"]) {
      await it.ofctl(
        version,
        "add-flow",
        `priority=1${version},tcp,nw_dst=10.0.0.${version},actions=2`,
      );
    }
    for (const version of ["0", "1", "2", "3", "4", "5"]) {
      const text = await it.ofctl(version, "dump-flows");
      for (const other of ["0", "1", "2", "3", "4", "5"]) {
        ok(
          text.includes(`priority=1${other},tcp,nw_dst=10.0.0.${other} actions=output:`),
          text,
        );
      }
      ok((await it.ofctl(version, "show")).includes("p1"));
      ok((await it.ofctl(version, "dump-ports")).includes("rx pkts=0"));
      ok((await it.ofctl(version, "dump-aggregate")).includes("flow_count=6"));
    }
    await it.ofctl("3", "del-flows", "tcp,nw_dst=10.0.0.3");
    strictEqual(it.of.flows().length, 5);
  }),
);

/** Flows, a packet, and where it leaves by p1: what OpenFlow says of actions. */
const cases: readonly {
  readonly name: string;
  readonly flows: readonly string[];
  readonly frame?: Uint8Array;
  readonly out: readonly string[];
}[] = [
  { name: "no flow drops", flows: [], out: [] },
  {
    name: "output",
    flows: ["in_port=1,actions=2,3"],
    out: [`p2: ${plain} 80`, `p3: ${plain} 80`],
  },
  {
    name: "the port that it came by is left out",
    flows: ["actions=1,2"],
    out: [`p2: ${plain} 80`],
  },
  { name: "IN_PORT", flows: ["actions=IN_PORT"], out: [`p1: ${plain} 80`] },
  {
    name: "FLOOD",
    flows: ["actions=FLOOD"],
    out: [`p2: ${plain} 80`, `p3: ${plain} 80`],
  },
  {
    name: "the highest priority",
    flows: [
      "priority=1,actions=2",
      "priority=2,udp,actions=3",
      "priority=3,tcp,actions=2",
    ],
    out: [`p3: ${plain} 80`],
  },
  {
    name: "tables, metadata and registers",
    flows: [
      "udp,actions=load:7->NXM_NX_REG3[],write_metadata:5,goto_table:1",
      "table=1,reg3=7,metadata=5,actions=goto_table:9",
      "table=9,reg3=8,actions=3",
      "table=9,priority=1,actions=2",
    ],
    out: [`p2: ${plain} 80`],
  },
  {
    name: "fields that were set are what later tables see",
    flows: [
      "udp,actions=set_field:10.0.0.9->ip_dst,set_field:99->udp_dst,goto_table:1",
      "table=1,udp,nw_dst=10.0.0.9,tp_dst=99,actions=2",
    ],
    out: ["p2: 02:00:00:00:00:02 10.0.0.9 ttl 64 tos 0 port 99"],
  },
  {
    name: "each output has what was set before it",
    flows: ["ip,actions=2,set_field:10.0.0.9->ip_dst,3"],
    out: [`p2: ${plain} 80`, "p3: 02:00:00:00:00:02 10.0.0.9 ttl 64 tos 0 port 80"],
  },
  {
    name: "TTL",
    flows: ["ip,actions=dec_ttl,2"],
    out: ["p2: 02:00:00:00:00:02 10.0.0.2 ttl 63 tos 0 port 80"],
  },
  {
    name: "TTL that ends",
    flows: ["ip,actions=dec_ttl,2"],
    frame: packet(80, { ttl: 1 }),
    out: [],
  },
  {
    name: "a tag is added",
    flows: ["actions=push_vlan:0x8100,set_field:4106->vlan_vid,2"],
    out: [`p2: vlan 10 ${plain} 80`],
  },
  {
    name: "a tag is taken off",
    flows: ["dl_vlan=7,actions=pop_vlan,2", "priority=1,actions=3"],
    frame: packet(80, { vid: 7 }),
    out: [`p2: ${plain} 80`],
  },
  {
    name: "a tag is changed, and there and back",
    flows: ["dl_vlan=7,actions=2,set_field:4104->vlan_vid,3"],
    frame: packet(80, { vid: 7 }),
    out: [`p2: vlan 7 ${plain} 80`, `p3: vlan 8 ${plain} 80`],
  },
  {
    name: "a label",
    flows: ["ip,actions=push_mpls:0x8847,set_field:77->mpls_label,2"],
    out: ["p2: mpls 77 02:00:00:00:00:02"],
  },
  {
    name: "an action set is done in its order, once",
    flows: [
      "ip,actions=write_actions(output:2,set_field:10.0.0.7->ip_dst),goto_table:1",
      "table=1,ip,actions=write_actions(output:3)",
    ],
    out: ["p3: 02:00:00:00:00:02 10.0.0.7 ttl 64 tos 0 port 80"],
  },
  {
    name: "resubmit, and what is behind it",
    flows: [
      "ip,actions=resubmit(,5),3",
      "table=5,ip,actions=set_field:10.0.0.7->ip_dst,2",
    ],
    out: [
      "p2: 02:00:00:00:00:02 10.0.0.7 ttl 64 tos 0 port 80",
      "p3: 02:00:00:00:00:02 10.0.0.7 ttl 64 tos 0 port 80",
    ],
  },
  {
    name: "clone",
    flows: ["ip,actions=clone(set_field:10.0.0.7->ip_dst,2),3"],
    out: ["p2: 02:00:00:00:00:02 10.0.0.7 ttl 64 tos 0 port 80", `p3: ${plain} 80`],
  },
  {
    name: "move",
    flows: ["ip,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],2"],
    out: ["p2: 02:00:00:00:00:01 10.0.0.2 ttl 64 tos 0 port 80"],
  },
  {
    name: "NORMAL",
    flows: ["actions=NORMAL"],
    out: [`p2: ${plain} 80`, `p3: ${plain} 80`],
  },
];

Deno.test("openflow switch: packets become what the tables say", async (t) => {
  await using it = await bench();
  for (const { name, flows, frame = packet(80), out } of cases) {
    await t.step(name, async () => {
      it.of.flowMod("", { command: "delete" });
      for (const flow of flows) it.of.flowMod(flow);
      await it.of.run.settled();
      deepStrictEqual(await sent(it, frame), out);
      // And once more, by the flow of the datapath.
      deepStrictEqual(await sent(it, frame), out);
    });
  }
});

Deno.test("openflow switch: a changed rule runs those flows again that it concerns", async () => {
  await using it = await bench();
  it.of.flowMod("udp,tp_dst=1,actions=2");
  it.of.flowMod("udp,tp_dst=2,actions=2");
  it.of.flowMod("udp,tp_dst=3,actions=set_field:10.0.0.9->ip_dst,goto_table:1");
  it.of.flowMod("table=1,ip,nw_dst=10.0.0.9,actions=2");
  for (const port of [1, 2, 3]) strictEqual((await sent(it, packet(port))).length, 1);
  const reruns = (): number => it.of.run.stats.reruns;
  strictEqual(it.of.run.stats.flows, 3);
  let before = reruns();
  it.of.flowMod("udp,tp_dst=1,actions=3", { command: "modify" });
  await it.of.run.settled();
  strictEqual(reruns() - before, 1);
  deepStrictEqual(await sent(it, packet(1)), [`p3: ${plain} 1`]);
  // One that comes concerns those whose packets may fit it, and that found a lesser one.
  before = reruns();
  it.of.flowMod("priority=40000,udp,tp_dst=2,actions=3");
  await it.of.run.settled();
  strictEqual(reruns() - before, 1);
  deepStrictEqual(await sent(it, packet(2)), [`p3: ${plain} 2`]);
  // What a packet had become counts, not what it came with.
  before = reruns();
  it.of.flowMod("table=1,priority=40000,ip,nw_dst=10.0.0.2,actions=3");
  await it.of.run.settled();
  strictEqual(reruns() - before, 0);
  it.of.flowMod("table=1,priority=40001,ip,nw_dst=10.0.0.9,actions=3");
  await it.of.run.settled();
  strictEqual(reruns() - before, 1);
  deepStrictEqual(await sent(it, packet(3)), [
    "p3: 02:00:00:00:00:02 10.0.0.9 ttl 64 tos 0 port 3",
  ]);
});

Deno.test("openflow switch: groups take the buckets that they say", async () => {
  await using it = await bench();
  ofctlPath();
  const out = async (group: string): Promise<string[]> => {
    await it.ofctl("3", "del-groups");
    await it.ofctl("3", "add-group", `group_id=1,${group}`);
    await it.ofctl("3", "add-flow", "ip,actions=group:1");
    return await sent(it, packet(80));
  };
  deepStrictEqual(
    await out("type=all,bucket=set_field:10.0.0.7->ip_dst,output:2,bucket=output:3"),
    ["p2: 02:00:00:00:00:02 10.0.0.7 ttl 64 tos 0 port 80", `p3: ${plain} 80`],
  );
  deepStrictEqual(await out("type=indirect,bucket=output:3"), [`p3: ${plain} 80`]);
  const ff = "type=ff,bucket=watch_port:2,output:2,bucket=watch_port:3,output:3";
  deepStrictEqual(await out(ff), [`p2: ${plain} 80`]);
  await it.ofctl("3", "mod-port", "2", "down");
  await it.of.run.settled();
  deepStrictEqual(await sent(it, packet(80)), [`p3: ${plain} 80`]);
  await it.ofctl("3", "mod-port", "2", "up");
  const select = await out("type=select,bucket=output:2,bucket=output:3");
  strictEqual(select.length, 1);
  deepStrictEqual(await sent(it, packet(80)), select);
});

Deno.test("openflow switch: counters, and flows that end", async () => {
  await using it = await bench();
  ofctlPath();
  await it.ofctl("3", "add-flow", "udp,tp_dst=5,actions=2");
  for (let i = 0; i < 3; i++) await sent(it, packet(5));
  await until(
    "three packets to be counted",
    async () => (await it.ofctl("3", "dump-flows")).includes("n_packets=3"),
  );
  await it.ofctl("3", "add-flow", "hard_timeout=1,udp,tp_dst=6,actions=2");
  strictEqual(it.of.flows().length, 2);
  await until("the flow to end", () => it.of.flows().length === 1);
});

Deno.test("openflow switch: a bundle holds as a whole, or not at all", async () => {
  await using it = await bench();
  ofctlPath();
  const path = await Deno.makeTempFile();
  try {
    for (const version of ["3", "4", "5"]) {
      await Deno.writeTextFile(
        path,
        "flow delete\nflow add udp,tp_dst=1,actions=2\nflow add tcp,actions=3\n",
      );
      await it.ofctl(version, "bundle", path);
      strictEqual(it.of.flows().length, 2);
      await Deno.writeTextFile(path, "flow delete\nflow add actions=group:99\n");
      const { code, stderr } = await ofctl([
        "-O",
        `OpenFlow1${version}`,
        "bundle",
        it.target,
        path,
      ]);
      ok(code !== 0 && /OFPBAC_BAD_OUT_GROUP/.test(stderr), stderr);
      strictEqual(it.of.flows().length, 2);
    }
  } finally {
    await Deno.remove(path);
  }
});
