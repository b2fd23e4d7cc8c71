// SPDX-License-Identifier: Apache-2.0
/**
 * What the key of a packet is when a header has been put in front of it, or taken away.
 *
 * @module
 */
import type { Action, FlowKey } from "../../providers/types.ts";

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };

/** What only what follows an Ethernet header, or a label, tells. */
const network = ["ipv4", "ipv6", "arp", "mpls", "nsh", "nd", "ndExtensions"] as const;
const transport = ["tcp", "tcpFlags", "udp", "sctp", "icmp", "icmpv6"] as const;

function forget(key: Mutable<FlowKey>): void {
  for (const name of [...network, ...transport]) delete key[name];
}

/** The packet has no Ethernet header, and is of this type. */
function bare(key: Mutable<FlowKey>, etherType: number): void {
  delete key.ethernet;
  delete key.vlans;
  key.etherType = etherType;
  key.packetType = { ns: 1, id: etherType };
}

function setType(key: Mutable<FlowKey>, etherType: number): void {
  key.etherType = etherType;
  if (key.packetType !== undefined) key.packetType = { ns: 1, id: etherType };
}

/**
 * Changes the key as the action does. False: it is no such action. A text: what is inside only the
 * packet tells.
 */
export function moveHeader(action: Action, key: Mutable<FlowKey>): boolean | string {
  switch (action.type) {
    case "pushEth":
      key.ethernet = { src: action.src, dst: action.dst };
      delete key.packetType;
      return true;
    case "popEth":
      bare(key, key.etherType ?? 0);
      return true;
    case "pushMpls":
    case "addMpls": {
      const { label, tc, ttl, bos, etherType } = action;
      const below = key.mpls ?? [];
      forget(key);
      key.mpls = [{ label, tc, ttl, bos }, ...below].slice(0, 3);
      if (action.type === "addMpls" && !(action.tunnelFlags & 1)) bare(key, etherType);
      else setType(key, etherType);
      return true;
    }
    case "popMpls": {
      const left = (key.mpls ?? []).slice(1);
      forget(key);
      setType(key, action.etherType);
      if (left.length > 0) {
        key.mpls = left;
        return true;
      }
      return "what is below the label only the packet tells";
    }
    case "pushNsh":
      forget(key);
      bare(key, 0x894f);
      key.nsh = action.nsh;
      return true;
    case "popNsh":
      forget(key);
      return "what is behind the service header only the packet tells";
    default:
      return false;
  }
}
