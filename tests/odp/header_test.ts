// SPDX-License-Identifier: Apache-2.0
// The tables agree with the installed kernel header as far as it goes, and with a list of
// newer ids beyond it.

import assert from "node:assert/strict";
import { actionTable, SET_MASKED } from "../../providers/odp/action.ts";
import type { AttributeSet } from "../../providers/odp/attributes.ts";
import { ctNest, natNest } from "../../providers/odp/payload/ct.ts";
import { ENCAP, keyTable, VLAN } from "../../providers/odp/key.ts";
import * as messages from "../../providers/system/ovs_messages.ts";
import * as conntrack from "../../providers/system/ct_messages.ts";
import { tunnelKey } from "../../providers/odp/payload/tunnel.ts";
import { skippable, Unsupported } from "../support/skip.ts";

/** Values of the constants of all enumerations in a header. */
async function constants(file: string): Promise<Map<string, number>> {
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch {
    throw new Unsupported(`header ${file}`, { requirement: "tool" });
  }
  const values = new Map<string, number>();
  const plain = text.replaceAll(/\/\*[^]*?\*\//g, "")
    .replaceAll(/#ifdef __KERNEL__[^]*?#endif/g, "")
    .replaceAll(/^#.*$/gm, "");
  for (const [, body = ""] of plain.matchAll(/enum\s*\w*\s*\{([^]*?)\}/g)) {
    let next = 0;
    for (const item of body.split(",")) {
      const match = /^\s*(\w+)\s*(?:=\s*(\w+))?\s*$/.exec(item);
      if (match?.[1] === undefined) continue;
      const [, name, value] = match;
      if (value !== undefined) next = values.get(value) ?? Number(value);
      values.set(name, next++);
    }
  }
  return values;
}

const snake = (name: string) =>
  name.replaceAll(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase();

/** Checks each line of a set against `prefix` + its name in the header. */
function check(
  header: ReadonlyMap<string, number>,
  prefix: string,
  lines: Iterable<readonly [string, { readonly id: number }]>,
  names: Readonly<Record<string, string>>,
  newer: Readonly<Record<string, number>> = {},
): number {
  let checked = 0;
  for (const [name, { id }] of lines) {
    const constant = prefix + (names[name] ?? snake(name));
    const expected = header.get(constant) ?? newer[constant];
    assert.equal(id, expected, `${name}: ${constant}`);
    checked++;
  }
  return checked;
}

function linesOf<T extends object>(set: AttributeSet<T>) {
  return set.attributes.map((line) => [line.name, line] as const);
}

Deno.test(
  "ids are those of linux/openvswitch.h",
  skippable(async () => {
    const header = await constants("/usr/include/linux/openvswitch.h");
    let checked = check(header, "OVS_KEY_ATTR_", Object.entries(keyTable), {
      ctLabels: "CT_LABELS",
      ctTuple4: "CT_ORIG_TUPLE_IPV4",
      ctTuple6: "CT_ORIG_TUPLE_IPV6",
      etherType: "ETHERTYPE",
      ipv6Exthdrs: "IPV6_EXTHDRS",
    }, {
      // Of Open vSwitch's userspace; the kernel keeps the numbers free.
      OVS_KEY_ATTR_PACKET_TYPE: 29,
      OVS_KEY_ATTR_ND_EXTENSIONS: 30,
      OVS_KEY_ATTR_IPV6_EXTHDRS: 32, // Linux 5.18
    });
    assert.equal(header.get("OVS_KEY_ATTR_ENCAP"), ENCAP);
    assert.equal(header.get("OVS_KEY_ATTR_VLAN"), VLAN);
    checked += check(header, "OVS_TUNNEL_KEY_ATTR_", linesOf(tunnelKey), {
      src: "IPV4_SRC",
      dst: "IPV4_DST",
      checksum: "CSUM",
      srcPort: "TP_SRC",
      dstPort: "TP_DST",
      vxlanGbp: "VXLAN_OPTS",
      geneve: "GENEVE_OPTS",
      erspan: "ERSPAN_OPTS",
      gtpu: "GTPU_OPTS",
      infoBridge: "IPV4_INFO_BRIDGE",
    }, { OVS_TUNNEL_KEY_ATTR_GTPU_OPTS: 16, OVS_TUNNEL_KEY_ATTR_IPV4_INFO_BRIDGE: 16 });
    checked += check(header, "OVS_ACTION_ATTR_", Object.entries(actionTable), {
      tunnelPush: "TUNNEL_PUSH",
      tunnelPop: "TUNNEL_POP",
    }, {
      OVS_ACTION_ATTR_DEC_TTL: 23, // Linux 5.7
      OVS_ACTION_ATTR_DROP: 24, // Linux 6.6
      OVS_ACTION_ATTR_PSAMPLE: 25, // Linux 6.11
      OVS_ACTION_ATTR_TUNNEL_PUSH: 26,
      OVS_ACTION_ATTR_TUNNEL_POP: 27,
      OVS_ACTION_ATTR_LB_OUTPUT: 28,
    });
    assert.equal(header.get("OVS_ACTION_ATTR_SET_MASKED"), SET_MASKED);
    checked += check(header, "OVS_CT_ATTR_", linesOf(ctNest), { eventMask: "EVENTMASK" });
    checked += check(header, "OVS_NAT_ATTR_", linesOf(natNest), {
      min: "IP_MIN",
      max: "IP_MAX",
      portMin: "PROTO_MIN",
      portMax: "PROTO_MAX",
      hash: "PROTO_HASH",
      random: "PROTO_RANDOM",
    });
    checked += check(header, "OVS_DP_ATTR_", linesOf(messages.datapathMessage), {}, {
      OVS_DP_ATTR_IFINDEX: 9, // Linux 6.1
    });
    checked += check(header, "OVS_VPORT_ATTR_", linesOf(messages.vportMessage), {
      upcallPids: "UPCALL_PID",
    }, { OVS_VPORT_ATTR_UPCALL_STATS: 10 }); // Linux 6.2
    checked += check(header, "OVS_FLOW_ATTR_", linesOf(messages.flowMessage), {});
    checked += check(header, "OVS_PACKET_ATTR_", linesOf(messages.packetMessage), {
      egressTunnelKey: "EGRESS_TUN_KEY",
      length: "LEN",
    }, { OVS_PACKET_ATTR_UPCALL_PID: 12 }); // Linux 6.17
    checked += check(header, "OVS_METER_ATTR_", linesOf(messages.meterMessage), {});
    checked += check(header, "OVS_CT_LIMIT_ATTR_", linesOf(messages.ctLimitMessage), {
      zones: "ZONE_LIMIT",
    });
    assert.ok(checked >= 130, `only ${checked} lines`);
  }),
);

Deno.test(
  "ids are those of nfnetlink_conntrack.h",
  skippable(async () => {
    const header = await constants("/usr/include/linux/netfilter/nfnetlink_conntrack.h");
    const checked = check(header, "CTA_", linesOf(conntrack.ctMessage), {
      protoInfo: "PROTOINFO",
      securityContext: "SECCTX",
    });
    const policies = await constants(
      "/usr/include/linux/netfilter/nfnetlink_cttimeout.h",
    );
    check(policies, "CTA_TIMEOUT_", linesOf(conntrack.ctTimeoutMessage), {
      l3Proto: "L3PROTO",
      l4Proto: "L4PROTO",
    });
    check(policies, "CTA_TIMEOUT_TCP_", linesOf(conntrack.ctTimeoutTcp), {
      synSent2: "SYN_SENT2",
    });
    check(policies, "CTA_TIMEOUT_UDP_", linesOf(conntrack.ctTimeoutUdp), {});
    check(policies, "CTA_TIMEOUT_ICMP_", linesOf(conntrack.ctTimeoutIcmp), {
      timeout: "TIMEOUT",
    });
    assert.equal(checked, conntrack.ctMessage.attributes.length);
  }),
);
