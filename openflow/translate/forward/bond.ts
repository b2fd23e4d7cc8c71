// SPDX-License-Identifier: Apache-2.0
/**
 * Bonds: which port of some that are one a packet leaves by, and whether one that came by another
 * may go on.
 *
 * @module
 */
import { fieldOfName } from "../../wire/field.ts";
import { readBits, Word } from "../../wire/flow.ts";
import { isArp } from "../../wire/match.ts";
import type { Bond, Bundle } from "../pipeline.ts";
import type { Way } from "../way.ts";
import { hashFields, mix } from "../hash.ts";

const dpHash = fieldOfName("dp_hash");
const source = fieldOfName("eth_src");
const destination = fieldOfName("eth_dst");
const opcode = fieldOfName("arp_op");
const sender = fieldOfName("arp_spa");
const target = fieldOfName("arp_tpa");
const BROADCAST = 0xffffffffffffn;
const MULTICAST = 1n << 40n;

/** Values of the hash by which addresses are spread over the ports of a bond. */
export const BOND_BUCKETS = 256;

/** The value of an address in a VLAN. */
export function hashOfStation(address: bigint, vlan: number, basis: number): number {
  return mix(mix(basis ^ vlan, 1n), address + 1n) & (BOND_BUCKETS - 1);
}

/** Sends a packet that is in a VLAN out of a bond. */
export function sendByBond(way: Way, name: string, bond: Bond, vlan: number): void {
  const { mode, lacp, basis } = bond.now.value;
  const isHashed = mode === "balance-tcp" && lacp === "negotiated" && hasOwn(way, bond);
  if (isHashed && way.pipeline.hashes.has("l4")) return way.sendByHash(name, basis);
  const port = memberOf(way, bond, vlan);
  if (port !== undefined) way.sendTo(port);
}

/** Whether packets leave by ports of the datapath there, and not into another switch. */
function hasOwn({ pipeline }: Way, { now }: Bond): boolean {
  const ports = pipeline.ports.value;
  return now.value.table.some((port) => port !== undefined && !ports.get(port)?.patch);
}

/** Sends a packet whose hash the datapath has computed out of the bond that it is to leave by. */
export function leaveByHash(way: Way, name: string): void {
  const bond = [...way.pipeline.ports.value.values()].find(({ bundle }) =>
    bundle?.name === name
  )?.bundle?.bond;
  if (bond === undefined) return way.drop(`bond ${name} is gone`);
  way.see(dpHash, BigInt(BOND_BUCKETS - 1));
  const hash = (way.now.flow[Word.dpHash] as number) & (BOND_BUCKETS - 1);
  const port = bond.now.value.table[hash];
  const counter = bond.counters[hash];
  if (counter !== undefined) way.credit(counter);
  if (port !== undefined) way.sendTo(port);
}

/** The port that a packet in a VLAN leaves a bond by; undefined for none. */
function memberOf(way: Way, bond: Bond, vlan: number): number | undefined {
  const { mode, lacp, fallsBack, active, table, basis } = bond.now.value;
  if (lacp === "configured") return fallsBack ? active : undefined;
  if (mode === "active-backup") return active;
  // As in Open vSwitch: an end that knows of no bond would have packets come twice.
  if (mode === "balance-tcp" && lacp === "off") return undefined;
  way.see(source);
  const hash = mode === "balance-tcp"
    ? hashFields(way, "symmetric_l3l4+udp", basis) & (BOND_BUCKETS - 1)
    : hashOfStation(readBits(way.now.flow, source), vlan, basis);
  const counter = bond.counters[hash];
  if (counter !== undefined) way.credit(counter);
  return table[hash];
}

/**
 * Why a packet that came by a port of a bundle must not go on; undefined if it may. `known` is
 * whether its sender was in another bundle.
 */
export function refusal(
  way: Way,
  { bond }: Bundle,
  known: { readonly isElsewhere: boolean },
): string | undefined {
  if (bond === undefined) return undefined;
  const { mode, lacp, fallsBack, enabled, active, isAllActive } = bond.now.value;
  const isActive = active === way.inPort;
  const to = readBits(way.now.flow, destination);
  const refused = "bonding refused admissibility, dropping";
  // An end that has agreed sends nothing twice.
  if (lacp === "negotiated") return enabled.includes(way.inPort) ? undefined : refused;
  const isLost = lacp === "configured" || mode === "balance-tcp";
  if (isLost && !fallsBack) return refused;
  // What is sent to many comes by every port.
  if ((to & MULTICAST) !== 0n && !isActive && !isAllActive) return refused;
  if (mode !== "balance-slb") return isActive ? undefined : refused;
  if (!known.isElsewhere || announces(way)) return undefined;
  return "SLB bond thinks this packet looped back, dropping";
}

/** Whether a packet says that an address is elsewhere now. */
function announces(way: Way): boolean {
  const { flow } = way.now;
  if (!isArp(flow[Word.dlType] as number)) return false;
  way.see(destination);
  if (readBits(flow, destination) !== BROADCAST) return false;
  way.see(opcode);
  const op = Number(readBits(flow, opcode));
  if (op === 2) return true;
  if (op !== 1) return false;
  way.see(sender);
  way.see(target);
  return readBits(flow, sender) === readBits(flow, target);
}
