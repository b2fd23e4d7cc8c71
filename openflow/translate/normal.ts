// SPDX-License-Identifier: Apache-2.0
/**
 * NORMAL: a switch that learns where addresses are, within each VLAN.
 *
 * Ports are in VLANs as Open vSwitch's columns `tag`, `trunks` and `vlan_mode` say; without them a
 * port carries all VLANs, and packets without a tag are in VLAN 0.
 *
 * @module
 */
import type { OfAction } from "../wire/action.ts";
import { fieldOfName } from "../wire/field.ts";
import { readBits, VLAN_PRESENT, Word } from "../wire/flow.ts";
import { PortConfig, PortState } from "../wire/object.ts";
import { Port } from "../wire/port_number.ts";
import type { Bundle, SwitchPort } from "./pipeline.ts";
import type { Way } from "./way.ts";

const source = fieldOfName("eth_src");
const destination = fieldOfName("eth_dst");
const tag = fieldOfName("vlan_vid");
const priority = fieldOfName("vlan_pcp");
/** The bit of an address that says that it is of many. */
const MULTICAST = 1n << 40n;
const VID = 0xfff;

/** Addresses of protocols between neighbours: 802.1D's sixteen, those of Cisco and of Extreme. */
function isReserved(address: bigint): boolean {
  return address >> 4n === 0x01_80c2_0000_0n || others.has(address) ||
    address >> 3n === 0x01000cccccc0n >> 3n;
}
const others: ReadonlySet<bigint> = new Set([
  ...[0x00e02b000000n, 0x00e02b000004n, 0x00e02b000006n],
  ...[0x01000c000000n, 0x01000cccccccn, 0x01000ccccccdn, 0x01000ccdcdcdn],
]);

/** Ports that are one to NORMAL. */
function bundleOf(port: SwitchPort): Bundle {
  return port.bundle ?? {
    name: port.name,
    mode: "trunk",
    tag: 0,
    isProtected: false,
    priorityTags: "no",
    ports: [port.port],
  };
}

/** What packets are in that a controller sends by no port. */
const none: Bundle = {
  name: "",
  mode: "trunk",
  tag: 0,
  isProtected: false,
  priorityTags: "no",
  ports: [],
};

function carries({ mode, tag, trunks }: Bundle, vlan: number): boolean {
  if (mode === "access" || mode === "dot1q-tunnel") return vlan === tag;
  if (mode !== "trunk") {
    if (vlan === tag) return true;
    if (vlan === 0) return false; // Packets without a tag are in the native VLAN.
  }
  return trunks === undefined || trunks.has(vlan);
}

/** The VLAN of a packet that came in with a tag, 0 without; undefined if it may not come in. */
function vlanOf(from: Bundle, vid: number): number | undefined {
  switch (from.mode) {
    case "access":
      return vid === 0 ? from.tag : undefined;
    case "dot1q-tunnel":
      return from.tag;
    case "trunk":
      return carries(from, vid) ? vid : undefined;
    default:
      return vid === 0 ? from.tag : carries(from, vid) ? vid : undefined;
  }
}

/** Sends a packet as a learning switch would. */
export function normal(way: Way): void {
  const { pipeline, now: { flow } } = way;
  const ports = pipeline.ports.value;
  for (const field of [source, destination, tag]) way.see(field);
  const to = readBits(flow, destination);
  const { forwardBpdu, floodVlans } = pipeline.normal.value;
  if (!forwardBpdu && isReserved(to)) return way.drop("a frame for neighbours only");
  const desc = ports.get(way.inPort);
  const isProgram = way.inPort === Port.none || way.inPort === Port.controller;
  if (desc === undefined && !isProgram) return way.drop("no such port");
  const from = desc === undefined ? none : bundleOf(desc);
  const tci = flow[Word.vlan] as number;
  const vid = tci & VID;
  const vlan = vlanOf(from, vid);
  if (vlan === undefined) return way.drop(`port ${from.name} is not in VLAN ${vid}`);
  const keyOf = (address: bigint): string => `${vlan} ${address.toString(16)}`;
  const address = readBits(flow, source);
  const learns = !floodVlans.has(vlan);
  if ((address & MULTICAST) === 0n && desc !== undefined && learns) {
    const { stations } = pipeline;
    const lesson = { table: stations, key: keyOf(address), value: way.inPort };
    way.lessons = [...way.lessons, lesson];
  }
  const known = (to & MULTICAST) === 0n && learns
    ? pipeline.stations.get(keyOf(to))
    : undefined;
  const there = known === undefined ? undefined : ports.get(known);
  const isTagged = (tci & VLAN_PRESENT) !== 0 && from.mode !== "dot1q-tunnel";
  const out = there === undefined ? undefined : bundleOf(there);
  // What packets taught before a port changed may be heard after that.
  if (out !== undefined && carries(out, vlan)) {
    if (out.name === from.name) return way.drop("it is at the port that it came by");
    if (out.isProtected && from.isProtected) return way.drop("both ports are protected");
    return send(way, out, ports, { vlan, isTagged });
  }
  const done = new Set([from.name]);
  for (const port of ports.values()) {
    const out = bundleOf(port);
    if (done.has(out.name) || port.config & PortConfig.noFlood) continue;
    done.add(out.name);
    if (out.isProtected && from.isProtected || !carries(out, vlan)) continue;
    if (!way.spendOnFlood()) return;
    send(way, out, ports, { vlan, isTagged });
  }
}

/** Sends it out of a bundle, with the tag that it has there. */
function send(
  way: Way,
  out: Bundle,
  ports: ReadonlyMap<number, SwitchPort>,
  { vlan, isTagged }: { readonly vlan: number; readonly isTagged: boolean },
): void {
  const live = out.ports.filter((port) => ports.has(port));
  const isUp = (port: number): boolean =>
    ((ports.get(port)?.state ?? 0) & PortState.live) !== 0;
  const port = live.find(isUp) ?? live[0];
  if (port === undefined) return;
  const isPlain = out.mode === "access" || out.mode === "dot1q-tunnel" ||
    out.mode === "native-untagged" && vlan === out.tag;
  const vid = isPlain ? 0 : vlan;
  const current = (way.now.flow[Word.vlan] as number) & VID;
  const list: OfAction[] = [];
  const setVid: OfAction = {
    type: "setField",
    form: "set",
    field: tag,
    value: BigInt(vid | VLAN_PRESENT),
    mask: 0x1fffn,
  };
  if (vid !== 0 || keepsPriority(way, out, isTagged)) {
    if (!isTagged) list.push({ type: "pushVlan", etherType: 0x8100 }, setVid);
    else if (current !== vid) list.push(setVid);
  } else if (isTagged) list.push({ type: "popVlan" });
  if (list.length === 0) way.output(port);
  else way.aside([...list, { type: "output", port, maxLength: 0 }]);
}

/** Whether a packet of no VLAN has a tag that says its priority. */
function keepsPriority(way: Way, { priorityTags }: Bundle, isTagged: boolean): boolean {
  if (priorityTags === "always") return true;
  if (priorityTags === "no" || !isTagged) return false;
  way.see(priority);
  return readBits(way.now.flow, priority) !== 0n;
}
