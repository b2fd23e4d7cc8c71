// SPDX-License-Identifier: Apache-2.0
/** Wrong calls: ours fail with the errno that ovs-dpctl fails with. */
import { ok, strictEqual as equal } from "node:assert/strict";
import {
  type Datapath,
  DatapathError,
  openDatapath,
  output,
  parseKey,
  type Ufid,
} from "../../mod.ts";
import { encodeActions, encodeKey, encodeMask } from "../../providers/odp/mod.ts";
import { errnoText } from "../../providers/errno.ts";
import { run, tryRun } from "../support/command.ts";
import { makeHosts } from "../support/netns.ts";
import { makeDatapath, newName, systemTest } from "./system.ts";

/** Flows that the kernel refuses. */
const refusedFlows: readonly (readonly [key: string, actions: string])[] = [
  ["in_port(1)", "2"],
  ["in_port(70000),eth(),eth_type(0x0806),arp()", "2"],
  ["in_port(1),eth(),eth_type(0x0800)", "2"],
  ["in_port(1),eth(),eth_type(0x86dd)", "2"],
  ["in_port(1),eth(),eth_type(0x0806)", "2"],
  ["in_port(1),eth(),eth_type(0x8847)", "2"],
  ["in_port(1),eth(),eth_type(0x0800),ipv4(proto=6)", "2"],
  ["in_port(1),eth(),eth_type(0x0800),ipv4(proto=6),tcp(src=1,dst=2)", "2"],
  ["in_port(1),eth(),eth_type(0x0800),ipv4(proto=17)", "2"],
  ["in_port(1),eth(),eth_type(0x0800),ipv4(proto=132)", "2"],
  ["in_port(1),eth(),eth_type(0x0800),ipv4(proto=1)", "2"],
  ["in_port(1),eth(),eth_type(0x86dd),ipv6(proto=58)", "2"],
  ["in_port(1),eth(),eth_type(0x86dd),ipv6(proto=58),icmpv6(type=135,code=0)", "2"],
  ["in_port(1),eth(),eth_type(0x0800/0),ipv4(src=1.2.3.4)", "2"],
  ["in_port(1),eth(),eth_type(0x0800),ipv4(proto=17/0),udp(src=5)", "2"],
  ["in_port(1),eth(),eth_type(0x0806),arp()", "65535"],
  ["in_port(1),eth(),eth_type(0x0806),arp()", "70000"],
  ["in_port(1),eth(),eth_type(0x0806),arp()", "push_vlan(tpid=0x1234,vid=1,pcp=0)"],
  ["in_port(1),eth(),eth_type(0x0806),arp()", "ct(commit)"],
  ["in_port(1),eth(),eth_type(0x0800),ipv4()", "ct(nat(src=10.0.0.1))"],
  [
    "in_port(1),eth(),eth_type(0x0800),ipv4(proto=6),tcp(),tcp_flags(0/0)",
    "ct(commit,helper=nobody)",
  ],
  ["in_port(1),eth(),eth_type(0x0800),ipv4()", "check_pkt_len(size=0,gt(2),le(3))"],
  ["in_port(1),eth(),eth_type(0x0806),arp()", "userspace(pid=0)"],
  ["in_port(1),eth(),eth_type(0x0806),arp()", "set(ipv4(ttl=1))"],
  ["in_port(1),eth(),eth_type(0x0806),arp(op=1)", "set(arp(sip=1.1.1.1))"],
  ["in_port(1),eth(),eth_type(0x0800),ipv4(proto=1),icmp()", "set(icmp(type=1))"],
  ["in_port(1),eth(),eth_type(0x0800),ipv4()", "set(tcp(src=1))"],
  ["in_port(1),eth(),eth_type(0x0800),ipv4()", "lb_output(1)"],
];

interface WrongCall {
  readonly name: string;
  readonly ours: () => unknown;
  readonly theirs: readonly string[];
}

async function codeOf(call: () => unknown): Promise<DatapathError> {
  try {
    await call();
  } catch (error) {
    if (error instanceof DatapathError) return error;
    throw error;
  }
  throw new Error("did not fail");
}

function refusals(dp: Datapath): WrongCall[] {
  return refusedFlows.map(([key, actions]) => ({
    name: `add-flow ${key} ${actions}`,
    ours: () => {
      // As bytes: text and objects would be completed first.
      const parsed = parseKey(key);
      dp.flows.put({
        key: encodeKey(parsed.key),
        mask: encodeMask(parsed.mask),
        actions,
      });
    },
    theirs: ["add-flow", dp.name, key, actions],
  }));
}

/**
 * Clones in clones, deeper than the kernel follows them; as bytes, for text is not taken that deep.
 */
