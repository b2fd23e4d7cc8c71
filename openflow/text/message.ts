// SPDX-License-Identifier: Apache-2.0
/**
 * Messages in the words of Open vSwitch, as ovs-ofctl(8) prints them and logs have them: the name,
 * the version, the number, and of those that change flows what they say.
 *
 * @module
 */
import { decodeMessage } from "../wire/codec.ts";
import { OfError, type Version } from "../wire/error.ts";
import type { OptionFields } from "../wire/field.ts";
import { xidAt } from "../wire/header.ts";
import {
  FlowFlag,
  type FlowMod,
  type Message,
  type MessageOf,
  NO_BUFFER,
} from "../wire/message.ts";
import type { FlowStats } from "../wire/multipart_types.ts";
import { Port } from "../wire/port_number.ts";
import { formatInstructions } from "./action.ts";
import { formatMatch } from "./match.ts";
import { flowFlags } from "./flow.ts";
import { formatPort, hex } from "./value.ts";

/** Names that do not follow from the kind. */
const names: Partial<Record<Message["kind"], string>> = {
  configRequest: "OFPT_GET_CONFIG_REQUEST",
  configReply: "OFPT_GET_CONFIG_REPLY",
  queueConfigRequest: "OFPT_QUEUE_GET_CONFIG_REQUEST",
  queueConfigReply: "OFPT_QUEUE_GET_CONFIG_REPLY",
  asyncRequest: "OFPT_GET_ASYNC_REQUEST",
  asyncReply: "OFPT_GET_ASYNC_REPLY",
  bundleAdd: "OFPT_BUNDLE_ADD_MESSAGE",
  setFlowFormat: "NXT_SET_FLOW_FORMAT",
  flowModTableId: "NXT_FLOW_MOD_TABLE_ID",
  setPacketInFormat: "NXT_SET_PACKET_IN_FORMAT",
  setControllerId: "NXT_SET_CONTROLLER_ID",
  resume: "NXT_RESUME",
  ctFlush: "NXT_CT_FLUSH",
  tlvTableMod: "NXT_TLV_TABLE_MOD",
  tlvTableRequest: "NXT_TLV_TABLE_REQUEST",
  tlvTableReply: "NXT_TLV_TABLE_REPLY",
  monitorCancel: "NXT_FLOW_MONITOR_CANCEL",
};

const upper = (word: string): string => word.replace(/[A-Z]/g, "_$&").toUpperCase();

function nameOf(message: Message, version: Version): string {
  // Before OpenFlow 1.4 bundles were an extension of the ONF.
  if (message.kind.startsWith("bundle") && version < 5) {
    return message.kind === "bundleAdd"
      ? "ONFT_BUNDLE_ADD_MESSAGE"
      : "ONFT_BUNDLE_CONTROL";
  }
  if (message.kind !== "multipartRequest" && message.kind !== "multipartReply") {
    return names[message.kind] ?? `OFPT_${upper(message.kind)}`;
  }
  const what = message.kind === "multipartRequest" ? message.request : message.reply;
  const isNicira = "isNicira" in what && what.isNicira;
  const word = message.kind === "multipartRequest" ? "request" : "reply";
  return `${isNicira ? "NXST" : "OFPST"}_${upper(what.type)} ${word}`;
}

/** A message with its version and number: `OFPT_BARRIER_REQUEST (OF1.4) (xid=0x2):`. */
export function formatMessage(message: Message, version: Version, xid: number): string {
  const of = version === 1 ? "" : ` (OF1.${version - 1})`;
  return `${nameOf(message, version)}${of} (xid=0x${xid.toString(16)}):${
    bodyOf(message, version)
  }`;
}

/** The bytes of a message; what is wrong with them where they are none. */
export function formatMessageBytes(
  bytes: Uint8Array,
  options?: OptionFields | undefined,
): string {
  try {
    const { message, version, xid } = decodeMessage(bytes, {
      tableInCommand: true,
      options,
    });
    return formatMessage(message, version, xid);
  } catch (error) {
    if (!(error instanceof OfError)) throw error;
    return `***decode error: ${error.code}*** (xid=0x${xidAt(bytes).toString(16)})`;
  }
}

