// SPDX-License-Identifier: Apache-2.0
/**
 * Frames: built from headers, parsed into them, changed, answered and shown.  Checksums and lengths
 * are right by themselves.
 *
 * ```ts
 * import { arp, build, ethernet, parse, replyTo, summary } from "./mod.ts";
 * const question = build([
 *   ethernet({ src: "02:00:00:00:00:01", dst: "ff:ff:ff:ff:ff:ff" }),
 *   arp({ sha: "02:00:00:00:00:01", sip: "10.0.0.1", tip: "10.0.0.2" }),
 * ]);
 * const answer = replyTo(question, { mac: "02:00:00:00:00:02" });
 * console.log(summary(answer), parse(answer).arp?.sha);
 * ```
 *
 * @module
 */
export * from "./constructors.ts";
export type * from "./layers.ts";
export {
  dhcp,
  type DhcpLayer,
  type DhcpMessage,
  dhcpMessages,
  type DhcpOption,
  type DhcpOptions,
} from "./dhcp_message.ts";
export {
  dns,
  type DnsLayer,
  type DnsQuestion,
  type DnsRecord,
  type DnsType,
  dnsTypes,
} from "./dns_message.ts";
export { build, change, type Changes, Packet, parse } from "./packet.ts";
export { type ReplyOptions, replyTo, reverse } from "./reply.ts";
export { fromHex, hex, pretty, summary } from "./text.ts";
