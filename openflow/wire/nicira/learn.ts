// SPDX-License-Identifier: Apache-2.0
/**
 * The action `learn`, from and to bytes.
 *
 * Source: `ofp-actions.c` of Open vSwitch 3.1, `nx_action_learn` and `nx_action_learn2`: a flow as
 * a list of what it has, each a header of 16 bits (bit 13: the source is a value, bits 11 and 12:
 * where it goes, the rest: bits), a source and a destination.
 *
 * @module
 */
import type { LearnAction, LearnSpec } from "../action.ts";
import type { Reader, Writer } from "../bytes.ts";
import { OfError } from "../error.ts";
import { writeHeader } from "../oxm_write.ts";
import { namedField, subField, writable } from "./subfield.ts";

const Flag = { sendFlowRemoved: 1, deleteLearned: 2, writeResult: 4 } as const;
const IMMEDIATE = 1 << 13;
const targets = ["match", "load", "output"] as const;

/** Reads the body of a `learn`; the second form has more. */
export function readLearn(body: Reader, isSecond: boolean): LearnAction {
  const [idle, hard, priority] = [body.u16(), body.u16(), body.u16()];
  const cookie = body.u64();
  const flags = body.u16();
  const table = body.u8();
  body.zeros(1, "OFPBAC_BAD_ARGUMENT");
  const [finIdle, finHard] = [body.u16(), body.u16()];
  if (flags > (isSecond ? 7 : 3) || table === 0xff) {
    throw new OfError("OFPBAC_BAD_ARGUMENT", "learn");
  }
  let limit = 0;
  let result: LearnAction["result"];
  if (isSecond) {
    limit = body.u32();
    const offset = body.u16();
    body.zeros(2, "NXBAC_MUST_BE_ZERO");
    if (flags & Flag.writeResult) {
      result = writable(subField(namedField(body), offset, 1));
    }
  }
  return {
    type: "learn",
    idle,
    hard,
    finIdle,
    finHard,
    priority,
    cookie,
    sendFlowRemoved: (flags & Flag.sendFlowRemoved) !== 0,
    deleteLearned: (flags & Flag.deleteLearned) !== 0,
    table,
    limit,
    ...(result !== undefined && { result }),
    specs: readSpecs(body),
  };
}

function readSpecs(body: Reader): LearnSpec[] {
  const specs: LearnSpec[] = [];
  while (body.left >= 2) {
    const header = body.u16();
    if (header === 0) break;
    const bits = header & 0x7ff;
    const to = targets[header >> 11 & 3];
    const isValue = (header & IMMEDIATE) !== 0;
    if (bits === 0 || to === undefined || header >> 14 || isValue && to === "output") {
      throw new OfError("OFPBAC_BAD_ARGUMENT", "learn");
    }
    let src: LearnSpec["src"];
    if (isValue) {
      const value = body.big(2 * Math.ceil(bits / 16));
      if (value >> BigInt(bits) !== 0n) throw new OfError("OFPBAC_BAD_ARGUMENT");
      src = { bits, value };
    } else {
      const field = namedField(body);
      src = subField(field, body.u16(), bits);
    }
    if (to === "output") {
      specs.push({ src, to, dst: undefined });
      continue;
    }
    const field = namedField(body);
    const dst = subField(field, body.u16(), bits);
    if (to === "load") writable(dst);
    specs.push({ src, to, dst });
  }
  body.zeros(body.left, "OFPBAC_BAD_ARGUMENT");
  return specs;
}

/** Whether an action takes the second form. */
export function isSecondLearn({ limit, result }: LearnAction): boolean {
  return limit !== 0 || result !== undefined;
}

/** Writes the body of a `learn`. */
export function writeLearn(writer: Writer, action: LearnAction): void {
  const { sendFlowRemoved, deleteLearned, result } = action;
  writer.u16(action.idle).u16(action.hard).u16(action.priority).u64(action.cookie);
  writer.u16(
    (sendFlowRemoved ? Flag.sendFlowRemoved : 0) |
      (deleteLearned ? Flag.deleteLearned : 0) |
      (result !== undefined ? Flag.writeResult : 0),
  );
  writer.u8(action.table).zeros(1).u16(action.finIdle).u16(action.finHard);
  if (isSecondLearn(action)) {
    writer.u32(action.limit).u16(result?.offset ?? 0).zeros(2);
    if (result !== undefined) writeHeader(writer, result.field, 0);
  }
  for (const { src, to, dst } of action.specs) {
    const isField = "field" in src;
    writer.u16((isField ? 0 : IMMEDIATE) | targets.indexOf(to) << 11 | src.bits);
    if (isField) {
      writeHeader(writer, src.field, 0);
      writer.u16(src.offset);
    } else writer.big(src.value, 2 * Math.ceil(src.bits / 16));
    if (dst === undefined) continue;
    writeHeader(writer, dst.field, 0);
    writer.u16(dst.offset);
  }
}
