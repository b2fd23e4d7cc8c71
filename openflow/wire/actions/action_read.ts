// SPDX-License-Identifier: Apache-2.0
/**
 * Actions from bytes.
 *
 * An action is type and length, 16 bits each, and a body; the length is a multiple of 8. Nicira's
 * have type 0xffff, a vendor and a subtype. Sources: OpenFlow 1.0, 5.2.4, to OpenFlow 1.5.1,
 * "Action Structures"; bodies of Nicira's as in `ofp-actions.c` of Open vSwitch 3.1.
 *
 * @module
 */
import type { ModName, OfAction, SubField } from "../action.ts";
import { NO_TABLE } from "../action.ts";
import type { Reader } from "../bytes.ts";
import { ANY_SIZE, hasNicira, sizesOfNicira, undoneRead } from "./action_sizes.ts";
import { type ErrorName, NICIRA, OfError, ONF, type Version } from "../error.ts";
import { Port, portFrom10, portFrom11 } from "../port_number.ts";
import {
  readBundle,
  readCheckPktLarger,
  readConjunction,
  readMultipath,
  readSample,
} from "../nicira/choice.ts";
import { regLoad2, setField } from "./set_field_read.ts";
import { readCt, readNat } from "../nicira/ct.ts";
import { readLearn } from "../nicira/learn.ts";
import {
  namedField,
  offsetAndBits,
  pulledField,
  readSubField,
  subField,
  writable,
} from "../nicira/subfield.ts";

/** Body to action. */
type Read = (body: Reader, version: Version) => OfAction;

const BAD_ARGUMENT: ErrorName = "OFPBAC_BAD_ARGUMENT";

function mod(name: ModName, size: number, most = 2n ** BigInt(8 * size) - 1n): Read {
  return (body, version) => {
    const value = body.big(size);
    if (value > most) throw new OfError(BAD_ARGUMENT, name);
    const isVlan = name === "vlan_vid" || name === "vlan_pcp";
    return isVlan && version === 1
      ? { type: "mod", name, value, pushes: true }
      : { type: "mod", name, value };
  };
}

/** The TOS of old actions has two bits that do not count. */
const setTos: Read = (body) => {
  const value = body.u8();
  if (value & 3) throw new OfError(BAD_ARGUMENT, "nw_tos");
  return { type: "mod", name: "nw_tos", value: BigInt(value) };
};

function outPort(port: number): number {
  // A packet cannot be sent out of a port that does not exist by name.
  if (port === Port.none || port === Port.unset) throw new OfError("OFPBAC_BAD_OUT_PORT");
  if (port >= Port.max && port < Port.unset) throw new OfError("OFPBAC_BAD_OUT_PORT");
  return port;
}

const output: Read = (body, version) => {
  if (version === 1) {
    return {
      type: "output",
      port: outPort(portFrom10(body.u16())),
      maxLength: body.u16(),
    };
  }
  const port = outPort(portFrom11(body.u32()));
  return { type: "output", port, maxLength: body.u16() };
};

function pushVlan(body: Reader): OfAction {
  const etherType = body.u16();
  if (etherType !== 0x8100 && etherType !== 0x88a8) throw new OfError(BAD_ARGUMENT);
  return { type: "pushVlan", etherType };
}

function pushMpls(body: Reader): OfAction {
  const etherType = body.u16();
  if (etherType !== 0x8847 && etherType !== 0x8848) throw new OfError(BAD_ARGUMENT);
  return { type: "pushMpls", etherType };
}

/**
 * Actions of the specification: by version, from the first to the last that has them, with their
 * bytes where these are not 8. As in Open vSwitch, those of OpenFlow 1.1 are taken later, too.
 */
