// SPDX-License-Identifier: Apache-2.0
/**
 * Where each scenario that Open vSwitch tests tunnels with is tested here, or why there is none.
 *
 * @module
 */
import type { Row } from "./scenarios_threads.ts";

const conformance = "tests/conformance/tunnels.ts";
const through = "packets go out and come in by ${type} over IPv${version}";
const roundTrip = "tunnel keys and actions come back as they were put";
const kinds = "tests/c/tnl_kinds_test.c";
const packets = "tests/c/tnl_test.c";
const pairs = "tests/netdev/tunnels/kinds.ts";
const peer = "tests/netdev/tunnels/peers_test.ts";
const resolver = "tests/netdev/tunnels/resolver_test.ts";
const commands = "tests/cli/tunnel_commands_test.ts";
const bytes = "tests/differential/tunnels_test.ts";
const rules = "tests/differential/tunnel_rules_test.ts";

const marks: Row = [resolver, "marks are followed, by policy routing"];
const withOpenVswitch: Row = [peer, "with Open vSwitch's userspace datapath"];
const options = "tables of Geneve options are OpenFlow's; flows here have the options";
const oneBridge =
  "one bridge's flows that another's lead to: a datapath here is one bridge";
const sharedPorts =
  "ports of OpenFlow that share one of the datapath: here each is its own";

/** By file of Open vSwitch, by title. */
export const tunnelRows: Readonly<Record<string, Readonly<Record<string, Row>>>> = {
  "tunnel.at": {
    "tunnel - input": [conformance, through],
    "tunnel - ECN decapsulation": [packets, "Congestion goes inside where it can."],
    "tunnel - input with matching tunnel mask": [conformance, roundTrip],
    "tunnel - too long nested attributes": ["tests/c/odp_test.c", "tunnel"],
    "tunnel - output": [conformance, through],
    "tunnel - unencrypted tunnel and not setting skb_mark": marks,
    "tunnel - unencrypted tunnel and setting skb_mark to 1": marks,
    "tunnel - unencrypted tunnel and setting skb_mark to 2": marks,
    "tunnel - ToS and TTL inheritance": [kinds, "tos=inherit"],
    "tunnel - set_tunnel": [conformance, "set(tunnel(tun_id=0x1"],
    "tunnel - key": [kinds, "key=9"],
    "tunnel - key match": [conformance, through],
    "tunnel - Geneve": [kinds, "static void test_geneve"],
    "tunnel - VXLAN": [packets, "static void test_vxlan_push"],
    "tunnel - table version": options,
    "tunnel - LISP": "neither datapath has LISP, nor has Linux",
    "tunnel - ERSPAN": [kinds, "static void test_erspan"],
    "tunnel - different VXLAN UDP port": [pairs, 'dst_port: "4790"'],
    "ofproto-dpif - set_field - tun_src/tun_dst/tun_id": [
      conformance,
      "set(tunnel(tun_id=0x1",
    ],
    "tunnel - ERSPAN v1/v2 metadata": [kinds, "static void test_erspan"],
    "tunnel - Geneve metadata": [kinds, "static void test_geneve"],
    "tunnel - Geneve option present": [kinds, "static void test_geneve"],
    "tunnel - Delete Geneve option": options,
    "tunnel - concomitant IPv6 and IPv4 tunnels": [
      "tests/c/tnl_fixture.h",
      "hop_to(10, REMOTE6",
    ],
    "tunnel - concomitant incompatible tunnels on the same port": sharedPorts,
    "tunnel - concomitant incompatible tunnels on different ports": sharedPorts,
    "tunnel - Mix Geneve/GRE options": [bytes, "popFlows"],
    "tunnel - neighbor entry add and deletion": [commands, "tnl/neigh/flush"],
    "tunnel - GTP-U basic": [kinds, "static void test_gtpu"],
    "tunnel - GTP-U push and pop": [rules, "headers of GTP-U and ERSPAN"],
    "tunnel - re-create port with different types": [
      conformance,
      "ports of every kind are added, listed and deleted",
    ],
  },
  "tunnel-push-pop.at": {
    "tunnel_push_pop - erspan": [rules, "headers of GTP-U and ERSPAN"],
    "tunnel_push_pop - action": [bytes, "headers and metadata are Open vSwitch's"],
    "tunnel_push_pop - packet_out": [packets, "static void test_sent_and_depth"],
    "tunnel_push_pop - packet_out debug_slow":
      "the slow path is of OpenFlow; a packet that is executed goes the way of all",
    "tunnel_push_pop - underlay bridge match": [
      packets,
      "Looked up as received from port 0",
    ],
    "tunnel_push_pop - flow translation on unrelated bridges": oneBridge,
    "tunnel_push_pop - VXLAN access port": [
      resolver,
      "addresses of ports are ours, those of VLANs with their tag",
    ],
    "tunnel_push_pop - no clone when is_last_action":
      "about which actions OpenFlow makes of a rule; programs here write actions themselves",
  },
  "tunnel-push-pop-ipv6.at": {
    "tunnel_push_pop_ipv6 - ip6gre": withOpenVswitch,
    "tunnel_push_pop_ipv6 - ip6erspan": [rules, "headers of GTP-U and ERSPAN"],
    "tunnel_push_pop_ipv6 - action": [bytes, "headers and metadata are Open vSwitch's"],
  },
};

/** How many of them are tested here, and how many have a reason. */
export const tunnelCounts = { tested: 34, reasons: 8 } as const;
