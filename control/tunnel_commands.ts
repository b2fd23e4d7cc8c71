// SPDX-License-Identifier: Apache-2.0
/**
 * `ovs/route/…` and `tnl/…`: routing of tunnels, in the words of Open vSwitch.
 *
 * @module
 */
import type { AddressPrefix, TunnelFacet } from "../providers/contract/tunnels.ts";
import type { Datapath } from "../providers/datapath.ts";
import { DatapathError } from "../providers/errors.ts";
import {
  formatIpv4,
  formatIpv6,
  formatMac,
  parseIpv4,
  parseIpv6,
  parseMac,
} from "../providers/codec/address.ts";
import type { ControlCommand } from "./socket.ts";

/** Columns that an address takes in a list of neighbours: INET6_ADDRSTRLEN. */
const addressColumns = 46;
const maxAging = 3600;

/** A command that failed; the message is the answer. */
class TunnelCommandError extends Error {
  override readonly name = "TunnelCommandError";
}

/** Commands about tunnels; none for a datapath whose tunnels the kernel routes. */
export function tunnelCommands(dp: Datapath): Map<string, ControlCommand> {
  const commands = new Map<string, ControlCommand>();
  if (dp.tunnels === undefined) return commands;
  const { tunnels } = dp;
  const add = (
    name: string,
    [usage, min, max]: readonly [string, number, number],
    run: (args: readonly string[]) => string,
  ): void => void commands.set(name, { usage, args: [min, max], run });
  const route = "ip_addr/prefix_len";
  add(
    "ovs/route/add",
    [`${route} out_br_name [gw] [pkt_mark=mark]`, 2, 4],
    (args) => addRoute(tunnels, args),
  );
  add("ovs/route/show", ["", 0, 0], () => routeText(tunnels));
  add(
    "ovs/route/del",
    [`${route} [pkt_mark=mark]`, 1, 2],
    (args) => deleteRoute(tunnels, args),
  );
  add(
    "ovs/route/lookup",
    ["ip_addr [pkt_mark=mark]", 1, 2],
    (args) => lookUp(tunnels, args),
  );
  for (const family of ["tnl/arp", "tnl/neigh"]) {
    add(`${family}/show`, ["", 0, 0], () => neighbourText(tunnels));
    add(
      `${family}/set`,
      ["bridge ip mac", 3, 3],
      (args) => setNeighbour(tunnels, args),
    );
    add(`${family}/flush`, ["", 0, 0], () => {
      tunnels.flushNeighbours();
      return "OK\n";
    });
    add(`${family}/aging`, ["[secs]", 0, 1], ([text]) => aging(tunnels, text));
  }
  add("tnl/ports/show", ["[-v]", 0, 1], ([flag]) =>
    "Listening ports:\n" +
    (flag?.toLowerCase() === "-v" ? listenerMatches(tunnels) : listenerText(tunnels)));
  add(
    "tnl/egress_port_range",
    ["[min max]", 0, 2],
    (args) => portRange(tunnels, args),
  );
  for (const [version, name] of [[4, "ip4addr"], [6, "ip6addr"]] as const) {
    add(`netdev-dummy/${name}`, ["[netdev] ipaddr/mask-prefix-len", 2, 2], (args) => {
      const [device = "", text = ""] = args;
      const prefix = parsePrefix(text);
      if (dp.ports.get(device)?.type !== "dummy") {
        throw new TunnelCommandError("Unknown Dummy Interface");
      }
      if (prefix === undefined || (version === 4) === prefix.address.includes(":")) {
        throw new TunnelCommandError(`${text}: invalid IP address`);
      }
      tunnels.addAddress({ device, prefix });
      return "OK\n";
    });
  }
  return commands;
}

/** `ADDRESS`, `ADDRESS/LENGTH` or, of IPv4, `ADDRESS/MASK`; undefined for anything else. */
export function parsePrefix(text: string): AddressPrefix | undefined {
  const bytes = new Uint8Array(16);
  const isIpv6 = text.includes(":");
  const end = (isIpv6 ? parseIpv6 : parseIpv4)(text, 0, bytes, 0);
  if (end < 0) return undefined;
  const address = isIpv6 ? formatIpv6(bytes, 0) : formatIpv4(bytes, 0);
  const most = isIpv6 ? 128 : 32;
  const [rest, part = ""] = [text.slice(end), text.slice(end + 1)];
  if (rest === "") return { address, length: most };
  if (!rest.startsWith("/")) return undefined;
  if (/^\d{1,3}$/.test(part)) {
    return Number(part) <= most ? { address, length: Number(part) } : undefined;
  }
  const length = isIpv6 ? undefined : maskLength(part);
  return length === undefined ? undefined : { address, length };
}

/** Leading ones of an IPv4 mask; undefined if it has others, or is none. */
function maskLength(text: string): number | undefined {
  const bytes = new Uint8Array(4);
  if (parseIpv4(text, 0, bytes, 0) !== text.length) return undefined;
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return /^1*0*$/.test(bits) ? bits.lastIndexOf("1") + 1 : undefined;
}

/** The mark of `pkt_mark=N`; undefined for other words. */
function parseMark(text: string): number | undefined {
  const [, number] = /^pkt_mark=(0[xX][0-9a-fA-F]+|\d+)$/.exec(text) ?? [];
  const mark = Number(number);
  return number !== undefined && mark <= 0xffffffff ? mark : undefined;
}

function needMark(text: string | undefined): number {
  if (text === undefined) return 0;
  const mark = parseMark(text);
  if (mark === undefined) throw new TunnelCommandError("Invalid pkt_mark");
  return mark;
}

function needPrefix(text: string | undefined): AddressPrefix {
  const prefix = parsePrefix(text ?? "");
  if (prefix === undefined) throw new TunnelCommandError("Invalid parameters");
  return prefix;
}