const standard: readonly (readonly [
  type: number,
  from: Version,
  to: Version,
  read: Read,
  size?: number,
])[] = [
  [0, 1, 1, output],
  [0, 2, 6, output, 16],
  [1, 1, 6, mod("vlan_vid", 2, 0xfffn)],
  [2, 1, 6, mod("vlan_pcp", 1, 7n)],
  [3, 1, 1, () => ({ type: "popVlan", strips: true })],
  [4, 1, 1, mod("dl_src", 6), 16],
  [5, 1, 1, mod("dl_dst", 6), 16],
  [6, 1, 1, mod("nw_src", 4)],
  [7, 1, 1, mod("nw_dst", 4)],
  [8, 1, 1, setTos],
  [9, 1, 1, mod("tp_src", 2)],
  [10, 1, 1, mod("tp_dst", 2)],
  [11, 1, 1, enqueue, 16],
  [3, 2, 6, mod("dl_src", 6), 16],
  [4, 2, 6, mod("dl_dst", 6), 16],
  [5, 2, 6, mod("nw_src", 4)],
  [6, 2, 6, mod("nw_dst", 4)],
  [7, 2, 6, setTos],
  [8, 2, 6, mod("nw_ecn", 1, 3n)],
  [9, 2, 6, mod("tp_src", 2)],
  [10, 2, 6, mod("tp_dst", 2)],
  [13, 2, 6, mod("mpls_label", 4, 0xfffffn)],
  [14, 2, 6, mod("mpls_tc", 1, 7n)],
  [15, 2, 6, mod("mpls_ttl", 1)],
  [16, 2, 6, () => ({ type: "decMplsTtl" })],
  [17, 2, 6, pushVlan],
  [18, 2, 6, () => ({ type: "popVlan" })],
  [19, 2, 6, pushMpls],
  [20, 2, 6, (body) => ({ type: "popMpls", etherType: body.u16() })],
  [21, 2, 6, (body) => ({ type: "setQueue", queue: body.u32() })],
  [22, 2, 6, (body) => ({ type: "group", group: body.u32() })],
  [23, 2, 6, mod("nw_ttl", 1)],
  [24, 2, 6, () => ({ type: "decTtl" })],
  [25, 3, 6, setField],
  [28, 6, 6, copyField],
  [29, 6, 6, (body) => ({ type: "meter", meter: body.u32() })],
];

function enqueue(body: Reader): OfAction {
  const port = portFrom10(body.u16());
  if (port >= Port.max && port !== Port.local && port !== Port.inPort) {
    throw new OfError("OFPBAC_BAD_OUT_PORT");
  }
  body.skip(6);
  return { type: "enqueue", port, queue: body.u32() };
}

function move(src: SubField, dst: SubField): OfAction {
  return { type: "move", src, dst: writable(dst) };
}

/** Copy-Field of OpenFlow 1.5; the ONF's of 1.3 has another header before the fields. */
function copyField(body: Reader): OfAction {
  const bits = body.u16();
  const from = body.u16();
  const to = body.u16();
  body.skip(2);
  const src = pulledField(body);
  const dst = pulledField(body);
  body.zeros(body.left, "NXBRC_MUST_BE_ZERO");
  return move(subField(src, from, bits), subField(dst, to, bits));
}

function regMove(body: Reader): OfAction {
  const bits = body.u16();
  const from = body.u16();
  const to = body.u16();
  const src = pulledField(body);
  const dst = pulledField(body);
  body.zeros(body.left, "NXBRC_MUST_BE_ZERO");
  return move(subField(src, from, bits), subField(dst, to, bits));
}

function regLoad(body: Reader): OfAction {
  const [offset, bits] = offsetAndBits(body.u16());
  const field = namedField(body);
  const value = body.u64();
  writable(subField(field, offset, bits));
  if (value >> BigInt(bits) !== 0n) throw new OfError(BAD_ARGUMENT);
  const shift = BigInt(offset);
  const mask = ((1n << BigInt(bits)) - 1n) << shift;
  return { type: "setField", field, value: value << shift, mask, form: "load" };
}

function stack(type: "push" | "pop"): Read {
  return (body) => {
    const offset = body.u16();
    const field = pulledField(body);
    const of = subField(field, offset, body.u16());
    body.zeros(body.left, "NXBRC_MUST_BE_ZERO");
    return { type, of: type === "pop" ? writable(of) : of };
  };
}

