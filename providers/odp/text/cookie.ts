// SPDX-License-Identifier: Apache-2.0
/**
 * Text of what Open vSwitch puts into the userdata of userspace actions: 48 bytes in the
 * machine's own byte order, of the kinds sFlow, slow_path, flow_sample, ipfix, controller.
 *
 * Layout: type (u16), padding (2), OpenFlow port (u32), UUID (16), then by type.  The text
 * leaves port and UUID out, as Open vSwitch's does: they are zero when it is read back.
 *
 * @module
 */

import { be64, bits, type Leaf, u16, u32, u8 } from "../../codec/leaf.ts";
import type { PortNames, Scanner } from "./scanner.ts";
import { hexDump, printFlags, printLeaf, scanLeaf } from "./fields.ts";

/** Bytes of a cookie. */
const COOKIE_SIZE = 48;
/** Where the part that depends on the type begins. */
const BODY = 24;
const SLOW_PATH = 2;
const FLOW_SAMPLE = 3;

/** Why a packet took the slow path, by bit. */
const slowPathReasons: readonly string[] = [
  "cfm",
  "bfd",
  "lacp",
  "stp",
  "lldp",
  "action",
  "match",
];

/** A field of a cookie: its name in text, its offset, its value. */
type Field = readonly [text: string, at: number, leaf: Leaf<unknown>];

/** Fields of each type, in the order of the text; slow_path has flags instead. */
const layouts: ReadonlyMap<number, { name: string; fields: readonly Field[] }> = new Map([
  [1, {
    name: "sFlow",
    fields: [["vid", 0, bits(2, 0, 12)], ["pcp", 0, bits(2, 13, 3)], ["output", 4, u32]],
  }],
  [FLOW_SAMPLE, {
    name: "flow_sample",
    fields: [
      ["probability", 0, u16],
      ["collector_set_id", 4, u32],
      ["obs_domain_id", 8, u32],
      ["obs_point_id", 12, u32],
      ["output_port", 16, u32],
    ],
  }],
  [4, { name: "ipfix", fields: [["output_port", 0, u32]] }],
  [5, {
    name: "controller",
    fields: [
      ["reason", 2, u16],
      ["dont_send", 0, u8],
      ["continuation", 1, u8],
      ["recirc_id", 4, u32],
      ["rule_cookie", 8, be64],
      ["controller_id", 16, u16],
      ["max_len", 18, u16],
    ],
  }],
]);

/** Where flow_sample says on which side of the port it was taken: 1 ingress, 2 egress. */
const DIRECTION = BODY + 20;
const directions = ["", ",ingress", ",egress"] as const;

/** Text of userdata: as a cookie if it is one, else as hex. */
export function printUserdata(userdata: Uint8Array, ports?: PortNames): string {
  const text = userdata.length === COOKIE_SIZE ? printCookie(userdata, ports) : undefined;
  return text ?? `userdata(${hexDump(userdata)})`;
}

function printCookie(
  cookie: Uint8Array,
  ports: PortNames | undefined,
): string | undefined {
  const type = u16.get(cookie, 0);
  if (type === SLOW_PATH) {
    return `slow_path(${printFlags(u32.get(cookie, BODY + 4), slowPathReasons, ",")})`;
  }
  const layout = layouts.get(type);
  const side = type === FLOW_SAMPLE ? directions[u32.get(cookie, DIRECTION)] : "";
  if (layout === undefined || side === undefined) return undefined;
  const fields = layout.fields.map(([text, at, leaf]) => {
    const name = text === "output_port"
      ? ports?.name(u32.get(cookie, BODY + at))
      : undefined;
    const value = name ?? printLeaf(leaf, cookie, BODY + at);
    return `${text}=${value === "0x0" ? "0" : value}`;
  });
  return `${layout.name}(${fields.join(",")}${side})`;
}

/** Takes a cookie or `userdata(…)`; undefined when neither comes next. */
export function scanUserdata(s: Scanner): Uint8Array | undefined {
  if (s.take("userdata(")) {
    const bytes = s.hexBytes(")");
    s.expect(")");
    return bytes;
  }
  if (s.take("slow_path(")) return scanSlowPath(s);
  for (const [type, { name, fields }] of layouts) {
    if (s.take(`${name}(`)) return scanCookie(s, type, fields);
  }
  return undefined;
}

function scanSlowPath(s: Scanner): Uint8Array {
  const cookie = new Uint8Array(COOKIE_SIZE);
  cookie[0] = SLOW_PATH;
  let reasons = 0;
  while (!s.takeCode(41)) {
    const start = s.at;
    if (s.code >= 48 && s.code <= 57) {
      reasons |= s.number(0xffffffff);
    } else {
      const bit = slowPathReasons.indexOf(s.word());
      if (bit < 0) s.fail("no reason of this name", start);
      reasons |= 1 << bit;
    }
    if (!s.takeCode(44) && s.code !== 41) s.fail('expected "," or ")"');
  }
  u32.poke(cookie, BODY + 4, reasons >>> 0);
  return cookie;
}

function scanCookie(s: Scanner, type: number, fields: readonly Field[]): Uint8Array {
  const cookie = new Uint8Array(COOKIE_SIZE);
  cookie[0] = type;
  for (const [i, [text, at, leaf]] of fields.entries()) {
    if (i > 0) s.expect(",");
    s.expect(`${text}=`);
    if (text === "output_port") u32.poke(cookie, BODY + at, s.port(",)"));
    else scanLeaf(s, leaf, cookie, BODY + at);
  }
  if (type === FLOW_SAMPLE) {
    if (s.take(",ingress")) cookie[DIRECTION] = 1;
    else if (s.take(",egress")) cookie[DIRECTION] = 2;
  }
  s.expect(")");
  return cookie;
}
