// SPDX-License-Identifier: Apache-2.0
/**
 * Bodies of messages that have connections forgotten.
 *
 * Source: `ofp-ct.c` and `nicira-ext.h` of Open vSwitch 3.1: a protocol and properties, tuples of
 * properties among them; addresses have 128 bits, those of IPv4 behind `::ffff:`.
 *
 * @module
 */
import type { Reader, Writer } from "../bytes.ts";
import { OfError } from "../error.ts";
import type { CtFlush, TupleFilter } from "../message.ts";

const Property = { orig: 0, reply: 1, zone: 2 } as const;
const numbers = ["srcPort", "dstPort", "icmpId", "icmpType", "icmpCode"] as const;
/** `::ffff:0:0`, in front of addresses of IPv4. */
const MAPPED = 0xffffn << 32n;

/** Reads the zone whose connections are forgotten. */
export function readCtFlushZone(reader: Reader): CtFlush {
  reader.zeros(6, "NXBRC_MUST_BE_ZERO");
  return { kind: "ctFlush", zone: reader.u16(), proto: 0, orig: {}, reply: {} };
}

function eachProperty(
  reader: Reader,
  what: (type: number, value: Reader) => void,
): void {
  while (reader.left > 0) {
    const type = reader.u16();
    const length = reader.u16();
    if (length < 4) throw new OfError("OFPBPC_BAD_LEN");
    what(type, reader.part(length - 4, "OFPBPC_BAD_LEN"));
    reader.skip(Math.min(reader.left, -length & 7));
  }
}

/** Reads which connections are forgotten. */
export function readCtFlush(reader: Reader): CtFlush {
  const proto = reader.u8();
  reader.zeros(7, "NXBRC_MUST_BE_ZERO");
  let zone: number | undefined;
  let family: 4 | 6 | undefined;
  const [orig, reply]: Record<string, number | bigint>[] = [{}, {}];
  const address = (value: Reader): bigint => {
    // The header of a property is followed by zeros where 128 bits are behind it.
    if (value.left === 20) value.skip(4);
    const bits = value.big(16);
    const of = bits >> 32n === MAPPED >> 32n ? 4 : 6;
    if (family !== undefined && family !== of) throw new OfError("OFPBPC_BAD_VALUE");
    family = of;
    return family === 4 ? bits & 0xffffffffn : bits;
  };
  eachProperty(reader, (type, value) => {
    if (type === Property.zone) {
      zone = value.u16();
      return;
    }
    const tuple = type === Property.orig ? orig : type === Property.reply ? reply : null;
    if (!tuple) throw new OfError("OFPBPC_BAD_TYPE");
    value.skip(4);
    eachProperty(value, (part, of) => {
      if (part === 0) tuple.src = address(of);
      else if (part === 1) tuple.dst = address(of);
      else {
        const name = numbers[part - 2];
        if (name === undefined) throw new OfError("OFPBPC_BAD_TYPE");
        tuple[name] = part < 5 ? of.u16() : of.u8();
      }
    });
  });
  return {
    kind: "ctFlush",
    proto,
    orig: orig as TupleFilter,
    reply: reply as TupleFilter,
    ...(zone !== undefined && { zone }),
    ...(family !== undefined && { family }),
  };
}

/** Writes which connections are forgotten. */
export function writeCtFlush(writer: Writer, message: CtFlush): void {
  const property = (type: number, body: () => void): void => {
    const start = writer.size;
    writer.u16(type).u16(0);
    body();
    writer.set16(start + 2, writer.size - start).pad8(start);
  };
  const { proto, zone, family, orig, reply } = message;
  writer.u8(proto).zeros(7);
  for (const [type, tuple] of [[Property.orig, orig], [Property.reply, reply]] as const) {
    if (Object.keys(tuple).length === 0) continue;
    property(type, () => {
      writer.zeros(4);
      for (const [part, value] of [tuple.src, tuple.dst].entries()) {
        if (value === undefined) continue;
        const bits = family === 4 ? value | MAPPED : value;
        property(part, () => writer.zeros(4).big(bits, 16));
      }
      for (const [i, name] of numbers.entries()) {
        const value = tuple[name];
        if (value === undefined) continue;
        property(2 + i, () => i < 3 ? writer.u16(value) : writer.u8(value));
      }
    });
  }
  if (zone !== undefined) property(Property.zone, () => writer.u16(zone));
}
