// SPDX-License-Identifier: Apache-2.0
/**
 * NORMAL: a switch that learns where addresses are, within each VLAN.
 *
 * Ports are in VLANs as Open vSwitch's columns `tag`, `trunks` and `vlan_mode` say; without them a
 * port carries all VLANs, and packets without a tag are in VLAN 0.
 *
 * @module
 */
import { fieldOfName } from "../../wire/field.ts";
import { readBits, VLAN_PRESENT, Word } from "../../wire/flow.ts";
import { PortConfig } from "../../wire/object.ts";
import { Port } from "../../wire/port_number.ts";
import type { Way } from "../way.ts";
import { refusal } from "./bond.ts";
import { isForCopies } from "./mirror.ts";
import { isReserved } from "./reserved.ts";
import { bundleOf, carries, noBundle, sendOut, vlanOf } from "./vlan.ts";

const source = fieldOfName("eth_src");
const destination = fieldOfName("eth_dst");
const tag = fieldOfName("vlan_vid");
/** The bit of an address that says that it is of many. */
const MULTICAST = 1n << 40n;
const VID = 0xfff;

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
  const from = desc === undefined ? noBundle : bundleOf(desc);
  const mirrors = pipeline.mirrors.value;
  if (isForCopies(mirrors, from)) {
    return way.drop(`port ${from.name} is for a mirror only`);
  }
  const tci = flow[Word.vlan] as number;
  const vid = tci & VID;
  const vlan = vlanOf(from, vid);
  if (vlan === undefined) return way.drop(`port ${from.name} is not in VLAN ${vid}`);
  const keyOf = (address: bigint): string => `${vlan} ${address.toString(16)}`;
  const address = readBits(flow, source);
  const learns = !floodVlans.has(vlan);
  if (from.bond !== undefined) {
    const at = learns
      ? ports.get(pipeline.stations.get(keyOf(address)) ?? NaN)
      : undefined;
    const isElsewhere = at !== undefined && bundleOf(at).name !== from.name;
    const why = refusal(way, from, { isElsewhere });
    if (why !== undefined) return way.drop(why);
  }
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
  const inner = (): number => from.mode === "dot1q-tunnel" ? vid : way.seeInnerVlan();
  const out = there === undefined ? undefined : bundleOf(there);
  // What packets taught before a port changed may be heard after that.
  if (out !== undefined && carries(out, vlan, inner)) {
    if (out.name === from.name) return way.drop("it is at the port that it came by");
    if (isForCopies(mirrors, out)) return way.drop("it is at the port of a mirror");
    if (out.isProtected && from.isProtected) return way.drop("both ports are protected");
    way.tell("forwarding to learned port");
    return sendOut(way, out, ports, { vlan, isTagged });
  }
  way.tell("no learned MAC for destination, flooding");
  const done = new Set([from.name]);
  for (const port of ports.values()) {
    const out = bundleOf(port);
    if (done.has(out.name) || port.config & PortConfig.noFlood) continue;
    done.add(out.name);
    if (out.isProtected && from.isProtected || !carries(out, vlan, inner)) continue;
    if (isForCopies(mirrors, out)) continue;
    if (!way.spendOnFlood()) return;
    sendOut(way, out, ports, { vlan, isTagged });
  }
}
