// SPDX-License-Identifier: Apache-2.0
/**
 * Flows that were dumped can be put again: by the verbs of dpctl, in each of the forms of a dump,
 * whatever the flows are that the datapath holds.
 */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { type Flags, noFlags } from "../../control/verbs/verb.ts";
import { runVerb } from "../../control/verbs/verbs.ts";
import type { Datapath } from "../../providers/datapath.ts";
import {
  encodeKey,
  encodeMask,
  formatActions,
  maskedEqual,
} from "../../providers/odp/mod.ts";
import { walk } from "../../providers/odp/attributes.ts";
import { ENCAP, keyTable } from "../../providers/odp/key.ts";
import { openDatapath } from "../../providers/registry.ts";
import type { FlowKey, FlowMask } from "../../providers/types.ts";
import type { Op } from "../../providers/operations.ts";
import { anyTunnelFlow, flow, type RandomFlow } from "../odp/arbitrary.ts";
import { actions } from "../odp/arbitrary_actions.ts";
import { run } from "../support/command.ts";
import { findProgram } from "../support/skip.ts";
import type { Suite } from "./environment.ts";

const SEED = 20260101;
/** Random flows of each kind; the kernel stops at some 4,000 masks. */
const FLOWS = 700;

/** Flows of which a dump leaves out what a datapath wants to see. */
const sparse: readonly (readonly [key: string, actions: string])[] = [
  ["eth(),eth_type(0x0806),arp(op=1/0)", "2"],
  ["eth(),eth_type(0x0806)", "drop"],
  ["eth(),eth_type(0x0800),ipv4(proto=6/0,frag=no),tcp()", "2,3"],
  ["eth(),eth_type(0x0800),ipv4(proto=17,frag=no),udp()", "ct(commit),2"],
  ["eth(),eth_type(0x86dd),ipv6(proto=58,frag=no),icmpv6(type=135,code=0),nd()", "2"],
  ["eth(),eth_type(0x8847),mpls(label=5/0,tc=0/0,ttl=0/0,bos=1/1)", "2"],
  ["eth(),eth_type(0x8100),vlan(vid=5/0),encap(eth_type(0x0806),arp())", "pop_vlan,2"],
  ["tunnel(tun_id=0x5,dst=1.1.1.1/0.0.0.0,flags(key)),eth(),eth_type(0x0806),arp()", "2"],
  ["tunnel(tun_id=0x5),eth(),eth_type(0x1234)", "2"],
  ["tunnel(ipv6_dst=fe80::1/::,tos=0/0xff),eth(),eth_type(0x1234)", "2"],
  ["tunnel(dst=1.1.1.1,ttl=5,flags(-key)),eth(),eth_type(0x1234)", "2"],
  ["tunnel(),eth(),eth_type(0x1234)", "2"],
];

/** What of a flow a dump must tell: its bytes where they matter, and its actions. */
interface Held {
  readonly key: Uint8Array;
  readonly mask: Uint8Array;
  readonly actions: string;
}

/** What a mask asks for, an attribute a line; one without bits asks for nothing. */
function bitsOf(mask: Uint8Array): string {
  const lines: string[] = [];
  const add = (bytes: Uint8Array, place: string, isTunnel: boolean): void =>
    walk(bytes, 0, bytes.length, "mask", (id, at, size) => {
      const bits = bytes.subarray(at, at + size);
      const name = `${place}/${id}`;
      // Of a tunnel it matters whether there are a key and flags.
      const isThere = isTunnel && (size === 0 || id === 0);
      if (!isTunnel && (id === keyTable.tunnel.id || id === ENCAP)) {
        add(bits, name, id !== ENCAP);
      } else if (isThere || bits.some((byte) => byte !== 0)) {
        lines.push(`${name} ${bits.toHex()}`);
      }
    });
  add(mask, "", false);
  return lines.sort().join("\n");
}

/** The flows that a datapath holds, by the id that keeps them apart. */
function held(dp: Datapath): Map<number, Held> {
  return new Map([...dp.flows.dump()].map(({ key, raw, actions }) => [
    key?.recircId ?? 0,
    {
      key: raw.key ?? new Uint8Array(),
      mask: raw.mask ?? new Uint8Array(),
      actions: formatActions(actions ?? []),
    },
  ]));
}

/** Runs a verb on a datapath, where `file` is what it reads; what it prints. */
async function verb(
  dp: Datapath,
  words: readonly string[],
  { flags = {}, file = "" }: { flags?: Partial<Flags>; file?: string } = {},
): Promise<string> {
  let out = "";
  let complaints = "";
  await runVerb(words, {
    program: "dpctl",
    isControl: false,
    flags: { ...noFlags, ...flags },
    datapaths: {
      list: () => Promise.resolve({ names: [dp.fullName] }),
      exists: (name) => Promise.resolve(name === dp.fullName),
      open: () => openDatapath(dp.fullName),
    },
    output: { print: (text) => out += text, complain: (text) => complaints += text },
    readText: () => Promise.resolve(file),
  });
  assert.equal(complaints, "", words.join(" "));
  return out;
}

