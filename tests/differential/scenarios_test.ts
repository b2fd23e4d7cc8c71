// SPDX-License-Identifier: Apache-2.0
/**
 * Where each scenario that Open vSwitch tests its userspace datapath, poll threads, tunnels,
 * labels, service headers and packet types with is tested here, or why there is none. The list of
 * them is that of Debian's package openvswitch-source, so that a later one's new scenarios ask for
 * a row.
 */
import assert from "node:assert/strict";
import { shell } from "../support/command.ts";
import { skippable, Unsupported } from "../support/skip.ts";
import { type Row, threadRows } from "./scenarios_threads.ts";
import { tunnelCounts, tunnelRows } from "./scenarios_tunnels.ts";

const TARBALL = "/usr/src/openvswitch/openvswitch.tar.gz";

const ofproto =
  "decides in OpenFlow tables which actions a flow gets; there are none here, and the actions are compared " +
  "in families_test.ts";
const hardware = "no device here takes flows: the facet offload is absent";

const rows: Readonly<Record<string, Readonly<Record<string, Row>>>> = {
  ...threadRows,
  ...tunnelRows,
  "dpif-netdev.at": {
    "dpif-netdev - netdev-dummy/receive": [
      "tests/conformance/upcalls.ts",
      "upcalls of one port come in order",
    ],
    "dpif-netdev - $1 interface": [
      "tests/conformance/flows.ts",
      "packets go by the flow that covers them",
    ],
    "dpif-netdev - miss upcall key matches flow_install - $1": [
      "tests/differential/keys_test.ts",
      "packets hit in Open vSwitch the exact flow of the key that their upcall had here",
    ],
    "dpif-netdev - datapath flow modification - $1": [
      "tests/conformance/flows.ts",
      "modify alone changes what is there",
    ],
    "dpif-netdev - miss upcall key matches flow_dump - $1": [
      "tests/conformance/flows.ts",
      "the key of every upcall makes a flow",
    ],
    "dpif-netdev - meters": [
      "tests/differential/meters_test.ts",
      "meters drop and count what",
    ],
    "dpif-netdev - partial hw offload - $1": hardware,
    "dpif-netdev - partial hw offload with packet modifications - $1": hardware,
    "dpif-netdev - partial hw offload with arp vlan id packet modifications - $1":
      hardware,
    "dpif-netdev - check dpctl/add-flow in_port exact match": [
      "tests/conformance/flows.ts",
      "in_port must be exact, where tables are by port",
    ],
    "dpif-netdev - check dpctl/add-flow wider ip match": [
      "tests/conformance/flows.ts",
      "a flow whose key is covered already is EEXIST",
    ],
    "dpif-netdev - tx packet steering":
      "which queue a packet leaves by follows its poll thread; another steering is not offered",
  },
  "mpls-xlate.at": {
    "MPLS xlate action": ["tests/differential/families.ts", "const pushMpls"],
    "MPLS xlate action - patch-port": ofproto,
    "MPLS xlate action - group bucket": ofproto,
    "Encap Decap MPLS xlate action": ["tests/differential/families.ts", "const addMpls"],
    "Encap MPLS xlate action - max labels": ofproto,
    "Decap MPLS xlate action - max labels": [
      "tests/differential/edges.ts",
      "three labels without a bottom of stack",
    ],
  },
  "nsh.at": {
    "nsh - matching": [
      "tests/differential/families_test.ts",
      "keys of frames at random, service headers among them",
    ],
    "nsh - md1 encap over a veth link": [
      "tests/netdev/layer3_test.ts",
      "service headers are pushed, matched, set, popped",
    ],
    "nsh - md2 encap over a veth link": ["tests/differential/families.ts", "mdtype=2"],
    "nsh - double encap over veth link using groups": [
      "tests/differential/families.ts",
      "const pushNsh",
    ],
    "nsh - triangle PTAP bridge setup with NSH over vxlan-gpe":
      "the generic protocol extension is of the kernel's vxlan alone; the headers are compared in families_test.ts",
  },
  "packet-type-aware.at": {
    "ptap - legal flow entries in ptap bridge": [
      "tests/netdev/layer3_test.ts",
      "actions that cannot be done to every packet of a flow are refused",
    ],
    "ptap - triangle bridge setup with L2 and L3 GRE tunnels": [
      "tests/c/tnl_kinds_test.c",
      "static void test_gre",
    ],
    "ptap - check decap() prerequisits": [
      "tests/c/act_header_test.c",
      "the packet has no Ethernet header there",
    ],
    "ptap - check encap/decap VLAN tagged Ethernet frame": [
      "tests/differential/families.ts",
      "const popEth",
    ],
    "ptap - L3 over patch port":
      "ports of type patch are for frames: another packet is dropped as tx_packet_type",
    "ptap - recirculate after packet_type change": [
      "tests/differential/families.ts",
      "recirc(<${round + 1}>)",
    ],
  },
};

Deno.test(
  "every scenario of Open vSwitch for these is tested here, or has a reason",
  skippable(async () => {
    try {
      await Deno.stat(TARBALL);
    } catch {
      throw new Unsupported("package openvswitch-source", { requirement: "tool" });
    }
    for (const [file, table] of Object.entries(rows)) {
      const text = await shell(`tar -xzOf ${TARBALL} openvswitch/tests/${file}`);
      const titles = [...text.matchAll(/AT_SETUP\(\[(.*)\]\)/g)].map(([, title]) =>
        title
      );
      assert.deepEqual(Object.keys(table).sort(), titles.sort(), file);
      for (const [title, row] of Object.entries(table)) {
        if (typeof row === "string") continue;
        const [path, words] = row;
        const source = await Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
        assert.ok(source.includes(words), `${title}: ${path} has no "${words}"`);
      }
    }
  }),
);

Deno.test("scenarios of tunnels are tested, but for those that have a reason", () => {
  const all = Object.values(tunnelRows).flatMap((table) => Object.values(table));
  const reasons = all.filter((row) => typeof row === "string").length;
  assert.deepEqual({ tested: all.length - reasons, reasons }, tunnelCounts);
});
