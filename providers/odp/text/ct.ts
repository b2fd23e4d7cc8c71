// SPDX-License-Identifier: Apache-2.0
/**
 * Text of the action `ct(…)` with its `nat(…)`.
 *
 * @module
 */

import type { CtAction, NatAction } from "../../types_action.ts";
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from "../../codec/address.ts";
import type { Scanner } from "./scanner.ts";
import { hex } from "./fields.ts";

const U32 = 0xffffffff;
const U128 = (1n << 128n) - 1n;
const CLOSE = 41;

/** Text of a connection tracking action; zone 0 is not shown. */
export function printCt(action: CtAction): string {
  const parts: string[] = [];
  if (action.commit) parts.push("commit");
  if (action.forceCommit) parts.push("force_commit");
  if (action.zone) parts.push(`zone=${action.zone}`);
  if (action.mark) parts.push(`mark=${hex(action.mark.value)}/${hex(action.mark.mask)}`);
  if (action.labels) {
    const { value, mask } = action.labels;
    const suffix = mask === U128 ? "" : `/${hexBig(mask)}`;
    parts.push(`label=${hexBig(value)}${suffix}`);
  }
  if (action.helper !== undefined) parts.push(`helper=${action.helper}`);
  if (action.timeout !== undefined) parts.push(`timeout=${action.timeout}`);
  if (action.nat) parts.push(printNat(action.nat));
  return parts.length === 0 ? "ct" : `ct(${parts.join(",")})`;
}

function hexBig(value: bigint): string {
  return value === 0n ? "0" : `0x${value.toString(16)}`;
}

function printNat(nat: NatAction): string {
  if (nat.kind === undefined) return "nat";
  const { min, max, portMin, portMax } = nat;
  let range = "";
  if (min !== undefined) {
    const bracket = (address: string) =>
      portMin && address.includes(":") ? `[${address}]` : address;
    range = `=${bracket(min)}`;
    if (max !== undefined && max !== min) range += `-${bracket(max)}`;
    if (portMin) range += `:${portMin}`;
    if (portMin && portMax && portMax !== portMin) range += `-${portMax}`;
  }
  const words = (["persistent", "hash", "random"] as const).filter((word) => nat[word]);
  return `nat(${[nat.kind + range, ...words].join(",")})`;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Takes what follows `ct`: nothing, or arguments in parentheses. */
export function scanCt(s: Scanner): CtAction {
  const action: Mutable<CtAction> = { type: "ct" };
  if (!s.takeCode(40)) return action;
  for (;;) {
    s.skipDelimiters();
    if (s.takeCode(CLOSE)) return action;
    scanPart(s, action);
  }
}

function scanPart(s: Scanner, action: Mutable<CtAction>): void {
  const start = s.at;
  const word = s.word();
  switch (word) {
    case "commit":
      action.commit = true;
      return;
    case "force_commit":
      action.forceCommit = true;
      return;
    case "nat":
      action.nat = scanNat(s);
      return;
  }
  if (!s.takeCode(61)) s.fail("no part of ct", start);
  switch (word) {
    case "zone":
      action.zone = s.number(0xffff);
      return;
    case "mark": {
      const value = s.number(U32);
      action.mark = { value, mask: s.takeSlash() ? s.number(U32) : U32 };
      return;
    }
    case "label": {
      const value = s.big(128);
      action.labels = { value, mask: s.takeSlash() ? s.big(128) : U128 };
      return;
    }
    case "helper":
      action.helper = name(s, 15);
      return;
    case "timeout":
      action.timeout = name(s, 31);
      return;
    default:
      s.fail("no part of ct", start);
  }
}

function name(s: Scanner, max: number): string {
  const start = s.at;
  const text = s.until(", \t\r\n)");
  if (text === "" || text.length > max) s.fail(`expected a name of 1 to ${max}`, start);
  return text;
}

function scanNat(s: Scanner): NatAction {
  const nat: Mutable<NatAction> = {};
  if (!s.takeCode(40)) return nat;
  const first = s.at;
  for (;;) {
    s.skipDelimiters();
    if (s.takeCode(CLOSE)) break;
    const start = s.at;
    const word = s.word();
    if (word === "src" || word === "dst") {
      if (nat.kind !== undefined) s.fail("only one of src and dst may be given", start);
      nat.kind = word;
      if (s.takeCode(61)) scanRange(s, nat);
    } else if (word === "persistent" || word === "hash" || word === "random") {
      nat[word] = true;
    } else {
      s.fail("no part of nat", start);
    }
  }
  if (nat.hash && nat.random) s.fail("only one of hash and random may be given", first);
  if (nat.kind === undefined) {
    if (Object.keys(nat).length > 0) s.fail("options need src or dst", first);
  }
  return nat;
}

function scanRange(s: Scanner, nat: Mutable<NatAction>): void {
  const start = s.at;
  const min = new Uint8Array(16);
  const isIpv4 = scanAddress(s, min, undefined);
  const format = isIpv4 ? formatIpv4 : formatIpv6;
  nat.min = format(min, 0);
  if (s.takeCode(45)) {
    const max = new Uint8Array(16);
    scanAddress(s, max, isIpv4);
    const order = min.findIndex((byte, i) => byte !== max[i]);
    if (order >= 0) {
      if ((min[order] as number) > (max[order] as number)) {
        s.fail("range is empty", start);
      }
      nat.max = format(max, 0);
    }
  }
  if (!s.takeCode(58)) return;
  const portMin = s.number(0xffff);
  const portMax = s.takeCode(45) ? s.number(0xffff) : portMin;
  if (portMax < portMin) s.fail("range is empty", start);
  // Port 0 says that there is no range.
  if (portMin !== 0) nat.portMin = portMin;
  if (portMin !== 0 && portMax !== portMin) nat.portMax = portMax;
}

/** Takes an address of the family that `isIpv4` asks for; returns which it was. */
function scanAddress(
  s: Scanner,
  bytes: Uint8Array,
  isIpv4: boolean | undefined,
): boolean {
  const bracket = s.takeCode(91);
  if (!bracket && isIpv4 !== false) {
    const end = parseIpv4(s.text, s.at, bytes, 0);
    if (end >= 0) {
      s.at = end;
      return true;
    }
  }
  const end = isIpv4 === true ? -1 : parseIpv6(s.text, s.at, bytes, 0);
  if (end < 0) s.fail("expected an address");
  s.at = end;
  if (bracket) s.expect("]");
  return false;
}
