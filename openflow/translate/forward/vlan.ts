// SPDX-License-Identifier: Apache-2.0
/**
 * Bundles of ports, and the VLANs that they are in: which one a packet is in that came by one, and
 * with which tag it goes out of another.
 *
 * @module
 */
import type { OfAction } from "../../wire/action.ts";
import { fieldOfName } from "../../wire/field.ts";
import { readBits, VLAN_PRESENT, Word } from "../../wire/flow.ts";
import { PortState } from "../../wire/object.ts";
import type { Bundle, SwitchPort } from "../pipeline.ts";
import type { Way } from "../way.ts";
import { sendByBond } from "./bond.ts";

const tag = fieldOfName("vlan_vid");
const priority = fieldOfName("vlan_pcp");
const VID = 0xfff;

/** Ports that are one to NORMAL. */
export function bundleOf(port: SwitchPort): Bundle {
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
export const noBundle: Bundle = {
  name: "",
  mode: "trunk",
  tag: 0,
  isProtected: false,
  priorityTags: "no",
  ports: [],
};

/**
 * Whether packets of a VLAN go out of a bundle; `inner` is the VLAN within that, which only tunnels
 * of 802.1Q look at.
 */
export function carries(
  { mode, tag, trunks, customers }: Bundle,
  vlan: number,
  inner = (): number => 0,
): boolean {
  if (mode === "access") return vlan === tag;
  if (mode === "dot1q-tunnel") {
    return vlan === tag && (customers === undefined || customers.has(inner()));
  }
  if (mode !== "trunk") {
    if (vlan === tag) return true;
    if (vlan === 0) return false; // Packets without a tag are in the native VLAN.
  }
  return trunks === undefined || trunks.has(vlan);
}

/** The VLAN of a packet that came in with a tag, 0 without; undefined if it may not come in. */
export function vlanOf(from: Bundle, vid: number): number | undefined {
  switch (from.mode) {
    case "access":
      return vid === 0 ? from.tag : undefined;
    case "dot1q-tunnel":
      return from.customers?.has(vid) === false ? undefined : from.tag;
    case "trunk":
      return carries(from, vid) ? vid : undefined;
    default:
      return vid === 0 ? from.tag : carries(from, vid) ? vid : undefined;
  }
}

/**
 * Sends it out of a bundle, with the tag that it has there: that of a VLAN, or its own where
 * nothing is said.
 */
export function sendOut(
  way: Way,
  out: Bundle,
  ports: ReadonlyMap<number, SwitchPort>,
  as: { readonly vlan: number; readonly isTagged: boolean } | undefined,
): void {
  const tci = way.now.flow[Word.vlan] as number;
  const { bond } = out;
  const port = bond === undefined ? firstOf(out, ports) : undefined;
  const go = (): void => {
    if (bond !== undefined) sendByBond(way, out.name, bond, as?.vlan ?? tci & VID);
    else if (port !== undefined) way.sendTo(port);
  };
  const list = as === undefined ? [] : retag(way, out, as);
  if (list.length === 0) go();
  else way.aside(list, undefined, false, go);
}

/** The first port of a bundle whose link is up. */
function firstOf(
  out: Bundle,
  ports: ReadonlyMap<number, SwitchPort>,
): number | undefined {
  const live = out.ports.filter((port) => ports.has(port));
  const isUp = (port: number): boolean =>
    ((ports.get(port)?.state ?? 0) & PortState.live) !== 0;
  return live.find(isUp) ?? live[0];
}

/** What gives a packet the tag that it has out of a bundle. */
function retag(
  way: Way,
  out: Bundle,
  { vlan, isTagged }: { readonly vlan: number; readonly isTagged: boolean },
): OfAction[] {
  const isPlain = out.mode === "access" || out.mode === "dot1q-tunnel" ||
    out.mode === "native-untagged" && vlan === out.tag;
  const vid = isPlain ? 0 : vlan;
  const current = (way.now.flow[Word.vlan] as number) & VID;
  const setVid: OfAction = {
    type: "setField",
    form: "set",
    field: tag,
    value: BigInt(vid | VLAN_PRESENT),
    mask: 0x1fffn,
  };
  if (vid === 0 && !keepsPriority(way, out, isTagged)) {
    return isTagged ? [{ type: "popVlan" }] : [];
  }
  if (!isTagged) return [{ type: "pushVlan", etherType: 0x8100 }, setVid];
  return current === vid ? [] : [setVid];
}

/** Whether a packet of no VLAN has a tag that says its priority. */
function keepsPriority(way: Way, { priorityTags }: Bundle, isTagged: boolean): boolean {
  if (priorityTags === "always") return true;
  if (priorityTags === "no" || !isTagged) return false;
  way.see(priority);
  return readBits(way.now.flow, priority) !== 0n;
}
