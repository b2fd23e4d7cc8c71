// SPDX-License-Identifier: Apache-2.0
/**
 * The connection tracker: `ct`, with what it translates and marks.
 *
 * @module
 */
import { formatIpv4, formatIpv6 } from "../../providers/codec/address.ts";
import { ct, type CtOptions } from "../../providers/odp/constructors.ts";
import type { NatAction as DatapathNat } from "../../providers/types_action.ts";
import {
  type CtAction,
  type NatAction,
  NO_TABLE,
  type OfAction,
} from "../wire/action.ts";
import { fieldOfName } from "../wire/field.ts";
import { flowWords, readBits, Word, writeBits } from "../wire/flow.ts";
import type { Way } from "./way.ts";

const mark = fieldOfName("ct_mark");
const label = fieldOfName("ct_label");
const helpers: Readonly<Record<number, string>> = { 21: "ftp", 69: "tftp" };

function address(value: bigint, family: 4 | 6): string {
  const bytes = new Uint8Array(family === 4 ? 4 : 16);
  let rest = value;
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return family === 4 ? formatIpv4(bytes, 0) : formatIpv6(bytes, 0);
}

/** A translation as a datapath has it. */
function natOf(action: NatAction): DatapathNat | true {
  const { kind, family, min, max, portMin, portMax } = action;
  if (kind === undefined) return true;
  return {
    kind,
    ...(family !== undefined && min !== undefined && { min: address(min, family) }),
    ...(family !== undefined && max !== undefined && { max: address(max, family) }),
    ...(portMin !== undefined && { portMin }),
    ...(portMax !== undefined && { portMax }),
    ...(action.persistent && { persistent: true }),
    ...(action.hash && { hash: true }),
    ...(action.random && { random: true }),
  };
}

/** What the actions in a `ct` set of mark and label, and how they translate. */
function nestedOf(way: Way, list: readonly OfAction[]): CtOptions {
  // Mark and label have words of a flow: what is set of them is written there, apart.
  const [value, mask] = [flowWords(), flowWords()];
  let nat: CtOptions["nat"];
  for (const action of list) {
    if (action.type === "nat") nat = natOf(action);
    else if (action.type === "setField") {
      const { field } = action;
      const before = readBits(value, field);
      writeBits(value, field, before & ~action.mask | action.value & action.mask);
      writeBits(mask, field, readBits(mask, field) | action.mask);
    } else if (action.type === "move") {
      const { field, offset, bits } = action.dst;
      const shift = BigInt(offset);
      const ones = ((1n << BigInt(bits)) - 1n) << shift;
      const moved = way.read(action.src) << shift;
      writeBits(value, field, readBits(value, field) & ~ones | moved & ones);
      writeBits(mask, field, readBits(mask, field) | ones);
    }
  }
  const marked = Number(readBits(mask, mark));
  const labelled = readBits(mask, label);
  return {
    ...(nat !== undefined && { nat }),
    ...(marked !== 0 &&
      { mark: { value: Number(readBits(value, mark)), mask: marked } }),
    ...(labelled !== 0n && { labels: { value: readBits(value, label), mask: labelled } }),
  };
}

/** Sends a packet through the connection tracker, and on with what that says if it is to be. */
export function track(way: Way, action: CtAction): void {
  const { commit, force, zone, table, alg, actions } = action;
  way.commit();
  const nested = nestedOf(way, actions);
  const helper = helpers[alg];
  way.actions.push(ct({
    ...(commit && (force ? { forceCommit: true } : { commit: true })),
    zone: typeof zone === "number" ? zone : Number(way.read(zone)),
    ...nested,
    ...(helper !== undefined && { helper }),
  }));
  if (table !== NO_TABLE) way.actions.push(way.recirculate(table, true));
  untrack(way);
}

/** Forgets what is known of the packet's connection. */
export function untrack(way: Way): void {
  const { flow } = way.now;
  for (let i = Word.ctState; i < Word.actsetOutput; i++) {
    flow[i] = 0;
    way.written[i] = 0xffffffff;
  }
  for (let i = Word.ctNwSrc as number; i < Word.tunOptions; i++) {
    flow[i] = 0;
    way.written[i] = 0xffffffff;
  }
  way.tracked = false;
}
