// SPDX-License-Identifier: Apache-2.0
/**
 * Random pipelines here and in Open vSwitch: what leaves by which port, and under which masks.
 * `OPENFLOW_PIPELINES=1000` makes it long, `OPENFLOW_SEED` begins elsewhere.
 */
import { deepStrictEqual } from "node:assert/strict";
import { build, ethernet, ipv4, payload, tcp, udp, vlan } from "../../frames/mod.ts";
import { openSwitch } from "../../openflow/open.ts";
import { Switch } from "../../openflow/switch/switch.ts";
import { flowOfKey } from "../../openflow/table/packet_flow.ts";
import { parseFlow } from "../../openflow/text/flow.ts";
import { formatMatch } from "../../openflow/text/match.ts";
import { Translation } from "../../openflow/translate/translation.ts";
import { Word } from "../../openflow/wire/flow.ts";
import { Layouts } from "../../policy/packet/layout.ts";
import { encodeKey, extractKey } from "../../providers/odp/mod.ts";
import { openLab } from "../../testing/mod.ts";
import { type Dummy, startDummy } from "../odp/ovs_dummy.ts";
import { figure } from "../support/figure.ts";
import { handled } from "./handled.ts";
import { type Random, random } from "../support/random.ts";
import { skippable } from "../support/skip.ts";
import { pause } from "../support/wait.ts";

const pipelines = Number(Deno.env.get("OPENFLOW_PIPELINES") ?? 12);
const seed = Number(Deno.env.get("OPENFLOW_SEED") ?? 1);
const PORTS = ["p1", "p2", "p3", "p4"];
const TABLES = 4;
const FLOWS = 14;
const PACKETS = 14;

function pick<T>(next: Random, list: readonly T[]): T {
  return list[next(list.length)] as T;
}

const addresses = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "10.1.0.1"];
const macs = ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"];
const transport = ["80", "81", "8080"];

/** What a flow is about: terms that may stand together. */
function match(next: Random): string {
  const terms: string[] = [];
  if (next(3) === 0) terms.push(`in_port=${1 + next(4)}`);
  if (next(4) === 0) terms.push(`dl_dst=${pick(next, macs)}`);
  if (next(6) === 0) {
    terms.push(`dl_src=02:00:00:00:00:00/ff:ff:ff:ff:ff:0${pick(next, ["c", "e"])}`);
  }
  if (next(4) === 0) {
    terms.push(
      pick(next, ["dl_vlan=5", "vlan_tci=0x0000/0x1fff", "vlan_tci=0x1000/0x1000"]),
    );
  }
  const kind = pick(next, ["", "ip", "tcp", "udp"]);
  if (kind !== "") {
    terms.push(kind);
    if (next(2) === 0) {
      terms.push(`nw_dst=${pick(next, addresses)}/${pick(next, [8, 15, 24, 32])}`);
    }
    if (next(4) === 0) {
      terms.push(`nw_src=${pick(next, addresses)}/${pick(next, [16, 24, 32])}`);
    }
    if (next(8) === 0) terms.push("nw_tos=32");
    if (next(8) === 0) terms.push("nw_ttl=64");
  }
  if ((kind === "tcp" || kind === "udp") && next(2) === 0) {
    terms.push(`tp_dst=${pick(next, transport)}`);
  }
  if (next(5) === 0) terms.push(`reg1=${next(3)}`);
  if (next(6) === 0) terms.push(`metadata=${next(3)}/0x3`);
  return terms.join(",");
}

function actions(next: Random, about: string, table: number): string {
  const list: string[] = [];
  const isIp = /\b(ip|tcp|udp)\b/.test(about);
  const hasPorts = /\b(tcp|udp)\b/.exec(about)?.[0];
  for (let i = next(4); i > 0; i--) {
    const choice = next(12);
    if (choice < 4) list.push(`output:${1 + next(4)}`);
    else if (choice === 4) list.push("IN_PORT");
    else if (choice === 5) list.push(`set_field:${pick(next, macs)}->eth_dst`);
    else if (choice === 6) list.push(`load:${next(3)}->NXM_NX_REG1[]`);
    else if (choice === 7) {
      // More than two tags are refused.
      if (!list.join().includes("push_vlan")) {
        list.push("push_vlan:0x8100,set_field:4101->vlan_vid");
      }
    } else if (choice === 8 && isIp) {
      list.push(`set_field:${pick(next, addresses)}->ip_dst`);
    } else if (choice === 9 && isIp) list.push("dec_ttl");
    else if (choice === 10 && hasPorts) {
      list.push(`set_field:${pick(next, transport)}->${hasPorts}_dst`);
    } else if (choice === 11 && table < TABLES - 1) {
      list.push(`resubmit(,${table + 1 + next(TABLES - 1 - table)})`);
    }
  }
  if (next(6) === 0) list.push(`write_actions(output:${1 + next(4)})`);
  if (next(6) === 0) list.push(`write_metadata:${next(3)}/0x3`);
  if (table < TABLES - 1 && next(2) === 0) {
    list.push(`goto_table:${table + 1 + next(TABLES - 1 - table)}`);
  }
  return list.length === 0 ? "drop" : list.join(",");
}

/** A pipeline in which no two flows of a table have one priority: there is one answer. */
function pipeline(next: Random): string[] {
  return Array.from({ length: FLOWS }, (_, i) => {
    const table = i < FLOWS / 2 ? 0 : next(TABLES);
    const about = match(next);
    const priority = 100 + i;
    const parts = [`table=${table}`, `priority=${priority}`, about].filter(Boolean).join(
      ",",
    );
    return `${parts},actions=${actions(next, about, table)}`;
  });
}

