// SPDX-License-Identifier: Apache-2.0
/**
 * Reads the text of actions: what `ovs-dpctl add-flow` takes, and what it only prints
 * (`recirc(0x…)`, `hash()`, `push_mpls()`, `push_eth()`, `dec_ttl()`, `set(nsh())` …).
 *
 * @module
 */

import type { Action, PsampleAction, UserspaceAction } from "../../types.ts";
import {
  actionsByText,
  actionTable,
  decodeActions,
  MAX_ACTION_DEPTH,
  SET_MASKED,
} from "../action.ts";
import { keyTable } from "../key.ts";
import { nshKey } from "../payload/nsh.ts";
import { isTelling, type Scanner } from "./scanner.ts";
import { scanArgument, scanForm, scanPortArgument } from "./action_form.ts";
import { scanUserdata } from "./cookie.ts";
import { scanCt } from "./ct.ts";
import { scanAttribute } from "./key_scan.ts";
import { scanPushNsh } from "./nsh.ts";
import { scanHeader } from "./tunnel_push.ts";
import { Writer } from "../../codec/writer.ts";

const U32 = 0xffffffff;
const OPEN = 40;
const CLOSE = 41;

/** Takes a whole list: `drop`, nothing, or actions up to the end. */
export function scanActionList(s: Scanner): Action[] {
  s.skipDelimiters();
  const first = s.at;
  if (s.take("drop")) {
    const start = s.at;
    s.skipDelimiters();
    if (s.done) return [];
    // "drop" alone says that the list is empty, "drop(1)" is the action with a reason.
    if (s.code !== OPEN) s.fail('"drop" ends a list', start);
    s.at = first;
  }
  const actions: Action[] = [];
  for (;;) {
    s.skipDelimiters();
    if (s.done) return actions;
    scanAction(s, actions);
  }
}

/** Takes a list up to a closing parenthesis, and that too. */
function scanNested(s: Scanner): Action[] {
  const start = s.at;
  if (++s.depth > MAX_ACTION_DEPTH) s.fail("actions are nested too deep", start);
  const actions: Action[] = [];
  for (;;) {
    s.skipDelimiters();
    if (s.takeCode(CLOSE)) break;
    // Alone in a nested list `drop` says that it is empty.
    const at = s.at;
    if (actions.length === 0 && s.take("drop")) {
      s.skipDelimiters();
      if (s.takeCode(CLOSE)) break;
      s.at = at;
    }
    scanAction(s, actions);
  }
  s.depth--;
  return actions;
}

/** Appends the action that comes next. */
function scanAction(s: Scanner, actions: Action[]): void {
  const start = s.at;
  if (s.code >= 48 && s.code <= 57) {
    actions.push({ type: "output", port: s.number(U32) });
    return;
  }
  if (s.ports !== undefined) {
    const name = s.until(", \t\r\n)");
    const no = isTelling(name) ? s.ports.no(name) : undefined;
    if (no !== undefined) {
      actions.push({ type: "output", port: no });
      return;
    }
    s.at = start;
  }
  const word = s.word();
  const scan = Object.hasOwn(scanners, word) ? scanners[word] : undefined;
  if (scan !== undefined) {
    actions.push(scan(s, start));
    return;
  }
  const typed = actionsByText.get(word);
  if (typed?.line.form !== undefined) {
    actions.push(scanForm(typed, s, start));
    return;
  }
  const number = /^action(\d+)$/.exec(word)?.[1];
  if (number === undefined || Number(number) > 0x3fff) {
    s.fail("no action of this name", start);
  }
  const bytes = s.takeCode(40) ? s.hexBytes(")") : new Uint8Array();
  if (bytes.length > 0) s.expect(")");
  actions.push({ type: "unknown", id: Number(number), bytes });
}

/** The names of actions. */
export const actionNames = (): readonly string[] => [
  ...new Set([...Object.keys(scanners), ...actionsByText.keys()]),
];

type Scan = (s: Scanner, start: number) => Action;