function addRoute(tunnels: TunnelFacet, args: readonly string[]): string {
  const [text, device = "", third, fourth] = args;
  const destination = needPrefix(text);
  const isIpv6 = destination.address.includes(":");
  let mark = third === undefined ? 0 : parseMark(third);
  let gateway: string | undefined;
  if (mark === undefined) {
    const given = parsePrefix(third ?? "");
    if (
      given === undefined || third?.includes("/") ||
      isIpv6 !== given.address.includes(":")
    ) {
      const kind = isIpv6 ? "IPv6 gateway" : "gateway";
      throw new TunnelCommandError(`Invalid pkt_mark or ${kind}`);
    }
    gateway = given.address;
    mark = 0;
  }
  if (fourth !== undefined) mark = needMark(fourth);
  try {
    tunnels.addRoute({
      destination,
      device,
      ...(gateway !== undefined && { gateway }),
      mark,
    });
  } catch (error) {
    const known = error instanceof DatapathError &&
      ["ENODEV", "ENETUNREACH"].includes(error.code);
    throw known ? new TunnelCommandError("Error while inserting route.") : error;
  }
  return "OK\n";
}

function deleteRoute(tunnels: TunnelFacet, [text, mark]: readonly string[]): string {
  const destination = needPrefix(text);
  const number = needMark(mark);
  try {
    tunnels.deleteRoute(destination, number);
  } catch (error) {
    const isNone = error instanceof DatapathError && error.code === "ENOENT";
    throw isNone ? new TunnelCommandError("Not found") : error;
  }
  return "OK\n";
}

function routeText(tunnels: TunnelFacet): string {
  const lines = tunnels.routes().map((route) => {
    const { origin, destination, mark = 0, device, gateway, source, isLocal } = route;
    const { address, length } = destination;
    return `${origin === "user" ? "User" : "Cached"}: ${address}/${length}` +
      (mark === 0 ? "" : ` MARK ${mark}`) + ` dev ${device}` +
      (gateway === undefined ? "" : ` GW ${gateway}`) + ` SRC ${source}` +
      (isLocal ? " local" : "");
  });
  return ["Route Table:", ...lines, ""].join("\n");
}

function lookUp(tunnels: TunnelFacet, [text, mark]: readonly string[]): string {
  const { address, length } = needPrefix(text);
  if (length !== (address.includes(":") ? 128 : 32)) {
    throw new TunnelCommandError("Invalid parameters");
  }
  const found = tunnels.lookUp(address, needMark(mark));
  if (found === undefined) throw new TunnelCommandError("Not found");
  const { source, device, gateway = "::" } = found;
  return `src ${source}\ngateway ${gateway}\ndev ${device}\n`;
}

function neighbourText(tunnels: TunnelFacet): string {
  const head = `${"IP".padEnd(addressColumns)}${"MAC".padEnd(20)}Bridge\n${
    "=".repeat(74)
  }\n`;
  return head +
    tunnels.neighbours().map(({ address, mac, device, isStale }) =>
      `${address.padEnd(addressColumns)}${mac}   ${device}${isStale ? " STALE" : ""}\n`
    ).join("");
}

function setNeighbour(tunnels: TunnelFacet, args: readonly string[]): string {
  const [device = "", ip = "", text = ""] = args;
  const prefix = ip.includes("/") ? undefined : parsePrefix(ip);
  if (prefix === undefined) throw new TunnelCommandError("bad IP address");
  const bytes = new Uint8Array(6);
  if (parseMac(text, 0, bytes, 0) !== text.length) {
    throw new TunnelCommandError("bad MAC address");
  }
  tunnels.setNeighbour({ device, address: prefix.address, mac: formatMac(bytes, 0) });
  return "OK\n";
}

function aging(tunnels: TunnelFacet, text: string | undefined): string {
  if (text === undefined) return `${tunnels.aging.get()}\n`;
  const [number] = /^\d+/.exec(text) ?? [];
  const seconds = Number(number ?? 0);
  if (seconds < 1 || seconds > maxAging) throw new TunnelCommandError("bad aging value");
  tunnels.aging.set(seconds);
  return "OK\n";
}

/** Ports have no reference count here: each is one port of the datapath, added once. */
function listenerText(tunnels: TunnelFacet): string {
  return tunnels.listeners().map(({ name, udpPort = 0 }) =>
    `${name} (${udpPort}) ref_cnt=1\n`
  ).join("");
}

function listenerMatches(tunnels: TunnelFacet): string {
  return tunnels.listeners().flatMap(({ name, port, protocol, udpPort, addresses }) =>
    addresses.map(({ address, mac }) => {
      const isIpv6 = address.includes(":");
      const [type, ip] = isIpv6 ? ["0x86dd", "ipv6"] : ["0x0800", "ipv4"];
      return `${name} (${port}) : eth(dst=${mac}),eth_type(${type}),` +
        `${ip}(dst=${address},proto=${protocol},frag=no)` +
        (udpPort === undefined ? "" : `,udp(dst=${udpPort})`) + "\n";
    })
  ).join("");
}

function portRange(tunnels: TunnelFacet, [low, high]: readonly string[]): string {
  if (low === undefined || high === undefined) {
    const range = tunnels.sourcePorts.get();
    return `Tunnel UDP source port range: ${range.low}-${range.high}\n`;
  }
  const [least, most] = [Number.parseInt(low, 10), Number.parseInt(high, 10)];
  if (!(least > 0 && least <= 0xffff)) return "Invalid min.\n";
  if (!(most > 0 && most <= 0xffff)) return "Invalid max.\n";
  tunnels.sourcePorts.set(least, most);
  return "OK\n";
}