function controller2(body: Reader): OfAction {
  body.zeros(6, "NXBAC_MUST_BE_ZERO");
  const made: {
    maxLength: number;
    controllerId: number;
    reason: number;
    userdata?: Uint8Array;
    meter?: number;
    pause?: boolean;
  } = { maxLength: 0xffff, controllerId: 0, reason: 1 };
  while (body.left >= 4) {
    const type = body.u16();
    const length = body.u16();
    if (type === 0 && length === 0) break; // Padding of the action.
    if (length < 4) throw new OfError("OFPBPC_BAD_LEN");
    const value = body.part(length - 4, "OFPBPC_BAD_LEN");
    switch (type) {
      case 0:
        made.maxLength = value.u16();
        break;
      case 1:
        made.controllerId = value.u16();
        break;
      case 2:
        made.reason = value.u8();
        break;
      case 3:
        made.userdata = value.rest();
        break;
      case 4:
        made.pause = true;
        break;
      case 5:
        if (value.left > 4) value.skip(value.left - 4);
        made.meter = value.u32();
        break;
      default:
        throw new OfError("OFPBPC_BAD_TYPE");
    }
    body.skip(Math.min(body.left, -length & 7));
  }
  return { type: "controller", ...made };
}

function decTtlWithIds(body: Reader): OfAction {
  const count = body.u16();
  body.zeros(4, "NXBAC_MUST_BE_ZERO");
  return { type: "decTtl", ids: Array.from({ length: count }, () => body.u16()) };
}

/** A lookup's port, 16 bits as in OpenFlow 1.0. */
function lookupPort(body: Reader): number {
  return portFrom10(body.u16());
}

function resubmit(body: Reader): OfAction & { readonly type: "resubmit" } {
  const port = lookupPort(body);
  const table = body.u8();
  body.zeros(3, "OFPBAC_BAD_ARGUMENT");
  return { type: "resubmit", port, table };
}

/** Actions of Nicira by subtype. */
const nicira: Readonly<Record<number, Read>> = {
  1: (body) => ({ type: "resubmit", port: lookupPort(body), table: NO_TABLE }),
  2: (body) => {
    body.skip(2);
    return { type: "setTunnel", id: BigInt(body.u32()), is64: false };
  },
  4: (body) => {
    body.skip(2);
    return { type: "setQueue", queue: body.u32() };
  },
  5: () => ({ type: "popQueue" }),
  6: regMove,
  7: regLoad,
  8: (body) => ({ type: "note", bytes: body.rest() }),
  9: (body) => {
    body.skip(6);
    return { type: "setTunnel", id: body.u64(), is64: true };
  },
  14: resubmit,
  15: (body) => {
    const part = body.part(6);
    const maxLength = body.u16();
    body.zeros(6, BAD_ARGUMENT);
    return { type: "outputReg", src: readSubField(part), maxLength };
  },
  10: readMultipath,
  12: (body) => readBundle(body, false),
  13: (body) => readBundle(body, true),
  16: (body) => readLearn(body, false),
  17: () => ({ type: "exit" }),
  18: () => ({ type: "decTtl" }),
  19: (body) => ({ type: "finTimeout", idle: body.u16(), hard: body.u16() }),
  20: (body) => {
    const maxLength = body.u16();
    const controllerId = body.u16();
    return { type: "controller", maxLength, controllerId, reason: body.u8() };
  },
  21: decTtlWithIds,
  23: pushMpls,
  24: (body) => ({ type: "popMpls", etherType: body.u16() }),
  25: mod("mpls_ttl", 1),
  26: () => ({ type: "decMplsTtl" }),
  27: stack("push"),
  28: stack("pop"),
  29: (body) => readSample(body, 1),
  30: (body) => {
    body.skip(2);
    return mod("mpls_label", 4, 0xfffffn)(body, 1);
  },
  31: mod("mpls_tc", 1, 7n),
  32: (body) => {
    const [offset, bits] = offsetAndBits(body.u16());
    const maxLength = body.u16();
    return {
      type: "outputReg",
      src: subField(pulledField(body), offset, bits),
      maxLength,
    };
  },
  33: regLoad2,
  34: readConjunction,
  35: (body, version) => readCt(body, (nested) => readActions(nested, version)),
  36: readNat,
  37: controller2,
  38: (body) => readSample(body, 2),
  39: (body) => {
    const port = outPort(portFrom10(body.u16()));
    const maxLength = body.u32();
    if (maxLength < 14) throw new OfError(BAD_ARGUMENT);
    return { type: "outputTrunc", port, maxLength };
  },
  40: (body) => ({ type: "group", group: body.skip(2).u32() }),
  41: (body) => readSample(body, 3),
  42: (body, version) => {
    body.skip(6);
    return { type: "clone", actions: readActions(body, version) };
  },
  43: () => ({ type: "ctClear" }),
  254: () => ({ type: "debugSlow" }),
  255: () => ({ type: "debugRecirc" }),
  44: (body) => ({ ...resubmit(body), isOfConnection: true }),
  45: (body) => readLearn(body, true),
  49: readCheckPktLarger,
  50: (body) => ({ type: "deleteField", field: pulledField(body) }),
};

