// SPDX-License-Identifier: Apache-2.0
/**
 * `OVS_ACTION_ATTR_*`: the table, and lists of actions between objects and bytes.
 *
 * Source of the format: `<linux/openvswitch.h>`; ids 26 to 28 from Open vSwitch's own header
 * (3.7: they have moved since 3.1, so bytes of theirs are not stable between versions).
 *
 * @module
 */

import type {
  Action,
  CheckPktLenAction,
  DecTtlAction,
  PsampleAction,
  PushNshAction,
  SampleAction,
  UnknownAction,
  UserspaceAction,
} from "../types.ts";
import {
  type ActionLine,
  type ActionLists,
  bare,
  type FormField,
  hashLine,
  ListCodec,
  nest,
  plain,
  single,
  tunnelPushLine,
} from "./action_line.ts";
import {
  AttributeSet,
  checkEnd,
  checkSize,
  line,
  placed,
  unknownAttribute,
  writeUnknown,
} from "./attributes.ts";
import { BytesCodec, flag, one, StructCodec } from "../codec/codec.ts";
import { ctNest } from "./payload/ct.ts";
import { AttributeError, joinPath } from "../codec/errors.ts";
import { be16x, bits, mac, u16, u32, wrong } from "../codec/leaf.ts";
import { nshKey } from "./payload/nsh.ts";
import { completeSet, readSet, writeSet } from "./set.ts";
import {
  HEADER_SIZE,
  MAX_ATTRIBUTE_SIZE,
  TYPE_MASK,
  type Writer,
  written,
} from "../codec/writer.ts";

/** Deepest nesting: the kernel's limit. Text of Open vSwitch may go to 32. */
export const MAX_ACTION_DEPTH = 16;

type Named<T extends Action["type"]> = Extract<Action, { type: T }>;
type ActionTable = {
  readonly [T in Exclude<Action["type"], "unknown">]: ActionLine<Named<T>>;
};

/** How deep the list is that is being read or written. */
let depth = 0;

/** A list of actions within another one. */
class ActionsCodec extends ListCodec {
  read(bytes: Uint8Array, at: number, size: number): readonly Action[] {
    return readActions(bytes, at, at + size, "");
  }

  write(writer: Writer, actions: readonly Action[]): void {
    writeActions(writer, actions);
  }
}

const list = new ActionsCodec();

/** Fields of a label stack entry, in the order of the text. */
const lse = {
  label: { at: 0, leaf: bits(4, 12, 20) },
  tc: { at: 0, leaf: bits(4, 9, 3) },
  ttl: { at: 0, leaf: bits(4, 0, 8) },
  bos: { at: 0, leaf: bits(4, 8, 1) },
  etherType: { at: 4, leaf: be16x, text: "eth_type" },
} as const;

/** The same in text. */
const lseForm = [
  { field: "label", max: 0xfffff },
  { field: "tc", max: 7, default: 0 },
  { field: "ttl", max: 255, default: 0 },
  { field: "bos", max: 1, default: 0 },
  { field: "etherType", text: "eth_type", max: 0xffff, hex: 1 },
] as const satisfies readonly FormField<Named<"pushMpls">>[];

const userspace = new AttributeSet<Omit<UserspaceAction, "type">>("userspace", {
  portId: line(1, one.u32),
  userdata: line(2, new BytesCodec()),
  tunnelOutPort: line(3, one.u32),
  actions: line(4, flag),
});

