// SPDX-License-Identifier: Apache-2.0
/**
 * Actions to bytes, each in the way that a version of OpenFlow has for it.
 *
 * @module
 */
import type { ModName, OfAction, SubField } from "../action.ts";
import type { Writer } from "../bytes.ts";
import { NICIRA, type Version } from "../error.ts";
import { type Field, fieldOfName, partBits } from "../field.ts";
import { ones } from "../flow.ts";
import { allOf } from "../match.ts";
import { writeFieldValue, writeHeader } from "../oxm_write.ts";
import { portTo10 } from "../port_number.ts";
import { ofsBits, writeSubField } from "../nicira/subfield.ts";
import {
  formOfSample,
  writeBundle,
  writeCheckPktLarger,
  writeMultipath,
  writeSample,
} from "../nicira/choice.ts";
import { writeCt, writeNat } from "../nicira/ct.ts";
import { isSecondLearn, writeLearn } from "../nicira/learn.ts";

/** Writes an action of the specification; its body is padded. */
function standard(writer: Writer, type: number, body?: (writer: Writer) => void): void {
  const start = writer.size;
  writer.u16(type).u16(0);
  body?.(writer);
  writer.zeros(Math.max(0, 8 - (writer.size - start))).pad8(start);
  writer.set16(start + 2, writer.size - start);
}

/** Writes an action of Nicira's. */
function nicira(writer: Writer, subtype: number, body?: (writer: Writer) => void): void {
  standard(writer, 0xffff, (to) => {
    to.u32(NICIRA).u16(subtype);
    body?.(to);
  });
}

/** A header's action in OpenFlow 1.0, 1.1, and as a field in 1.2 and later. */
interface ModLine {
  readonly size: number;
  readonly v10: number | undefined;
  readonly v11: number | undefined;
  /** The last version that has `v11`. */
  readonly until: Version;
  /** Nicira's subtype in OpenFlow 1.0. */
  readonly nx?: number;
  readonly field: string;
}

/** Headers that have actions of their own. */
export const mods: Readonly<Record<ModName, ModLine>> = {
  vlan_vid: { size: 2, v10: 1, v11: 1, until: 2, field: "vlan_vid" },
  vlan_pcp: { size: 1, v10: 2, v11: 2, until: 2, field: "vlan_pcp" },
  dl_src: { size: 6, v10: 4, v11: 3, until: 2, field: "eth_src" },
  dl_dst: { size: 6, v10: 5, v11: 4, until: 2, field: "eth_dst" },
  nw_src: { size: 4, v10: 6, v11: 5, until: 2, field: "ip_src" },
  nw_dst: { size: 4, v10: 7, v11: 6, until: 2, field: "ip_dst" },
  nw_tos: { size: 1, v10: 8, v11: 7, until: 2, field: "ip_dscp" },
  nw_ecn: { size: 1, v10: undefined, v11: 8, until: 2, field: "nw_ecn" },
  nw_ttl: { size: 1, v10: undefined, v11: 23, until: 6, field: "nw_ttl" },
  tp_src: { size: 2, v10: 9, v11: 9, until: 2, field: "src" },
  tp_dst: { size: 2, v10: 10, v11: 10, until: 2, field: "dst" },
  mpls_label: { size: 4, v10: undefined, v11: 13, until: 2, nx: 30, field: "mpls_label" },
  mpls_tc: { size: 1, v10: undefined, v11: 14, until: 2, nx: 31, field: "mpls_tc" },
  mpls_ttl: { size: 1, v10: undefined, v11: 15, until: 6, nx: 25, field: "mpls_ttl" },
};

/** The field that a header is, of packets of a protocol; undefined where none is known. */
export function modField(name: ModName, proto = 0): Field | undefined {
  if (name !== "tp_src" && name !== "tp_dst") return fieldOfName(mods[name].field);
  const of: Readonly<Record<number, string>> = { 6: "tcp", 17: "udp", 132: "sctp" };
  const protocol = of[proto];
  return protocol === undefined
    ? undefined
    : fieldOfName(`${protocol}_${mods[name].field}`);
}