/** Forms of a dump: short and long, ports by number and by name. */
const forms: readonly Partial<Flags>[] = [
  {},
  { names: true },
  { verbosity: 1 },
  { verbosity: 1, names: true },
];

/** Random flows of packets of all kinds, each with an id of its own. */
function randomOps(type: string, from: number): Op[] {
  const flows: RandomFlow[] = [
    ...fc.sample(flow, { seed: SEED, numRuns: FLOWS }),
    ...fc.sample(anyTunnelFlow, { seed: SEED, numRuns: FLOWS }),
  ];
  const lists = fc.sample(actions, { seed: SEED, numRuns: flows.length });
  return flows.map((random, i): Op => {
    const key = { ...random.key, recircId: from + i } as Record<string, unknown>;
    const mask = { ...random.mask } as Record<string, unknown>;
    // Guests have no conntrack zones; what the field is for is tested elsewhere.
    if (type === "system") delete key["ctZone"], delete mask["ctZone"];
    const bytes = encodeKey(key as FlowKey);
    const list = i % 3 === 0 ? lists[i] ?? [] : [];
    return {
      op: "put",
      key: bytes,
      mask: encodeMask(mask as FlowMask, bytes),
      actions: formatActions(list),
    };
  });
}

/** Lines of a dump of ovs-dpctl, without what is counted, in an order of their own. */
async function theirs(dp: Datapath, options: readonly string[]): Promise<string[]> {
  const text = await run("ovs-dpctl", ...options, "dump-flows", dp.fullName);
  return text.split("\n").filter((line) => line !== "")
    .map((line) => line.replace(/packets:.*?, (?=offloaded|dp:|actions)/, ""))
    .map((line) => line.replace(/^ufid:\S+ /, "")).sort();
}

/** What ovs-dpctl prints of the kernel's flows is read, and then it prints the same again. */
async function asDpctlOfOpenVswitch(dp: Datapath): Promise<void> {
  if (dp.type !== "system" || findProgram("ovs-dpctl") === undefined) return;
  for (const options of [[], ["--names"], ["-m"]]) {
    const before = await theirs(dp, options);
    const file = await run("ovs-dpctl", ...options, "dump-flows", dp.fullName);
    dp.flows.flush();
    await verb(dp, ["add-flows", dp.fullName, "x"], { file });
    assert.deepEqual(await theirs(dp, options), before, options.join(" "));
  }
}

export const dumpedSuite: Suite = {
  "flows come back from what dump-flows prints, in each of its forms": async (
    { env, dp },
  ) => {
    if (dp.type !== "netdev") return; // The others keep flows as they are given.
    // Names that could be an action, or a number.
    for (const name of ["drop", "7up", "ct"]) await env.addPort(dp, name);
    let refused = 0;
    const first = sparse.length + 1;
    for (const [i, [key, actions]] of sparse.entries()) {
      dp.flows.put({ key: `recirc_id(${i + 1}),in_port(1),${key}`, actions });
    }
    dp.flows.put({
      key: "recirc_id(999999),in_port(4),eth(),eth_type(0x0806),arp()",
      actions: "4,5,6",
    });
    for (const op of randomOps(dp.type, first)) {
      const [result] = dp.operate([op]);
      if (result?.ok) continue;
      refused++;
      // A list of actions that it does not take keeps no flow away.
      if (op.op === "put") dp.operate([{ ...op, actions: "2" }]);
    }
    const before = held(dp);
    assert.ok(before.size > FLOWS, `${before.size} flows, ${refused} refused`);
    for (const flags of forms) {
      const form = JSON.stringify(flags);
      const text = await verb(dp, ["dump-flows", dp.fullName], { flags });
      assert.ok(text.split("\n").length > before.size, form);
      const lines = new Map(
        text.split("\n").map((line) => [/recirc_id\((\w+)\)/.exec(line)?.[1], line]),
      );
      dp.flows.flush();
      await verb(dp, ["add-flows", dp.fullName, "x"], { file: text });
      const after = held(dp);
      assert.equal(after.size, before.size, form);
      for (const [id, { key, mask, actions }] of before) {
        const again = after.get(id);
        assert.ok(again !== undefined, `${form}: ${id} is missing`);
        const line = lines.get(`0x${id.toString(16)}`);
        assert.equal(bitsOf(again.mask), bitsOf(mask), `${form}: ${line}`);
        assert.ok(maskedEqual(key, again.key, mask), `${form}: ${line}`);
        assert.equal(again.actions, actions, `${form}: ${line}`);
      }
      // One line is as good as a file of them, and names the flow to be deleted.
      const [line = ""] = text.split("\n").filter((one) => one.includes("in_port"));
      await verb(dp, ["del-flows", dp.fullName, "x"], { file: line });
      assert.equal(held(dp).size, before.size - 1, line);
      await verb(dp, ["add-flow", dp.fullName, line]);
      assert.equal(held(dp).size, before.size, line);
    }
    await asDpctlOfOpenVswitch(dp);
    await verb(dp, ["del-flows", dp.fullName, "x"], {
      file: await verb(dp, ["dump-flows", dp.fullName]),
    });
    assert.equal(dp.stats().flows, 0);
  },
};