/** `OVS_ACTION_ATTR_*` */
export const actionTable: ActionTable = {
  output: single(1, "output", "port", u32),
  userspace: nest(2, userspace, ["portId"]),
  set: {
    id: 3,
    min: 4,
    max: 0xfffb,
    text: "set",
    knownTo: "both",
    read: (bytes, at, size, path) => readSet(bytes, at, at + size, false, path),
    write: writeSet,
  },
  pushVlan: plain(
    4,
    "push_vlan",
    new StructCodec("push_vlan", 4, {
      tpid: { at: 0, leaf: be16x },
      vid: { at: 2, leaf: bits(2, 0, 12) },
      pcp: { at: 2, leaf: bits(2, 13, 3) },
      cfi: { at: 2, leaf: bits(2, 12, 1) },
    }),
    [
      { field: "tpid", max: 0xffff, hex: 4, default: 0x8100, rare: true },
      { field: "vid", max: 0xfff },
      { field: "pcp", max: 7, default: 0 },
      { field: "cfi", max: 1, default: 1, rare: true },
    ],
  ),
  popVlan: bare(5, "pop_vlan"),
  sample: nest(
    6,
    new AttributeSet<Omit<SampleAction, "type">>("sample", {
      probability: line(1, one.u32),
      actions: line(2, list),
    }),
    ["probability", "actions"],
  ),
  recirc: single(7, "recirc", "id", u32, { form: "hex" }),
  hash: hashLine,
  pushMpls: plain(9, "push_mpls", new StructCodec("push_mpls", 8, lse), lseForm),
  popMpls: single(10, "pop_mpls", "etherType", be16x, {
    form: { text: "eth_type", max: 0xffff, hex: 1 },
  }),
  ct: nest(12, ctNest, []),
  trunc: single(13, "trunc", "size", u32, { form: "decimal" }),
  pushEth: plain(
    14,
    "push_eth",
    new StructCodec("push_eth", 12, {
      src: { at: 0, leaf: mac },
      dst: { at: 6, leaf: mac },
    }),
  ),
  popEth: bare(15, "pop_eth"),
  ctClear: bare(16, "ct_clear"),
  // The header is the attribute of a key, OVS_KEY_ATTR_NSH.
  pushNsh: nest(
    17,
    new AttributeSet<Omit<PushNshAction, "type">>("push_nsh", {
      nsh: line(28, nshKey),
    }),
    ["nsh"],
  ),
  popNsh: bare(18, "pop_nsh", "call"),
  meter: single(19, "meter", "id", u32, { form: "decimal" }),
  clone: {
    id: 20,
    min: 0,
    max: 0xfffb,
    text: "clone",
    lists: "payload",
    knownTo: "both",
    read: (bytes, at, size) => ({ actions: list.read(bytes, at, size) }),
    write: (writer, { actions }) => list.write(writer, actions),
  },
  checkPktLen: nest(
    21,
    new AttributeSet<Omit<CheckPktLenAction, "type">>("check_pkt_len", {
      size: line(1, one.u16),
      greater: line(2, list),
      lessEqual: line(3, list),
    }),
    ["size", "greater", "lessEqual"],
  ),
  addMpls: plain(
    22,
    "add_mpls",
    new StructCodec("add_mpls", 8, { ...lse, tunnelFlags: { at: 6, leaf: u16 } }),
    [
      ...lseForm,
      {
        field: "tunnelFlags",
        text: "tun_flags",
        max: 0xffff,
        hex: 0,
        default: 0,
        rare: true,
      },
    ],
  ),
  decTtl: nest(
    23,
    new AttributeSet<Omit<DecTtlAction, "type">>("dec_ttl", { actions: line(1, list) }),
    ["actions"],
    "kernel",
  ),
  drop: single(24, "drop", "reason", u32),
  psample: nest(
    25,
    new AttributeSet<Omit<PsampleAction, "type">>("psample", {
      group: line(1, one.u32),
      cookie: line(2, new BytesCodec(1, 16)),
    }),
    ["group"],
    "kernel",
  ),
  tunnelPush: tunnelPushLine,
  tunnelPop: single(27, "tnl_pop", "port", u32, { form: "port", knownTo: "netdev" }),
  lbOutput: single(28, "lb_output", "bond", u32, { form: "decimal", knownTo: "netdev" }),
};

/** `OVS_ACTION_ATTR_SET_MASKED`, which is the action `set` with a mask. */
export const SET_MASKED = 11;

const setMasked: ActionLine<Named<"set">> = {
  ...actionTable.set,
  id: SET_MASKED,
  read: (bytes, at, size, path) => readSet(bytes, at, at + size, true, path),
};

const OUTPUT = actionTable.output.id;

/** Lines of actions with their type. */
export interface TypedLine {
  readonly type: Action["type"];
  readonly line: ActionLine<Action>;
}

const byId: (TypedLine | undefined)[] = [];
for (const [type, actionLine] of Object.entries(actionTable)) {
  byId[actionLine.id] = { type, line: actionLine } as unknown as TypedLine;
}
byId[SET_MASKED] = { type: "set", line: setMasked } as unknown as TypedLine;

/** The line of a type. */
export function actionLine(
  type: Exclude<Action["type"], "unknown">,
): ActionLine<Action> {
  return actionTable[type] as unknown as ActionLine<Action>;
}