function bodyOf(message: Message, version: Version): string {
  switch (message.kind) {
    case "hello":
      return `\n version bitmap: ${versionsOf(message.versions ?? (2 << version) - 2)}`;
    case "flowMod":
      return flowModText(message, version);
    case "bundleControl": {
      const { bundle, step, flags } = message;
      const what = `type=${upper(step)} flags=${flagsOf(flags)}`;
      return `\n bundle_id=${hex(BigInt(bundle)).replace(/^0x/, "")} ${what}`;
    }
    case "bundleAdd": {
      const { bundle, flags, inner } = message;
      return `\n bundle_id=${bundle.toString(16)} flags=${flagsOf(flags)}\n` +
        formatMessageBytes(inner);
    }
    case "setFlowFormat":
      return ` format=${message.format === 2 ? "nxm" : "openflow10"}`;
    case "error":
      return ` ${message.code ?? "unknown"}`;
    case "multipartReply":
      return message.reply.type === "flow"
        ? message.reply.flows.map((flow) => `\n ${flowText(flow, version)}`).join("")
        : "";
    default:
      return "";
  }
}

function versionsOf(bits: number): string {
  const list: string[] = [];
  for (let i = 1; i < 32; i++) if (bits >>> i & 1) list.push(`0x0${i.toString(16)}`);
  return list.join(", ");
}

function flagsOf(flags: MessageOf<"bundleAdd">["flags"]): string {
  const words = [...flags & 1 ? ["atomic"] : [], ...flags & 2 ? ["ordered"] : []];
  return words.join(" ") || "0";
}

const commands = {
  add: "ADD",
  modify: "MOD",
  modifyStrict: "MOD_STRICT",
  delete: "DEL",
  deleteStrict: "DEL_STRICT",
} as const;

function flowModText(mod: FlowMod, version: Version): string {
  const { command, table, match, priority, newCookie, cookie, cookieMask } = mod;
  const words: string[] = [commands[command]];
  if (table !== 0) words.push(`table:${table}`);
  const what = formatMatch(match, priority);
  if (what !== "") words.push(what);
  if (newCookie !== undefined && newCookie !== 0n) words.push(`cookie:${hex(newCookie)}`);
  if (cookieMask !== 0n) words.push(`cookie:${hex(cookie)}/${hex(cookieMask)}`);
  if (mod.idle !== 0) words.push(`idle:${mod.idle}`);
  if (mod.hard !== 0) words.push(`hard:${mod.hard}`);
  if (mod.importance !== 0) words.push(`importance:${mod.importance}`);
  if (mod.bufferId !== NO_BUFFER) words.push(`buf:0x${mod.bufferId.toString(16)}`);
  if (mod.outPort !== Port.none) words.push(`out_port:${formatPort(mod.outPort)}`);
  // Before OpenFlow 1.2 there is no such flag: all that comes counts anew.
  const flags = version < 3 ? mod.flags & ~FlowFlag.resetCounts : mod.flags;
  words.push(...flowFlags(flags));
  return ` ${words.join(" ")} actions=${formatInstructions(mod.instructions)}`;
}

function flowText(flow: FlowStats, version: Version): string {
  const { seconds, nanoseconds, idle, hard, match, priority, instructions } = flow;
  const part = `${nanoseconds}`.padStart(9, "0").replace(/0+$/, "");
  const words = [
    `cookie=${hex(flow.cookie)}`,
    `duration=${seconds}${part === "" ? "" : `.${part}`}s`,
    `table=${flow.table}`,
    `n_packets=${flow.packets}`,
    `n_bytes=${flow.bytes}`,
  ];
  if (idle !== 0) words.push(`idle_timeout=${idle}`);
  if (hard !== 0) words.push(`hard_timeout=${hard}`);
  words.push(...flowFlags(version < 4 ? 0 : flow.flags), `idle_age=${flow.idleAge}`);
  const what = formatMatch(match, priority);
  if (what !== "") words.push(what);
  return `${words.join(", ")} actions=${formatInstructions(instructions)}`;
}