function packet(next: Random): Uint8Array {
  const ports = { src: 1000, dst: Number(pick(next, transport)) };
  return build([
    ethernet({ src: pick(next, macs), dst: pick(next, macs) }),
    ...(next(3) === 0 ? [vlan({ vid: pick(next, [5, 6]) })] : []),
    ipv4({
      src: pick(next, addresses),
      dst: pick(next, addresses),
      ttl: pick(next, [1, 2, 64]),
      tos: pick(next, [0, 32]),
    }),
    next(2) === 0 ? udp(ports) : tcp(ports),
    payload("hello"),
  ]);
}

/** Gives Open vSwitch a pipeline, and no flows of an earlier one. */
async function give(ovs: Dummy, flows: readonly string[]): Promise<void> {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, flows.join("\n") + "\n");
    await ovs.ofctl("replace-flows", "br0", path);
  } finally {
    await Deno.remove(path);
  }
  await ovs.call("dpctl/del-flows");
}

Deno.test(
  "openflow differential: packets leave as Open vSwitch sends them",
  skippable(async () => {
    await using ovs = await startDummy();
    await using lab = await openLab({ ports: PORTS });
    const faults: string[] = [];
    await using of = await openSwitch(lab.dp, {
      onError: (error) => void faults.push(`${error.message}`),
    });
    let [cases, frames] = [0, 0];
    for (let i = 0; i < pipelines; i++) {
      const next = random(seed + i);
      for (let k = 0; k < 8; k++) next(2);
      const flows = pipeline(next);
      of.flowMod("", { command: "delete" });
      for (const flow of flows) of.flowMod(flow);
      await give(ovs, flows);
      for (let k = 0; k < PACKETS; k++) {
        const frame = packet(next);
        const from = pick(next, PORTS);
        await ovs.call("netdev-dummy/receive", from, frame.toHex());
        await ovs.call("version");
        await lab.inject(from, frame);
        await handled(lab, of);
        const [theirs, ours]: [string[], string[]] = [[], []];
        for (const [at, port] of PORTS.entries()) {
          theirs.push(...(await ovs.sent(at + 1)).map((one) => `${port} ${one.toHex()}`));
          ours.push(...(await lab.collect(port)).map((one) => `${port} ${one.toHex()}`));
        }
        const what = `seed ${seed + i}: ${frame.toHex()} by ${from} through\n${
          flows.join("\n")
        }`;
        deepStrictEqual(ours, theirs, `${what}\nours ${ours}\ntheirs ${theirs}`);
        cases++;
        frames += ours.length;
      }
    }
    deepStrictEqual(faults, []);
    figure(`${cases} packets through ${pipelines} pipelines, ${frames} left`);
  }),
);

/** The mask of a packet's flow as a match, as Open vSwitch writes it in a trace. */
function megaflow(of: Switch, frame: Uint8Array, inPort: number): string {
  const key = encodeKey(extractKey(frame, { inPort }));
  const packet = flowOfKey(key, new Layouts().of(key));
  const value = packet.flow.slice();
  const way = new Translation(of, packet, () => {});
  way.run();
  const mask = way.seen.slice();
  // Registers and metadata are no part of a packet; these are in every mask.
  mask.fill(0, 0, Word.dlDst);
  mask[Word.inPort] = 0xffffffff;
  mask[Word.dlType] = 0xffff;
  mask[Word.nw] = (mask[Word.nw] as number) | 3;
  const isTagged = packet.tags.length > 0 || value[Word.vlan] !== 0;
  if (mask[Word.vlan] !== 0) mask[Word.vlan] = (mask[Word.vlan] as number) | 0x1000;
  if (!isTagged) mask[Word.vlan] = 0;
  for (const [i, word] of mask.entries()) value[i] = (value[i] as number) & word;
  return formatMatch({ value, mask });
}

Deno.test(
  "openflow differential: flows have the masks that Open vSwitch's have",
  skippable(async () => {
    await using ovs = await startDummy();
    await using lab = await openLab({ ports: PORTS });
    let cases = 0;
    for (let i = 0; i < 3 * pipelines; i++) {
      const next = random(seed + i);
      for (let k = 0; k < 8; k++) next(2);
      const flows = pipeline(next);
      const of = new Switch(lab.dp, { name: "br0", datapathId: 1n, tight: false });
      for (const flow of flows) of.flows.apply(parseFlow(flow), { isOld: false });
      await give(ovs, flows);
      for (let k = 0; k < PACKETS; k++) {
        const frame = packet(next);
        const inPort = 1 + next(PORTS.length);
        const ours = megaflow(of, frame, inPort);
        const flow = [`in_port=${inPort}`, frame.toHex()];
        let theirs = "";
        // Rules that went leave the classifier there a little later: it is asked again for a while.
        for (let tries = 0; tries < 100 && theirs !== ours; tries++) {
          if (tries > 0) await pause(20);
          const trace = await ovs.call("ofproto/trace", "br0", ...flow);
          theirs = /Megaflow: recirc_id=0,eth,(.*)/.exec(trace)?.[1] ?? trace;
          // That there is no tag is in each mask of a datapath here, and in traces now and then.
          theirs = theirs.replace(/vlan_tci=0x0000(\/0x1fff|\/0x1000)?,/, "");
        }
        const what = `seed ${seed + i}: ${flow.join(" ")} through\n${flows.join("\n")}`;
        deepStrictEqual(ours, theirs, `${what}\nours ${ours}\ntheirs ${theirs}`);
        cases++;
      }
    }
    figure(`${cases} masks of ${3 * pipelines} pipelines`);
  }),
);