function setFieldAction(
  writer: Writer,
  field: Field,
  value: bigint,
  mask: bigint,
  version: Version,
): void {
  standard(writer, 25, (to) => writeFieldValue(to, field, value, mask, version));
}

function writeMod(
  writer: Writer,
  action: OfAction & { readonly type: "mod" },
  version: Version,
): void {
  const { name, value, pushes = false, hasTag = false, proto = 0 } = action;
  const line = mods[name];
  if (pushes && !hasTag && version > 1) standard(writer, 17, (to) => to.u16(0x8100));
  const type = version === 1 ? line.v10 : version <= line.until ? line.v11 : undefined;
  if (type !== undefined) {
    standard(writer, type, (to) => to.big(value, line.size));
  } else if (version === 1 && line.nx !== undefined) {
    nicira(writer, line.nx, (to) => {
      if (name === "mpls_label") to.zeros(2);
      to.big(value, line.size);
    });
  } else {
    const field = modField(name, proto);
    // A port of no protocol: Open vSwitch takes TCP for it then, too.
    const of = field ?? fieldOfName(`tcp_${line.field}`);
    const put = name === "nw_tos"
      ? value >> 2n
      : name === "vlan_vid"
      ? value | 0x1000n
      : value;
    if (version >= 3) setFieldAction(writer, of, put, allOf(of), version);
    else regLoad(writer, of, put, allOf(of));
  }
}

/** The runs of ones in a mask, from the lowest, of 64 bits at most each. */
function runs(mask: bigint): { readonly offset: number; readonly bits: number }[] {
  const found: { offset: number; bits: number }[] = [];
  let at = 0;
  for (let rest = mask; rest !== 0n;) {
    while ((rest & 1n) === 0n) {
      rest >>= 1n;
      at++;
    }
    let bits = 0;
    while ((rest & 1n) === 1n && bits < 64) {
      rest >>= 1n;
      bits++;
    }
    found.push({ offset: at, bits });
    at += bits;
  }
  return found;
}

function regLoad(writer: Writer, field: Field, value: bigint, mask: bigint): void {
  if (field.form === "port" && mask === allOf(field)) {
    // Nicira's field has a port of OpenFlow 1.0.
    const port = BigInt(portTo10(Number(value)));
    return regLoad(writer, fieldOfName("in_port"), port, ones(16));
  }
  if (field.nxm === undefined && field.oxm === undefined) {
    standard(writer, 0xffff, (to) => {
      to.u32(NICIRA).u16(33);
      writeFieldValue(to, field, value, mask, 3);
    });
    return;
  }
  // Types and codes of ICMP have 16 bits in a flow, where ports are, and 8 in a packet.
  for (const { offset, bits } of runs(mask & ones(partBits(field)))) {
    nicira(writer, 7, (to) => {
      to.u16(ofsBits({ offset, bits }));
      writeHeader(to, field, 0);
      to.u64(value >> BigInt(offset) & ones(bits));
    });
  }
}

/** Fields that OpenFlow 1.0 and 1.1 have actions for, though not by this name. */
const legacy: Readonly<Record<string, ModName>> = {
  eth_src: "dl_src",
  eth_dst: "dl_dst",
  ip_src: "nw_src",
  ip_dst: "nw_dst",
  ip_dscp: "nw_tos",
  nw_tos: "nw_tos",
  vlan_vid: "vlan_vid",
  vlan_pcp: "vlan_pcp",
  tcp_src: "tp_src",
  udp_src: "tp_src",
  tcp_dst: "tp_dst",
  udp_dst: "tp_dst",
};

