// SPDX-License-Identifier: Apache-2.0
/**
 * DHCP for IPv4 on the wire (RFC 2131), and its options (RFC 2132).
 *
 * @module
 */
import {
  concat,
  formatIpv4,
  formatMac,
  put,
  putIpv4,
  putMac,
  u16,
  u32,
} from "./bytes.ts";
import {
  type DhcpLayer,
  type DhcpMessage,
  dhcpMessages,
  type DhcpOption,
  type DhcpOptions,
} from "./dhcp_message.ts";
import type { Protocol } from "./protocol.ts";

const SIZE = 240;
const BOOTP_SIZE = 300;
const COOKIE = 0x63825363;
const END = 255;

/** How one option is written and read. */
interface OptionCodec {
  readonly code: number;
  write(value: never): Uint8Array;
  /** Undefined: these bytes are not of the option. */
  read(data: Uint8Array): unknown;
}

function address(code: number): OptionCodec {
  return {
    code,
    write(value: string) {
      const data = new Uint8Array(4);
      putIpv4(data, 0, value, `dhcp option ${code}`);
      return data;
    },
    read: (data) => data.length === 4 ? formatIpv4(data, 0) : undefined,
  };
}

function addresses(code: number): OptionCodec {
  const one = address(code);
  return {
    code,
    write: (values: readonly string[]) =>
      concat(...values.map((value) => one.write(value as never))),
    read: (data) =>
      data.length === 0 || data.length % 4 !== 0 ? undefined : Array.from(
        { length: data.length / 4 },
        (_, i) => formatIpv4(data, 4 * i),
      ),
  };
}

const codecs: Readonly<Record<keyof DhcpOptions, OptionCodec>> = {
  message: {
    code: 53,
    write(value: DhcpMessage) {
      const index = dhcpMessages.indexOf(value);
      if (index < 0) throw new TypeError(`there is no DHCP message "${value}"`);
      return Uint8Array.of(index + 1);
    },
    read: (data) => data.length === 1 ? dhcpMessages[(data[0] ?? 0) - 1] : undefined,
  },
  subnetMask: address(1),
  routers: addresses(3),
  nameServers: addresses(6),
  hostName: {
    code: 12,
    write: (value: string) => new TextEncoder().encode(value),
    read(data) {
      const text = new TextDecoder().decode(data);
      const again = new TextEncoder().encode(text);
      return again.length === data.length && again.every((byte, i) => byte === data[i])
        ? text
        : undefined;
    },
  },
  requestedAddress: address(50),
  leaseSeconds: {
    code: 51,
    write(value: number) {
      const data = new Uint8Array(4);
      put(data, 0, 4, value, "dhcp.leaseSeconds");
      return data;
    },
    read: (data) => data.length === 4 ? u32(data, 0) : undefined,
  },
  serverId: address(54),
  parameters: {
    code: 55,
    write: (value: readonly number[]) => Uint8Array.from(value),
    read: (data) => [...data],
  },
};

const names = Object.keys(codecs) as (keyof DhcpOptions)[];

function option(code: number, data: Uint8Array): Uint8Array {
  const head = new Uint8Array(2);
  put(head, 0, 1, code, "dhcp.others.code");
  put(head, 1, 1, data.length, "length of a DHCP option");
  return concat(head, data);
}

function writeOptions(message: DhcpLayer): Uint8Array {
  if (message.raw !== undefined) return message.raw;
  const parts = names.flatMap((name) => {
    const value = message[name];
    const { code, write } = codecs[name];
    return value === undefined ? [] : [option(code, write(value as never))];
  });
  for (const { code, data } of message.others ?? []) parts.push(option(code, data));
  const all = concat(...parts, Uint8Array.of(END));
  const fill = message.fill ?? Math.max(0, BOOTP_SIZE - SIZE - all.length);
  return concat(all, new Uint8Array(fill));
}

/** Options by their names, and those that have none; undefined where they do not fit. */
function readOptions(data: Uint8Array): Partial<DhcpLayer> | undefined {
  const found: Record<string, unknown> = {};
  const others: DhcpOption[] = [];
  let at = 0;
  for (; data[at] !== END;) {
    if (at >= data.length) return undefined;
    const code = data[at] as number;
    // Padding may stand anywhere; `raw` keeps where.
    if (code === 0) {
      at++;
      continue;
    }
    const size = data[at + 1] ?? 0;
    if (at + 2 + size > data.length) return undefined;
    const value = data.slice(at + 2, at + 2 + size);
    const name = names.find((one) => codecs[one].code === code);
    const read = name && found[name] === undefined ? codecs[name].read(value) : undefined;
    if (name !== undefined && read !== undefined) found[name] = read;
    else others.push({ code, data: value });
    at += 2 + size;
  }
  const fill = data.length - at - 1;
  return { ...found, ...(others.length > 0 && { others }), fill };
}

/** DHCP. */
export const dhcpProtocol: Protocol<"dhcp"> = {
  computed: ["raw", "fill", "boot"],
  write(message, inner) {
    const head = new Uint8Array(SIZE);
    put(head, 0, 1, message.op, "dhcp.op");
    head.set([1, 6], 1); // Ethernet, and the size of its addresses.
    put(head, 3, 1, message.hops, "dhcp.hops");
    put(head, 4, 4, message.xid, "dhcp.xid");
    put(head, 8, 2, message.secs, "dhcp.secs");
    put(head, 10, 2, message.flags, "dhcp.flags");
    putIpv4(head, 12, message.ciaddr, "dhcp.ciaddr");
    putIpv4(head, 16, message.yiaddr, "dhcp.yiaddr");
    putIpv4(head, 20, message.siaddr, "dhcp.siaddr");
    putIpv4(head, 24, message.giaddr, "dhcp.giaddr");
    putMac(head, 28, message.chaddr, "dhcp.chaddr");
    if (message.boot !== undefined) head.set(message.boot.subarray(0, 192), 44);
    put(head, 236, 4, COOKIE, "dhcp");
    return concat(head, writeOptions(message), inner);
  },
  read(bytes, at, end) {
    if (at + SIZE >= end || u32(bytes, at + 236) !== COOKIE) return undefined;
    const raw = bytes.slice(at + SIZE, end);
    const options = readOptions(raw);
    if (options === undefined) return undefined;
    const layer: DhcpLayer = {
      type: "dhcp",
      op: bytes[at] as number,
      hops: bytes[at + 3] as number,
      xid: u32(bytes, at + 4),
      secs: u16(bytes, at + 8),
      flags: u16(bytes, at + 10),
      ciaddr: formatIpv4(bytes, at + 12),
      yiaddr: formatIpv4(bytes, at + 16),
      siaddr: formatIpv4(bytes, at + 20),
      giaddr: formatIpv4(bytes, at + 24),
      chaddr: formatMac(bytes, at + 28),
      boot: bytes.slice(at + 44, at + 236),
      ...options,
      raw,
    };
    return { layer, at: end, end };
  },
};