/** Actions whose text is more than numbers. */
const scanners: Readonly<Record<string, Scan>> = {
  drop(s) {
    if (s.code === OPEN) return { type: "drop", reason: scanArgument(s) };
    const start = s.at;
    s.skipDelimiters();
    if (!s.done && s.code !== CLOSE) s.fail('"drop" ends a list', start);
    s.at = start;
    return { type: "drop", reason: 0 };
  },
  userspace: scanUserspace,
  set: scanSet,
  push_eth(s) {
    const at = { src: "", dst: "" };
    s.expect("(src=");
    at.src = s.until(",)");
    s.expect(",dst=");
    at.dst = s.until(",)");
    // Open vSwitch's parser once took a type, which the action does not have.
    if (s.take(",type=")) s.number(0xffff);
    s.expect(")");
    for (const address of [at.src, at.dst]) {
      if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(address)) {
        s.fail("expected a MAC address");
      }
    }
    return { type: "pushEth", src: at.src.toLowerCase(), dst: at.dst.toLowerCase() };
  },
  hash(s) {
    s.expect("(");
    const algorithm = s.take("l4")
      ? "l4"
      : s.take("sym_l4")
      ? "symL4"
      : s.fail("no hash of this name");
    const basis = scanArgument(s);
    s.expect(")");
    return { type: "hash", algorithm, basis };
  },
  sample: scanSample,
  clone(s) {
    s.expect("(");
    return { type: "clone", actions: scanNested(s) };
  },
  check_pkt_len(s) {
    s.expect("(size=");
    const size = s.number(0xffff);
    s.expect(",gt(");
    const greater = scanNested(s);
    s.expect(",le(");
    const lessEqual = scanNested(s);
    s.expect(")");
    return { type: "checkPktLen", size, greater, lessEqual };
  },
  dec_ttl(s) {
    s.expect("(le_1(");
    const actions = scanNested(s);
    s.expect(")");
    return { type: "decTtl", actions };
  },
  push_nsh: scanPushNsh,
  ct: scanCt,
  tnl_push(s) {
    s.expect("(tnl_port");
    const tunnelPort = scanPortArgument(s);
    s.expect(",");
    const { header, tunnelType } = scanHeader(s);
    s.expect(",out_port");
    const outPort = scanPortArgument(s);
    s.expect(")");
    return { type: "tunnelPush", tunnelPort, outPort, tunnelType, header };
  },
  psample: scanPsample,
};

/** Without a cookie Open vSwitch makes one of 48 zero bytes; here there is none then. */
function scanUserspace(s: Scanner): UserspaceAction {
  s.expect("(pid=");
  const action: { -readonly [K in keyof UserspaceAction]: UserspaceAction[K] } = {
    type: "userspace",
    portId: s.number(U32),
  };
  while (!s.takeCode(CLOSE)) {
    s.expect(",");
    const start = s.at;
    if (s.take("tunnel_out_port=")) action.tunnelOutPort = s.port(",)");
    else if (s.take("actions")) action.actions = true;
    else {
      const userdata = scanUserdata(s);
      if (userdata === undefined) s.fail("no such part of a userspace action", start);
      action.userdata = userdata;
    }
  }
  return action;
}

/** Takes a key attribute; it becomes a masked set unless its mask has all bits. */
function scanSet(s: Scanner): Action {
  s.expect("(");
  const start = s.at;
  const key = new Writer(128);
  const mask = new Writer(128);
  scanAttribute(s, { key, mask });
  s.expect(")");
  const value = key.slice();
  const bits = mask.slice();
  const id = (value[2] as number) | (value[3] as number) << 8;
  const size = ((value[0] as number) | (value[1] as number) << 8) - 4;
  const out = new Writer(128);
  const payload = bits.subarray(4, 4 + size);
  const full = payload.every((byte) => byte === 255);
  if (id === keyTable.nsh.id && !full) return maskedNsh(value, bits);
  const masked = !full && id !== keyTable.tunnel.id;
  const outer = out.begin(masked ? SET_MASKED : actionTable.set.id);
  const inner = out.begin(id);
  out.append(value.subarray(4, 4 + size));
  if (masked) out.append(payload);
  out.end(inner, "set");
  out.end(outer, "set");
  try {
    return decodeActions(out.slice())[0] as Action;
  } catch (error) {
    s.fail(error instanceof Error ? error.message : "bad field", start);
  }
}

function maskedNsh(value: Uint8Array, bits: Uint8Array): Action {
  const nsh = nshKey.read(value, 4, value.length - 4);
  const mask = nshKey.readMask(bits, 4, bits.length - 4);
  return { type: "set", key: { nsh }, mask: { nsh: mask as never } };
}

function scanSample(s: Scanner): Action {
  s.expect("(sample=");
  const start = s.at;
  const share = Number(s.until("%"));
  if (!(share >= 0 && share <= 100)) s.fail("expected 0 to 100 percent", start);
  s.expect("%,actions(");
  const actions = scanNested(s);
  s.expect(")");
  const probability = Math.min(Math.floor(U32 * (share / 100) + 0.5), U32);
  return { type: "sample", probability, actions };
}

function scanPsample(s: Scanner, start: number): PsampleAction {
  let group: number | undefined;
  let cookie: Uint8Array | undefined;
  s.expect("(");
  while (!s.takeCode(CLOSE)) {
    const at = s.at;
    if (group === undefined && s.take("group=")) group = s.number(U32);
    else if (cookie === undefined && s.take("cookie=0x")) {
      cookie = s.hexBytes(",)");
      if (cookie.length === 0 || cookie.length > 16) s.fail("expected 1 to 16 bytes", at);
    } else s.fail("no such part of psample", at);
    if (!s.takeCode(44) && s.code !== CLOSE) s.fail('expected "," or ")"');
  }
  if (group === undefined) s.fail('field "group" is missing', start);
  return cookie ? { type: "psample", group, cookie } : { type: "psample", group };
}