function writeSetField(
  writer: Writer,
  action: OfAction & { readonly type: "setField" },
  version: Version,
): void {
  const { field, value, mask, form } = action;
  const isWhole = mask === allOf(field);
  if (version >= 6) return setFieldAction(writer, field, value, mask, version);
  if (form === "load") return regLoad(writer, field, value, mask);
  if (version >= 3) {
    if (isWhole) setFieldAction(writer, field, value, mask, version);
    else regLoad(writer, field, value, mask);
    return;
  }
  const name = legacy[field.name];
  // All of a field that has more bits on the wire is all of those.
  const all = isWhole && partBits(field) > field.bits ? ones(partBits(field)) : mask;
  if (name === undefined || !isWhole) return regLoad(writer, field, value, all);
  const put = name === "nw_tos"
    ? value << 2n
    : name === "vlan_vid"
    ? value & 0xfffn
    : value;
  writeMod(writer, { type: "mod", name, value: put }, version);
}

function writeMove(writer: Writer, src: SubField, dst: SubField, version: Version): void {
  const body = (to: Writer): void =>
    void to.u16(src.bits).u16(src.offset).u16(dst.offset);
  if (version >= 6) {
    standard(writer, 28, (to) => {
      body(to);
      to.zeros(2);
      writeHeader(to, src.field, version);
      writeHeader(to, dst.field, version);
    });
    return;
  }
  nicira(writer, 6, (to) => {
    body(to);
    writeHeader(to, src.field, 0);
    writeHeader(to, dst.field, 0);
  });
}

function property(writer: Writer, type: number, body: (writer: Writer) => void): void {
  const start = writer.size;
  writer.u16(type).u16(0);
  body(writer);
  writer.set16(start + 2, writer.size - start).pad8(start);
}

function writeController(
  writer: Writer,
  action: OfAction & { readonly type: "controller" },
): void {
  const { maxLength, controllerId, reason, userdata, meter, pause } = action;
  if (userdata === undefined && meter === undefined && !pause) {
    nicira(writer, 20, (to) => to.u16(maxLength).u16(controllerId).u8(reason).zeros(1));
    return;
  }
  nicira(writer, 37, (to) => {
    to.zeros(6);
    if (maxLength !== 0xffff) property(to, 0, (of) => of.u16(maxLength));
    if (controllerId !== 0) property(to, 1, (of) => of.u16(controllerId));
    if (reason !== 1) property(to, 2, (of) => of.u8(reason));
    if (userdata !== undefined) property(to, 3, (of) => of.put(userdata));
    if (pause) property(to, 4, () => {});
    if (meter !== undefined) property(to, 5, (of) => of.u32(meter));
  });
}

/** Writes an action. What a version cannot say is left out, or said in
 * Nicira's way. */
