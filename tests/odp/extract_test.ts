// SPDX-License-Identifier: Apache-2.0
// extractKey() sees in a packet what Open vSwitch sees.

import assert from "node:assert/strict";
import { printFlags, tcpFlagNames } from "../../providers/odp/text/fields.ts";
import { extractKey, hostileFrames } from "./frames.ts";
import type { FlowKey } from "../../providers/types.ts";
import { run, tryRun } from "../support/command.ts";
import { skippable, Unsupported } from "../support/skip.ts";

/** What `ovs-ofctl parse-pcap` would print of a key, field by field. */
function openflow(key: FlowKey): Map<string, string> {
  const fields = new Map<string, string>();
  const put = (name: string, value: string | number) => fields.set(name, `${value}`);
  const hex = (value: number) => `0x${value.toString(16)}`;
  put("dl_src", key.ethernet?.src ?? "");
  put("dl_dst", key.ethernet?.dst ?? "");
  const [tag, inner] = key.vlans ?? [];
  if (tag && tag.cfi === 1) {
    put("dl_vlan", tag.vid);
    put("dl_vlan_pcp", tag.pcp);
  } else put("vlan_tci", "0x0000");
  if (inner && inner.cfi === 1) {
    put("dl_vlan1", inner.vid);
    put("dl_vlan_pcp1", inner.pcp);
  }
  if (key.ipv4 || key.ipv6) {
    const tos = key.ipv4?.tos ?? key.ipv6?.tclass ?? 0;
    put("nw_tos", tos & 0xfc);
    put("nw_ecn", tos & 3);
    put("nw_ttl", key.ipv4?.ttl ?? key.ipv6?.hlimit ?? 0);
    put("nw_frag", key.ipv4?.frag ?? key.ipv6?.frag ?? "");
  }
  if (key.ipv4) {
    put("nw_src", key.ipv4.src);
    put("nw_dst", key.ipv4.dst);
  }
  if (key.ipv6) {
    put("ipv6_src", key.ipv6.src);
    put("ipv6_dst", key.ipv6.dst);
    put("ipv6_label", `0x${key.ipv6.label.toString(16).padStart(5, "0")}`);
  }
  const ports = key.tcp ?? key.udp ?? key.sctp;
  if (ports) {
    put("tp_src", ports.src);
    put("tp_dst", ports.dst);
  }
  if (key.tcpFlags !== undefined) {
    put("tcp_flags", printFlags(key.tcpFlags, tcpFlagNames));
  }
  const message = key.icmp ?? key.icmpv6;
  if (message) {
    put("icmp_type", message.type);
    put("icmp_code", message.code);
  }
  if (key.nd) {
    put("nd_target", key.nd.target);
    put("nd_sll", key.nd.sll);
    put("nd_tll", key.nd.tll);
  }
  if (key.arp) {
    put("arp_spa", key.arp.sip);
    put("arp_tpa", key.arp.tip);
    put("arp_op", key.arp.op);
    put("arp_sha", key.arp.sha);
    put("arp_tha", key.arp.tha);
  }
  const [label] = key.mpls ?? [];
  if (label) {
    put("mpls_label", label.label);
    put("mpls_tc", label.tc);
    put("mpls_ttl", label.ttl);
    put("mpls_bos", label.bos);
  }
  if (key.nsh) {
    put("nsh_flags", key.nsh.flags);
    put("nsh_ttl", key.nsh.ttl);
    put("nsh_mdtype", key.nsh.mdtype);
    put("nsh_np", key.nsh.np);
    put("nsh_spi", hex(key.nsh.spi));
    put("nsh_si", key.nsh.si);
    for (const [i, word] of (key.nsh.contexts ?? []).entries()) {
      put(`nsh_c${i + 1}`, hex(word));
    }
  }
  return fields;
}

/** What Open vSwitch prints that a key does not show, or shows as something else. */
const ignored =
  /^(in_port|metadata|vlan_tci1|nd_reserved|nd_options_type|mpls_lse\d|igmp_.*)$/;

