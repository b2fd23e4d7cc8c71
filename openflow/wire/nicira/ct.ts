// SPDX-License-Identifier: Apache-2.0
/**
 * Actions of the connection tracker, from and to bytes.
 *
 * Source: `ofp-actions.c` of Open vSwitch 3.1, `nx_action_conntrack` and `nx_action_nat`.
 *
 * @module
 */
import type { CtAction, NatAction, OfAction } from "../action.ts";
import type { Reader, Writer } from "../bytes.ts";
import { OfError } from "../error.ts";
import { namedField, offsetAndBits, ofsBits, subField } from "./subfield.ts";
import { writeHeader } from "../oxm_write.ts";

const CtFlag = { commit: 1, force: 2 } as const;
const NatFlag = { src: 1, dst: 2, persistent: 4, hash: 8, random: 16 } as const;
const Present = {
  min4: 1,
  max4: 2,
  min6: 4,
  max6: 8,
  portMin: 16,
  portMax: 32,
} as const;

/** Reads the body of a `ct`; `nested` reads the actions in it. */
export function readCt(body: Reader, nested: (body: Reader) => OfAction[]): CtAction {
  const flags = body.u16();
  const [commit, force] = [(flags & CtFlag.commit) !== 0, (flags & CtFlag.force) !== 0];
  if (force && !commit) throw new OfError("OFPBAC_BAD_ARGUMENT");
  const at = body.at;
  let zone: CtAction["zone"];
  if (body.u32() === 0) zone = body.u16();
  else {
    body.at = at;
    const field = namedField(body);
    const [offset, bits] = offsetAndBits(body.u16());
    if (bits !== 16) throw new OfError("OFPBAC_BAD_SET_LEN", field.name);
    zone = subField(field, offset, bits);
  }
  const table = body.u8();
  body.zeros(3, "OFPBAC_BAD_ARGUMENT");
  const alg = body.u16();
  const actions = nested(body);
  for (const action of actions) {
    const field = action.type === "setField"
      ? action.field
      : action.type === "move"
      ? action.dst.field
      : undefined;
    if (action.type !== "nat" && field === undefined) {
      throw new OfError("OFPBAC_BAD_ARGUMENT", action.type);
    }
    if (field !== undefined && !isOfConnection(field.name)) {
      throw new OfError("OFPBAC_BAD_ARGUMENT", field.name);
    }
  }
  return { type: "ct", commit, force, zone, table, alg, actions };
}

/** Whether a field may be set in `ct` only. */
export function isOfConnection(name: string): boolean {
  return name === "ct_mark" || name === "ct_label";
}

/** Writes the body of a `ct`. */
export function writeCt(
  writer: Writer,
  { commit, force, zone, table, alg, actions }: CtAction,
  nested: (writer: Writer, list: readonly OfAction[]) => void,
): void {
  writer.u16((commit ? CtFlag.commit : 0) | (force ? CtFlag.force : 0));
  if (typeof zone === "number") writer.u32(0).u16(zone);
  else {
    writeHeader(writer, zone.field, 0);
    writer.u16(ofsBits(zone));
  }
  writer.u8(table).zeros(3).u16(alg);
  nested(writer, actions);
}

/** Reads the body of a `nat`. */
export function readNat(body: Reader): NatAction {
  const bad = (): never => {
    throw new OfError("OFPBAC_BAD_ARGUMENT", "nat");
  };
  body.zeros(2, "NXBAC_MUST_BE_ZERO");
  const flags = body.u16();
  const present = body.u16();
  const has = (bit: number): boolean => (present & bit) !== 0;
  const of = (bit: number): boolean => (flags & bit) !== 0;
  if (flags > 31 || present > 63 || of(NatFlag.src) && of(NatFlag.dst)) bad();
  if (of(NatFlag.hash) && of(NatFlag.random)) bad();
  const kind = of(NatFlag.src) ? "src" : of(NatFlag.dst) ? "dst" : undefined;
  const family = has(Present.min4) ? 4 : has(Present.min6) ? 6 : undefined;
  const has4 = has(Present.min4) || has(Present.max4);
  if (has4 && (has(Present.min6) || has(Present.max6))) bad();
  const min = family === undefined ? undefined : body.big(family === 4 ? 4 : 16);
  const hasMax = has(Present.max4) || has(Present.max6);
  if (hasMax && family === undefined) bad();
  const max = hasMax ? body.big(family === 4 ? 4 : 16) : undefined;
  if (min !== undefined && max !== undefined && max < min) bad();
  const portMin = has(Present.portMin) ? body.u16() : undefined;
  if (has(Present.portMax) && portMin === undefined) bad();
  const portMax = has(Present.portMax) ? body.u16() : undefined;
  if (portMin === 0 || portMax !== undefined && portMax < (portMin ?? 0)) bad();
  if (kind === undefined && (flags !== 0 || present !== 0)) bad();
  return {
    type: "nat",
    kind,
    persistent: of(NatFlag.persistent),
    hash: of(NatFlag.hash),
    random: of(NatFlag.random),
    family,
    ...(min !== undefined && { min }),
    ...(max !== undefined && { max }),
    ...(portMin !== undefined && { portMin }),
    ...(portMax !== undefined && { portMax }),
  };
}

/** Writes the body of a `nat`. */
export function writeNat(writer: Writer, action: NatAction): void {
  const { kind, persistent, hash, random, family, min, max, portMin, portMax } = action;
  const [minBit, maxBit] = family === 6
    ? [Present.min6, Present.max6]
    : [Present.min4, Present.max4];
  writer.zeros(2).u16(
    (kind === undefined ? 0 : NatFlag[kind]) | (persistent ? NatFlag.persistent : 0) |
      (hash ? NatFlag.hash : 0) | (random ? NatFlag.random : 0),
  );
  writer.u16(
    (min === undefined ? 0 : minBit) | (max === undefined ? 0 : maxBit) |
      (portMin === undefined ? 0 : Present.portMin) |
      (portMax === undefined ? 0 : Present.portMax),
  );
  for (const address of [min, max]) {
    if (address !== undefined) writer.big(address, family === 6 ? 16 : 4);
  }
  for (const port of [portMin, portMax]) if (port !== undefined) writer.u16(port);
}