export function writeAction(writer: Writer, action: OfAction, version: Version): void {
  const isFirst = version === 1;
  switch (action.type) {
    case "output":
      return standard(
        writer,
        0,
        (to) =>
          isFirst
            ? to.u16(portTo10(action.port)).u16(action.maxLength)
            : to.u32(action.port).u16(action.maxLength),
      );
    case "controller":
      return writeController(writer, action);
    case "enqueue":
      if (!isFirst) {
        standard(writer, 21, (to) => to.u32(action.queue));
        standard(writer, 0, (to) => to.u32(action.port).u16(0));
        return nicira(writer, 5);
      }
      return standard(
        writer,
        11,
        (to) => to.u16(portTo10(action.port)).zeros(6).u32(action.queue),
      );
    case "outputReg":
      return nicira(writer, 15, (to) => {
        writeSubField(to, action.src);
        to.u16(action.maxLength).zeros(6);
      });
    case "outputTrunc":
      return nicira(
        writer,
        39,
        (to) => to.u16(portTo10(action.port)).u32(action.maxLength),
      );
    case "group":
      return isFirst
        ? nicira(writer, 40, (to) => to.zeros(2).u32(action.group))
        : standard(writer, 22, (to) => to.u32(action.group));
    case "setQueue":
      return isFirst
        ? nicira(writer, 4, (to) => to.zeros(2).u32(action.queue))
        : standard(writer, 21, (to) => to.u32(action.queue));
    case "popQueue":
      return nicira(writer, 5);
    case "setField":
      return writeSetField(writer, action, version);
    case "mod":
      return writeMod(writer, action, version);
    case "move":
      return writeMove(writer, action.src, action.dst, version);
    case "push":
    case "pop":
      return nicira(writer, action.type === "push" ? 27 : 28, (to) => {
        const { field, offset, bits } = action.of;
        to.u16(offset);
        writeHeader(to, field, 0);
        to.u16(bits);
      });
    case "pushVlan":
      // OpenFlow 1.0 adds a tag by setting it: there is nothing to say.
      if (isFirst) return;
      return standard(writer, 17, (to) => to.u16(action.etherType));
    case "popVlan":
      return standard(writer, isFirst ? 3 : 18);
    case "pushMpls":
      return isFirst
        ? nicira(writer, 23, (to) => to.u16(action.etherType))
        : standard(writer, 19, (to) => to.u16(action.etherType));
    case "popMpls":
      return isFirst
        ? nicira(writer, 24, (to) => to.u16(action.etherType))
        : standard(writer, 20, (to) => to.u16(action.etherType));
    case "decTtl":
      return writeDecTtl(writer, action.ids, version);
    case "decMplsTtl":
      return isFirst ? nicira(writer, 26) : standard(writer, 16);
    case "resubmit":
      return nicira(
        writer,
        action.isOfConnection ? 44 : 14,
        (to) => to.u16(portTo10(action.port)).u8(action.table).zeros(3),
      );
    case "setTunnel":
      if (version >= 3) {
        const field = fieldOfName("tun_id");
        return setFieldAction(writer, field, action.id, allOf(field), version);
      }
      return action.is64
        ? nicira(writer, 9, (to) => to.zeros(6).u64(action.id))
        : nicira(writer, 2, (to) => to.zeros(2).u32(Number(action.id)));
    case "clone":
      return nicira(writer, 42, (to) => {
        to.zeros(6);
        writeActions(to, action.actions, version);
      });
    case "note":
      return nicira(writer, 8, (to) => to.put(action.bytes));
    case "exit":
      return nicira(writer, 17);
    case "finTimeout":
      return nicira(writer, 19, (to) => to.u16(action.idle).u16(action.hard));
    case "debugSlow":
    case "debugRecirc":
      return nicira(writer, action.type === "debugSlow" ? 254 : 255);
    case "ctClear":
      return nicira(writer, 43);
    case "ct":
      return nicira(
        writer,
        35,
        (to) => writeCt(to, action, (of, list) => writeActions(of, list, version)),
      );
    case "nat":
      return nicira(writer, 36, (to) => writeNat(to, action));
    case "conjunction":
      return nicira(
        writer,
        34,
        (to) => to.u8(action.clause).u8(action.clauses).u32(action.id),
      );
    case "learn":
      return nicira(
        writer,
        isSecondLearn(action) ? 45 : 16,
        (to) => writeLearn(to, action),
      );
    case "checkPktLarger":
      return nicira(writer, 49, (to) => writeCheckPktLarger(to, action));
    case "bundle":
      return nicira(
        writer,
        action.dst === undefined ? 12 : 13,
        (to) => writeBundle(to, action),
      );
    case "multipath":
      return nicira(writer, 10, (to) => writeMultipath(to, action));
    case "sample":
      return nicira(
        writer,
        [29, 38, 41][formOfSample(action) - 1] as number,
        (to) => writeSample(to, action),
      );
    case "deleteField":
      return nicira(writer, 50, (to) => writeHeader(to, action.field, 0));
    case "meter":
      if (version < 6) return;
      return standard(writer, 29, (to) => to.u32(action.meter));
  }
}

function writeDecTtl(
  writer: Writer,
  ids: readonly number[] | undefined,
  version: Version,
): void {
  if (ids !== undefined) {
    nicira(writer, 21, (to) => {
      to.u16(ids.length).zeros(4);
      for (const id of ids) to.u16(id);
    });
  } else if (version === 1) nicira(writer, 18);
  else standard(writer, 24);
}

/** Writes a list of actions. */
export function writeActions(
  writer: Writer,
  list: readonly OfAction[],
  version: Version,
): void {
  for (const action of list) writeAction(writer, action, version);
}