/** Actions of the ONF by subtype. */
const onf: Readonly<Record<number, Read>> = {
  3200: (body) => {
    body.skip(2);
    const bits = body.u16();
    const from = body.u16();
    const to = body.u16();
    body.skip(2);
    const src = pulledField(body);
    const dst = pulledField(body);
    return move(subField(src, from, bits), subField(dst, to, bits));
  },
};

const [VENDOR, SET_FIELD, COPY_FIELD] = [0xffff, 25, 28] as const;

/** How deep actions may be nested. */
const MAX_DEPTH = 16;
let depth = 0;

/** Reads the actions that a part consists of. Throws {@linkcode OfError} only. */
export function readActions(reader: Reader, version: Version): OfAction[] {
  if (++depth > MAX_DEPTH) {
    depth--;
    throw new OfError("OFPBAC_TOO_MANY");
  }
  try {
    const list: OfAction[] = [];
    while (reader.left > 0) list.push(readAction(reader, version));
    return list;
  } finally {
    depth--;
  }
}

function readAction(reader: Reader, version: Version): OfAction {
  if (reader.left < 8) throw new OfError("OFPBAC_BAD_LEN");
  const { bytes, at } = reader;
  const u16 = (from: number): number =>
    (bytes[at + from] as number) << 8 | (bytes[at + from + 1] as number);
  const type = u16(0);
  const { read, sizes } = type === VENDOR
    ? vendorRead(reader, version, u16)
    : standardRead(type, version);
  const length = u16(2);
  const [least, most] = sizes;
  if (length > reader.left || length < least || length > most || length % 8 !== 0) {
    throw new OfError("OFPBAC_BAD_LEN");
  }
  const body = reader.part(length);
  body.skip(type === VENDOR ? 10 : 4);
  return read(body, version);
}

/** How an action is read, and its bytes at least and at most. */
interface Known {
  readonly read: Read;
  readonly sizes: readonly [least: number, most: number];
}

function standardRead(type: number, version: Version): Known {
  const found = standard.find(([of, from, to]) =>
    of === type && version >= from && version <= to
  );
  if (found === undefined) throw new OfError("OFPBAC_BAD_TYPE");
  const [, , , read, size = 8] = found;
  const isBound = type !== SET_FIELD && type !== COPY_FIELD;
  return { read, sizes: [size, isBound ? size : ANY_SIZE] };
}

function vendorRead(
  reader: Reader,
  version: Version,
  u16: (from: number) => number,
): Known {
  const vendor = (u16(4) << 16 | u16(6)) >>> 0;
  if (vendor !== NICIRA && vendor !== ONF) throw new OfError("OFPBAC_BAD_VENDOR");
  if (reader.left < 16) throw new OfError("OFPBAC_BAD_LEN");
  const subtype = u16(8);
  const isOnf = vendor === ONF;
  const read = isOnf ? onf[subtype] : nicira[subtype] ?? undoneRead(subtype);
  const has = isOnf ? version === 4 || version === 5 : hasNicira(subtype, version);
  if (read === undefined || !has) throw new OfError("OFPBAC_BAD_VENDOR_TYPE");
  return { read, sizes: isOnf ? [24, ANY_SIZE] : sizesOfNicira(subtype) };
}
