// SPDX-License-Identifier: Apache-2.0
/**
 * What to do about a flow that was not understood, or not taken: what people write who know
 * OpenFlow's notation, or what a flow of ovs-vswitchd has by itself.
 *
 * @module
 */
import type { Datapath } from "../../providers/datapath.ts";
import { actionNames } from "../../providers/odp/text/action_scan.ts";
import { keyFieldNames } from "../../providers/odp/text/key_scan.ts";
import { type Advice, adviceOf, didYouMean } from "./advice.ts";

/** OpenFlow's words: `in_port=1`, `tcp`, `actions=…`. */
const openFlow = /^(?:\w+=|(?:ip|ipv6|arp|rarp|icmp6?|[tu]dp|tcp6?|udp6?|sctp6?)(?:,|$))/;

/** What is wrong with the text of a key, and what to do. */
export function keyAdvice(error: SyntaxError, text: string, dp: Datapath): Advice {
  const { offset } = error as { offset?: unknown };
  const rest = typeof offset === "number" ? text.slice(offset) : "";
  if (openFlow.test(text)) {
    return {
      ...adviceOf(error),
      hint: "keys are written as dump-flows prints them, not as OpenFlow has them: " +
        "in_port(1),eth(),eth_type(0x0800),ipv4(proto=6),tcp(dst=80)",
    };
  }
  if (/^\w+@[^(]*$/.test(text)) {
    const hint = `"${text}" is a datapath: behind it come FLOW and ACTIONS, two words`;
    return { ...adviceOf(error), hint };
  }
  const [, length] = /^(\d+)[,)]/.exec(rest) ?? [];
  const address = /[/(,=]([\da-f.:]+)\/$/i.exec(text.slice(0, Number(offset)))?.[1];
  const mask = length === undefined || address === undefined
    ? undefined
    : maskOf(Number(length), address.includes(":") ? "ipv6" : "ipv4");
  if (mask !== undefined) {
    const hint = `masks are written as addresses: ${address}/${mask}`;
    return { ...adviceOf(error), hint };
  }
  const [, port] = /^([^)\d][^)]*)/.exec(rest) ?? [];
  if (port !== undefined && text.slice(0, Number(offset)).endsWith("in_port(")) {
    const names = [...dp.ports.dump()].slice(0, 12).map((one) => one.name);
    return { reason: `no port named ${port}`, hint: `the ports are ${names.join(", ")}` };
  }
  const [, word = ""] =
    /no field of this name at offset \d+: "(\w+)/.exec(error.message) ?? [];
  return withHint(adviceOf(error), didYouMean(word, keyFieldNames));
}

/** Advice with a hint, if there is one. */
function withHint(advice: Advice, hint: string | undefined): Advice {
  return hint === undefined ? advice : { ...advice, hint };
}

/** The mask of a prefix, in the notation of addresses; undefined if it is too long. */
function maskOf(length: number, family: "ipv4" | "ipv6"): string | undefined {
  const [parts, bits] = family === "ipv4" ? [4, 8] : [8, 16];
  if (length > parts * bits) return undefined;
  const values = Array.from({ length: parts }, (_, i) => {
    const ones = Math.min(Math.max(length - i * bits, 0), bits);
    return 2 ** bits - 2 ** (bits - ones);
  });
  if (family === "ipv4") return values.join(".");
  const text = values.map((value) => value.toString(16)).join(":");
  return text.replace(/(?:^|:)0(?::0)*$/, "::");
}

/** What is wrong with the text of actions, and what to do. */
export function actionAdvice(error: unknown, dp: Datapath): Advice {
  const advice = adviceOf(error);
  const [, rest = ""] = /^no action of this name at offset \d+: "(.*)"$/s.exec(
    advice.reason ?? "",
  ) ?? [];
  const [, called = "", number] = /^(\w+)[:=(]+(\d+)/.exec(rest) ?? [];
  const isOutput = called.startsWith("out") ||
    didYouMean(called, ["output"]) !== undefined;
  if (number !== undefined && isOutput) {
    return { ...advice, hint: `the number of a port alone is an output: ${number}` };
  }
  if (/^packets:|^(?:recirc_id|in_port)\(/.test(rest)) {
    const hint =
      "a line of dump-flows is one word in quotes; otherwise FLOW and ACTIONS, as in " +
      "in_port(1),eth(),eth_type(0x0806) 2";
    return { ...advice, hint };
  }
  const [word = ""] = rest.split(/[,(]/);
  // The notation has no word for an output.
  const words = actionNames().filter((name) => name !== "output");
  const names = [...words, ...[...dp.ports.dump()].map(({ name }) => name)];
  return withHint(advice, didYouMean(word, names));
}

/** What to do about a flow that the datapath refused, where its reason alone does not say it. */
export function refusalHint(error: unknown): string | undefined {
  const { reason = "" } = adviceOf(error);
  if (reason.startsWith("eth_type is always matched")) {
    return "name the EtherType, as in eth_type(0x0806); a flow is of one EtherType";
  }
  if (reason === "eth_type without its attribute") {
    return "eth_type(0x0800) wants ipv4(), 0x86dd ipv6(), 0x0806 arp(); and tcp() wants " +
      "ipv4(proto=6)";
  }
  if (reason === "key attribute that does not belong here") {
    return "what is in front says what may follow: tcp() wants ipv4(proto=6), and that " +
      "eth_type(0x0800)";
  }
  return undefined;
}
