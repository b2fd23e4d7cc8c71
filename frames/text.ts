// SPDX-License-Identifier: Apache-2.0
/**
 * Frames for people to read: hexadecimal dumps, one line, one line for each header.
 *
 * @module
 */
import type { Layer } from "./layers.ts";
import { parse } from "./packet.ts";

const PER_LINE = 16;

/**
 * A dump with offsets and letters, as `xxd` and Wireshark have it: both read it, and so does
 * {@linkcode fromHex}.
 */
export function hex(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += PER_LINE) {
    const part = bytes.subarray(at, at + PER_LINE);
    const digits = Array.from(part, (byte) => byte.toString(16).padStart(2, "0"));
    const letters = Array.from(
      part,
      (byte) => byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".",
    );
    lines.push(
      `${at.toString(16).padStart(4, "0")}  ${
        digits.join(" ").padEnd(3 * PER_LINE - 1)
      }  ` +
        letters.join(""),
    );
  }
  return lines.join("\n");
}

/**
 * Bytes of hexadecimal digits, with or without white space and colons between, or of a dump as
 * {@linkcode hex} makes it.  Throws `SyntaxError`.
 */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  const isDump = /^\s*[0-9a-f]{4,8}:?\s\s/im.test(text);
  const digits = text.split("\n").map((line) => {
    if (!isDump) return line;
    // Two blanks stand before and behind the bytes.
    return line.trim().replace(/^[0-9a-f]{4,8}:?\s+/i, "").split(/\s{2,}/)[0] ?? "";
  }).join("").replaceAll(/[\s:]/g, "");
  if (digits.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(digits)) {
    throw new SyntaxError("expected pairs of hexadecimal digits");
  }
  return Uint8Array.fromHex(digits);
}

const tcpNames = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS"];

function flagNames(flags: number): string {
  const names = tcpNames.filter((_, bit) => flags & 1 << bit);
  return names.length > 0 ? names.join(" ") : "no flags";
}

/** What a layer says, in few words. */
function words(layer: Layer): string {
  switch (layer.type) {
    case "ethernet":
      return `${layer.src} > ${layer.dst}`;
    case "vlan":
      return `VLAN ${layer.vid}${layer.pcp > 0 ? ` priority ${layer.pcp}` : ""}`;
    case "mpls":
      return `MPLS ${layer.label}`;
    case "arp":
      return layer.op === 1
        ? `ARP who has ${layer.tip}? tell ${layer.sip}`
        : `ARP ${layer.sip} is at ${layer.sha}`;
    case "ipv4":
      return `IPv4 ${layer.src} > ${layer.dst}`;
    case "ipv6":
      return `IPv6 ${layer.src} > ${layer.dst}`;
    case "ipv6Fragment":
      return `fragment ${layer.offset}${layer.moreFragments ? "+" : ""}`;
    case "ipv6Extension":
      return `extension ${layer.header}`;
    case "icmp":
    case "icmpv6":
      return icmpWords(layer);
    case "tcp":
      return `TCP ${layer.src} > ${layer.dst} ${flagNames(layer.flags)}`;
    case "udp":
      return `UDP ${layer.src} > ${layer.dst}`;
    case "sctp":
      return `SCTP ${layer.src} > ${layer.dst}`;
    case "vxlan":
      return `VXLAN ${layer.vni}`;
    case "geneve":
      return `Geneve ${layer.vni}`;
    case "gre":
      return layer.key === undefined ? "GRE" : `GRE key ${layer.key}`;
    case "dhcp":
      return `DHCP ${layer.message ?? (layer.op === 1 ? "request" : "reply")}`;
    case "dns": {
      const names = layer.questions.map(({ name, type }) => `${type} ${name}`).join(", ");
      return `DNS ${
        layer.response ? `answer of ${layer.answers.length}` : "query"
      } ${names}`;
    }
    case "payload":
      return `${layer.bytes.length} bytes`;
  }
}

function icmpWords(layer: Extract<Layer, { type: "icmp" | "icmpv6" }>): string {
  const name = layer.type === "icmp" ? "ICMP" : "ICMPv6";
  if (layer.type === "icmpv6" && layer.nd !== undefined) {
    const { target } = layer.nd;
    return layer.kind === 135 ? `ND who has ${target}?` : `ND ${target} is here`;
  }
  const echo = layer.type === "icmp" ? [8, 0] : [128, 129];
  const at = echo.indexOf(layer.kind);
  return at < 0
    ? `${name} kind ${layer.kind} code ${layer.code}`
    : `${name} echo ${at === 0 ? "request" : "reply"} ${layer.sequence}`;
}

/**
 * A frame in one line: `02:…:01 > 02:…:02, IPv4 10.0.0.1 > 10.0.0.2, UDP 1000 > 2000, 18 bytes`.
 */
export function summary(frame: Uint8Array): string {
  return parse(frame).layers.map(words).join(", ");
}

/** Text of a field's value. */
export function fieldText(value: unknown): string {
  if (value instanceof Uint8Array) return value.length > 0 ? value.toHex() : "no bytes";
  if (Array.isArray(value)) return `[${value.map(fieldText).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const parts = Object.entries(value).map(([name, part]) =>
      `${name} ${fieldText(part)}`
    );
    return `{ ${parts.join(", ")} }`;
  }
  return String(value);
}

/** A frame with a line for each header and each of its fields in it. */
export function pretty(frame: Uint8Array): string {
  return parse(frame).layers.map(({ type, ...fields }) => {
    const parts = Object.entries(fields).map(([name, value]) =>
      `${name} ${fieldText(value)}`
    );
    return `${type.padEnd(13)} ${parts.join(", ")}`.trimEnd();
  }).join("\n");
}
