// SPDX-License-Identifier: Apache-2.0
/**
 * Actions that choose: by a hash, by size, by chance; and conjunctions. From and to bytes.
 *
 * Source: `ofp-actions.c` of Open vSwitch 3.1.
 *
 * @module
 */
import {
  type BundleAction,
  HASH_FIELDS,
  type HashFields,
  MULTIPATH_ALGORITHMS,
  type MultipathAction,
  type OfAction,
  type SampleAction,
} from "../action.ts";
import type { Reader, Writer } from "../bytes.ts";
import { OfError } from "../error.ts";
import { fieldOfName } from "../field.ts";
import { writeHeader } from "../oxm_write.ts";
import { Port, portFrom10, portTo10 } from "../port_number.ts";
import {
  pulledField,
  readSubField,
  subField,
  writable,
  writeSubField,
} from "./subfield.ts";

const bundleAlgorithms = ["active_backup", "hrw"] as const;
const directions = [undefined, "ingress", "egress"] as const;
const MAX_PORTS = 2048;

function bad(what: string): OfError {
  return new OfError("OFPBAC_BAD_ARGUMENT", what);
}

function hashFields(body: Reader): HashFields {
  const found = HASH_FIELDS[body.u16()];
  if (found === undefined) throw bad("fields of a hash");
  return found;
}

/** Reads the body of a `conjunction`. */
export function readConjunction(body: Reader): OfAction {
  const [clause, clauses, id] = [body.u8(), body.u8(), body.u32()];
  if (clause >= clauses || clauses < 2 || clauses > 64) {
    throw new OfError("NXBAC_BAD_CONJUNCTION");
  }
  return { type: "conjunction", clause, clauses, id };
}

/** Reads the body of a `check_pkt_larger`. */
export function readCheckPktLarger(body: Reader): OfAction {
  const length = body.u16();
  const offset = body.u16();
  const dst = writable(subField(pulledField(body), offset, 1));
  body.zeros(body.left, "NXBRC_MUST_BE_ZERO");
  return { type: "checkPktLarger", length, dst };
}

/** Writes the body of a `check_pkt_larger`. */
export function writeCheckPktLarger(
  writer: Writer,
  { length, dst }: OfAction & { readonly type: "checkPktLarger" },
): void {
  writer.u16(length).u16(dst.offset);
  writeHeader(writer, dst.field, 0);
}

/** Reads the body of a `bundle`, or of a `bundle_load`. */
export function readBundle(body: Reader, loads: boolean): BundleAction {
  const algorithm = bundleAlgorithms[body.u16()];
  const fields = hashFields(body);
  const basis = body.u16();
  const isPorts = body.u32() === ((fieldOfName("in_port").nxm ?? 0) | 2);
  const count = body.u16();
  if (algorithm === undefined || !isPorts || count > MAX_PORTS) throw bad("bundle");
  let dst: BundleAction["dst"];
  if (loads) {
    dst = writable(readSubField(body));
    if (dst.bits < 16) throw bad("bundle_load");
  } else body.zeros(6, "OFPBAC_BAD_ARGUMENT");
  body.zeros(4, "OFPBAC_BAD_ARGUMENT");
  const ports = Array.from({ length: count }, () => portFrom10(body.u16()));
  if (ports.some((port) => port >= Port.max && port !== Port.local)) {
    throw bad("port of a bundle");
  }
  body.zeros(body.left, "OFPBAC_BAD_ARGUMENT");
  return {
    type: "bundle",
    fields,
    basis,
    algorithm,
    ports,
    ...(dst !== undefined && { dst }),
  };
}

/** Writes the body of a `bundle`. */
export function writeBundle(writer: Writer, action: BundleAction): void {
  const { fields, basis, algorithm, ports, dst } = action;
  writer.u16(bundleAlgorithms.indexOf(algorithm)).u16(HASH_FIELDS.indexOf(fields));
  writer.u16(basis);
  writeHeader(writer, fieldOfName("in_port"), 0);
  writer.u16(ports.length);
  if (dst === undefined) writer.zeros(6);
  else writeSubField(writer, dst);
  writer.zeros(4);
  for (const port of ports) writer.u16(portTo10(port));
}

/** Reads the body of a `multipath`. */
export function readMultipath(body: Reader): MultipathAction {
  const fields = hashFields(body);
  const basis = body.u16();
  body.skip(2);
  const algorithm = MULTIPATH_ALGORITHMS[body.u16()];
  const links = body.u16() + 1;
  const argument = body.u32();
  body.skip(2);
  const dst = writable(readSubField(body));
  if (algorithm === undefined || dst.bits < 16 && links > 2 ** dst.bits) {
    throw bad("multipath");
  }
  return { type: "multipath", fields, basis, algorithm, links, argument, dst };
}

/** Writes the body of a `multipath`. */
export function writeMultipath(writer: Writer, action: MultipathAction): void {
  const { fields, basis, algorithm, links, argument, dst } = action;
  writer.u16(HASH_FIELDS.indexOf(fields)).u16(basis).zeros(2)
    .u16(MULTIPATH_ALGORITHMS.indexOf(algorithm)).u16(links - 1).u32(argument).zeros(2);
  writeSubField(writer, dst);
}

/** Reads the body of a `sample`, of its first, second or third form. */
export function readSample(body: Reader, form: 1 | 2 | 3): SampleAction {
  const probability = body.u16();
  const [collectors, domain, point] = [body.u32(), body.u32(), body.u32()];
  if (probability === 0) throw bad("sample");
  const made: SampleAction = { type: "sample", probability, collectors, domain, point };
  if (form === 1) return made;
  const port = portFrom10(body.u16());
  const direction = directions[body.u8()];
  if (form === 2 && direction !== undefined) throw new OfError("NXBAC_MUST_BE_ZERO");
  body.zeros(5, "NXBAC_MUST_BE_ZERO");
  return { ...made, port, ...(direction !== undefined && { direction }) };
}

/** Which form a `sample` takes. */
export function formOfSample({ port, direction }: SampleAction): 1 | 2 | 3 {
  return direction !== undefined ? 3 : port !== undefined ? 2 : 1;
}

/** Writes the body of a `sample`. */
export function writeSample(writer: Writer, action: SampleAction): void {
  const { probability, collectors, domain, point, port = Port.none, direction } = action;
  writer.u16(probability).u32(collectors).u32(domain).u32(point);
  if (formOfSample(action) === 1) return;
  writer.u16(portTo10(port)).u8(directions.indexOf(direction)).zeros(5);
}
