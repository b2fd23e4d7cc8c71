// SPDX-License-Identifier: Apache-2.0
/**
 * Mirrors: copies of packets that come in by some ports, or go out of some, in some VLANs.
 *
 * A copy goes out of a port that is there for nothing else, or into a VLAN that is. It is the
 * packet as it came, or as it was sent; each output gets one copy, whatever becomes of the packet
 * later.
 *
 * @module
 */
import { fieldOfName } from "../../wire/field.ts";
import { readBits, VLAN_PRESENT, Word } from "../../wire/flow.ts";
import type { Bundle, Mirror, SwitchPort } from "../pipeline.ts";
import type { Way } from "../way.ts";
import { isReserved } from "./reserved.ts";
import { bundleOf, carries, sendOut, vlanOf } from "./vlan.ts";

const tag = fieldOfName("vlan_vid");
const destination = fieldOfName("eth_dst");
const VID = 0xfff;
/** As many mirrors as there are bits that say where a packet has been. */
export const MAX_MIRRORS = 32;

/** Whether a bundle is there for copies only. */
export function isForCopies(mirrors: readonly Mirror[], { name }: Bundle): boolean {
  return mirrors.some(({ output }) => output.bundle === name);
}

/** Whether all that comes by a bundle, or goes out of it, is the same in every VLAN. */
function isOpen({ mode, trunks }: Bundle): boolean {
  return mode === "trunk" && trunks === undefined;
}

/** Has mirrors have a packet that comes in. It is dropped if its port is there for copies only. */
export function mirrorIn(way: Way): void {
  const { pipeline, inPort } = way;
  const mirrors = pipeline.mirrors.value;
  const port = mirrors.length === 0 ? undefined : pipeline.ports.value.get(inPort);
  if (port === undefined) return;
  const from = bundleOf(port);
  if (isForCopies(mirrors, from)) {
    return way.drop(`port ${from.name} is for a mirror only`);
  }
  copy(way, from, ({ sources }) => sources === "all" || sources.has(from.name));
}

/** Has mirrors have a packet that went out of a port. */
export function mirrorOut(way: Way, port: SwitchPort): void {
  const to = bundleOf(port);
  copy(way, to, ({ targets }) => targets === "all" || targets.has(to.name));
}

function copy(way: Way, of: Bundle, isChosen: (mirror: Mirror) => boolean): void {
  const mirrors = way.pipeline.mirrors.value;
  const tci = way.now.flow[Word.vlan] as number;
  for (const [i, mirror] of mirrors.entries()) {
    if ((way.mirrored >>> i & 1) !== 0 || !isChosen(mirror)) continue;
    if (!isOpen(of) || mirror.vlans !== undefined) way.see(tag);
    const vlan = vlanOf(of, tci & VID);
    if (vlan === undefined || mirror.vlans?.has(vlan) === false) continue;
    // Noted before: what a copy goes out of may be mirrored, too.
    for (const [k, { output }] of mirrors.entries()) {
      const isSame = output.bundle === mirror.output.bundle &&
        output.vlan === mirror.output.vlan;
      if (isSame) way.mirrored |= 1 << k;
    }
    way.credit(mirror.counter);
    const before = way.cut;
    way.cut = mirror.cut;
    sendCopy(way, of, mirror, vlan);
    way.cut = before;
  }
}

/** Sends a copy of a packet that is in a VLAN of a bundle. */
function sendCopy(way: Way, of: Bundle, mirror: Mirror, vlan: number): void {
  const ports = way.pipeline.ports.value;
  const tci = way.now.flow[Word.vlan] as number;
  const isTagged = (tci & VLAN_PRESENT) !== 0 && of.mode !== "dot1q-tunnel";
  const { output } = mirror;
  if (output.bundle !== undefined) {
    const port = [...ports.values()].find((one) => bundleOf(one).name === output.bundle);
    if (port === undefined) return;
    const to = bundleOf(port);
    if (isOpen(of) && isOpen(to)) return sendOut(way, to, ports, undefined);
    if (!isOpen(of) || to.mode !== "access") way.see(tag);
    return sendOut(way, to, ports, { vlan, isTagged });
  }
  way.see(tag);
  way.see(destination);
  if (vlan === output.vlan || isReserved(readBits(way.now.flow, destination))) return;
  const mirrors = way.pipeline.mirrors.value;
  const done = new Set<string>();
  for (const port of ports.values()) {
    const to = bundleOf(port);
    if (done.has(to.name)) continue;
    done.add(to.name);
    if (!carries(to, output.vlan) || isForCopies(mirrors, to)) continue;
    if (!way.spendOnFlood()) return;
    sendOut(way, to, ports, { vlan: output.vlan, isTagged });
  }
}