function tooDeep(dp: Datapath): WrongCall {
  const depth = 17;
  let actions = encodeActions([output(2)]);
  for (let i = 0; i < depth; i++) {
    // OVS_ACTION_ATTR_CLONE
    actions = Uint8Array.of(actions.length + 4, 0, 20, 0, ...actions);
  }
  const key = "in_port(1),eth(),eth_type(0x0800),ipv4()";
  const text = `${"clone(".repeat(depth)}2${")".repeat(depth)}`;
  return {
    name: "actions that are nested too deep",
    ours: () => dp.flows.put({ key, actions }),
    theirs: ["add-flow", dp.name, key, text],
  };
}

function wrongLookups(dp: Datapath): WrongCall[] {
  const there = "in_port(9),eth(),eth_type(0x0806),arp()";
  const missing = "in_port(8),eth(),eth_type(0x0806),arp()";
  const ufid = "01020304-0000-0000-0000-000000000001" as Ufid;
  dp.flows.put({ key: there, actions: "2" });
  return [
    {
      name: "an equal flow",
      ours: () => dp.flows.put({ key: there, actions: "3" }),
      theirs: ["add-flow", dp.name, there, "3"],
    },
    {
      name: "an overlapping flow",
      ours: () =>
        dp.flows.put({
          key: "in_port(9),eth(),eth_type(0x0806),arp(op=1)",
          actions: "3",
        }),
      theirs: ["add-flow", dp.name, "in_port(9),eth(),eth_type(0x0806),arp(op=1)", "3"],
    },
    {
      name: "change a missing flow",
      ours: () =>
        dp.flows.put({ key: missing, actions: "3", create: false, modify: true }),
      theirs: ["mod-flow", dp.name, missing, "3"],
    },
    {
      name: "delete a missing flow",
      ours: () => dp.flows.delete({ key: missing }),
      theirs: ["del-flow", dp.name, missing],
    },
    {
      name: "delete a missing identifier",
      ours: () => dp.flows.delete({ ufid }),
      theirs: ["del-flow", dp.name, `ufid:${ufid}`],
    },
    {
      name: "get a missing identifier",
      ours: () => dp.flows.get({ ufid }),
      theirs: ["get-flow", dp.name, `ufid:${ufid}`],
    },
  ];
}

function wrongPorts(dp: Datapath, device: string, bridged: string): WrongCall[] {
  const add = (name: string, no?: number) => ({
    ours: () => dp.ports.add({ name, ...(no !== undefined && { no }) }),
    theirs: ["add-if", dp.name, no === undefined ? name : `${name},port_no=${no}`],
  });
  return [
    { name: "no such device", ...add("nobody") },
    { name: "the loopback device", ...add("lo") },
    { name: "a device of a bridge", ...add(bridged) },
    { name: "a number in use", ...add(device, 5) },
    { name: "a number too large", ...add(device, 70000) },
    {
      name: "delete a missing port",
      ours: () => dp.ports.delete(99),
      theirs: ["del-if", dp.name, "99"],
    },
    {
      name: "delete the local port",
      ours: () => dp.ports.delete(0),
      theirs: ["del-if", dp.name, "0"],
    },
  ];
}

function wrongDatapaths(dp: Datapath): WrongCall[] {
  const missing = newName();
  return [
    {
      name: "make a datapath that is there",
      ours: () => openDatapath(`system@${dp.name}`, { create: "exclusive" }),
      theirs: ["add-dp", dp.name],
    },
    {
      name: "open a missing datapath",
      ours: () => openDatapath(`system@${missing}`),
      theirs: ["show", missing],
    },
    {
      name: "a datapath named like a device",
      ours: () => openDatapath("system@lo", { create: "exclusive" }),
      theirs: ["add-dp", "lo"],
    },
  ];
}

systemTest(
  "wrong calls fail as they fail in ovs-dpctl, 40 of them and more",
  async (t) => {
    await using made = await makeDatapath();
    const { dp } = made;
    await using net = await makeHosts("se", 2);
    const [device = "", bridged = ""] = net.hosts.map((host) => host.device);
    await run("ip", "link", "add", "sebr", "type", "bridge");
    try {
      await run("ip", "link", "set", bridged, "master", "sebr");
      await dp.ports.add({ name: "seint", type: "internal", no: 5 });
      const calls = [
        ...refusals(dp),
        tooDeep(dp),
        ...wrongLookups(dp),
        ...wrongPorts(dp, device, bridged),
        ...wrongDatapaths(dp),
      ];
      ok(calls.length >= 40, `${calls.length}`);
      for (const { name, ours, theirs } of calls) {
        await t.step(name, async () => {
          const { code, operation, datapath } = await codeOf(ours);
          const { code: status, stderr } = await tryRun("ovs-dpctl", ...theirs);
          ok(status !== 0, `ovs-dpctl ${theirs.join(" ")} did not fail`);
          ok(stderr.toLowerCase().includes(`(${errnoText(code)})`), `${code}\n${stderr}`);
          ok(operation !== "");
          equal(datapath?.startsWith("system@"), true);
        });
      }
    } finally {
      await tryRun("ip", "link", "delete", "sebr");
    }
  },
);