/** The type and line of each name in text. */
export const actionsByText: ReadonlyMap<string, TypedLine> = new Map(
  byId.flatMap((typed) =>
    typed === undefined || typed.line.id === SET_MASKED ? [] : [[typed.line.text, typed]]
  ),
);

/** Where the payload of an action holds lists of actions; undefined: nowhere. */
export function listsOf(id: number): ActionLists | undefined {
  return byId[id]?.line.lists;
}

/** Appends a list of actions. */
export function writeActions(writer: Writer, actions: readonly Action[]): void {
  if (!Array.isArray(actions)) throw wrong("actions", "an array, text or bytes", actions);
  if (depth > MAX_ACTION_DEPTH) throw tooDeep("actions", writer.at);
  depth++;
  try {
    for (const action of actions as readonly Action[]) {
      if (action.type === "output") {
        const at = writer.alloc(8);
        const bytes = writer.bytes;
        bytes[at] = 8;
        bytes[at + 2] = OUTPUT;
        u32.put(bytes, at + 4, action.port, "output.port");
      } else {
        writeAction(writer, action);
      }
    }
  } finally {
    depth--;
  }
}

function writeAction(writer: Writer, action: Action): void {
  if (action.type === "unknown") {
    return writeUnknown(writer, [{ id: action.id, bytes: action.bytes }]);
  }
  if (!Object.hasOwn(actionTable, action.type)) {
    throw new TypeError(`there is no action of type "${action.type}"`);
  }
  const actionLine = actionTable[action.type] as ActionLine<Action>;
  const whole = action.type === "set" ? completeSet(action) : action;
  const masked = whole.type === "set" && whole.mask !== undefined;
  const start = writer.begin(masked ? SET_MASKED : actionLine.id);
  actionLine.write(writer, whole);
  writer.end(start, actionLine.text);
}

/** Bytes of a list of actions. Throws `TypeError`, `RangeError` or `AttributeError`. */
export function encodeActions(actions: readonly Action[]): Uint8Array<ArrayBuffer> {
  return written((writer) => {
    writeActions(writer, actions);
    // A list travels in one attribute. (The writer of that attribute checks that the header fits
    // too: Open vSwitch reads texts that are 4 bytes too long.)
    if (writer.at > MAX_ATTRIBUTE_SIZE) {
      throw new AttributeError(
        "actions",
        0,
        `${writer.at} bytes do not fit into an attribute`,
        "EMSGSIZE",
      );
    }
  });
}

/** The actions between `from` and `to`. */
function readActions(
  bytes: Uint8Array,
  from: number,
  to: number,
  path: string,
): Action[] {
  if (depth > MAX_ACTION_DEPTH) throw tooDeep(path, from);
  depth++;
  const actions: Action[] = [];
  try {
    let at = from;
    while (at + HEADER_SIZE <= to) {
      const size = (bytes[at] as number) | (bytes[at + 1] as number) << 8;
      checkSize(size, at, to, path);
      actions.push(readAction(bytes, at, size - HEADER_SIZE, path));
      at += size + 3 & ~3;
    }
    checkEnd(at, to, path);
  } finally {
    depth--;
  }
  return actions;
}

function readAction(
  bytes: Uint8Array,
  start: number,
  size: number,
  path: string,
): Action {
  const at = start + HEADER_SIZE;
  const id = ((bytes[start + 2] as number) | (bytes[start + 3] as number) << 8) &
    TYPE_MASK;
  const typed = byId[id];
  if (typed === undefined) {
    return { type: "unknown", ...unknownAttribute(bytes, at, size) } as UnknownAction;
  }
  const { type, line: actionLine } = typed;
  const where = joinPath(path, actionLine.text);
  if (size < actionLine.min || size > actionLine.max) {
    throw new AttributeError(where, start, `payload has ${size} bytes`);
  }
  try {
    return { type, ...actionLine.read(bytes, at, size, "") } as Action;
  } catch (error) {
    throw placed(error, where, at);
  }
}

function tooDeep(path: string, at: number): AttributeError {
  return new AttributeError(
    path,
    at,
    `actions are nested more than ${MAX_ACTION_DEPTH} deep`,
    "EOVERFLOW",
  );
}

/**
 * The actions of attribute bytes.
 *
 * Actions without a name here are kept.  Throws `AttributeError` for bytes that are malformed.
 */
export function decodeActions(bytes: Uint8Array): Action[] {
  return readActions(bytes, 0, bytes.length, "");
}