/** EtherTypes by the word that stands for them and for the protocol. */
function protocol(key: FlowKey): string {
  const type = key.etherType;
  const proto = key.ipv4?.proto ?? key.ipv6?.proto;
  const six = key.ipv6 ? "6" : "";
  if (type === 0x0800 || type === 0x86dd) {
    const names: Record<number, string> = { 6: "tcp", 17: "udp", 132: "sctp" };
    const name = names[proto ?? -1];
    if (name !== undefined) return name + six;
    if (proto === 1 && !key.ipv6) return "icmp";
    if (proto === 58 && key.ipv6) return "icmp6";
    return key.ipv6 ? "ipv6" : "ip";
  }
  const names: Record<number, string> = {
    0x0806: "arp",
    0x8035: "rarp",
    0x8847: "mpls",
    0x8848: "mplsm",
  };
  return names[type ?? 0] ?? "";
}

function pcap(frames: readonly Uint8Array[]): Uint8Array {
  const size = frames.reduce((sum, { length }) => sum + 16 + length, 24);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  const header = [0xa1b2c3d4, 0x00040002, 0, 0, 0xffff, 1];
  for (const [i, word] of header.entries()) view.setUint32(4 * i, word, true);
  let at = 24;
  for (const frame of frames) {
    view.setUint32(at + 8, frame.length, true);
    view.setUint32(at + 12, frame.length, true);
    bytes.set(frame, at + 16);
    at += 16 + frame.length;
  }
  return bytes;
}

Deno.test(
  "ovs-ofctl sees in thousands of frames what extractKey() sees",
  skippable(async () => {
    const { code } = await tryRun("ovs-ofctl", "--version").catch(() => ({ code: 1 }));
    if (code !== 0) throw new Unsupported("program ovs-ofctl", { requirement: "peer" });
    const frames = hostileFrames();
    assert.ok(frames.length >= 5000, `only ${frames.length} frames`);
    const file = await Deno.makeTempFile({ prefix: "upcall-", suffix: ".pcap" });
    let lines: string[];
    try {
      await Deno.writeFile(file, pcap(frames));
      lines = (await run("ovs-ofctl", "parse-pcap", file)).trimEnd().split("\n");
    } finally {
      await Deno.remove(file);
    }
    assert.equal(lines.length, frames.length);
    for (const [i, frame] of frames.entries()) {
      const line = lines[i] ?? "";
      const key = extractKey(frame, { inPort: 1 });
      const words = line.split(",");
      const theirs = new Map(
        words.filter((word) => word.includes("=")).map((word) => {
          const at = word.indexOf("=");
          return [word.slice(0, at), word.slice(at + 1)] as const;
        }),
      );
      const what = `${frame.toHex()}\n${line}\n${JSON.stringify(key, (_, v) => v)}`;
      const word = words[0]?.includes("=") ? "" : words[0];
      assert.equal(word, protocol(key), what);
      const type = theirs.get("dl_type");
      if (word === "" && key.etherType !== undefined) {
        assert.equal(Number(type), key.etherType, what);
      }
      const proto = key.ipv4?.proto ?? key.ipv6?.proto;
      if (word === "ip" || word === "ipv6") {
        assert.equal(theirs.get("nw_proto"), `${proto}`, what);
      }
      const ours = openflow(key);
      for (const [name, value] of ours) {
        assert.equal(theirs.get(name), value, `${name}\n${what}`);
      }
      if (!key.ipv4 && !key.ipv6) continue;
      for (const name of theirs.keys()) {
        if (name === "dl_type" || name === "nw_proto" || ignored.test(name)) continue;
        // IGMP shows its type in the fields of ports; keys have no field for it.
        if (proto === 2 && name.startsWith("tp_")) continue;
        assert.ok(ours.has(name), `${name} is missing\n${what}`);
      }
    }
  }),
);
