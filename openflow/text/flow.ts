// SPDX-License-Identifier: Apache-2.0
/**
 * Flows in the notation of ovs-ofctl(8), both ways.
 *
 * @module
 */
import { anyMatch } from "../wire/flow.ts";
import { resolveInstructions } from "../wire/actions/resolve.ts";
import { normalizeMatch } from "../wire/match.ts";
import { packMatch } from "../wire/packed/packed_match.ts";
import {
  ALL_TABLES,
  ANY_GROUP,
  type FlowCommand,
  FlowFlag,
  type FlowMod,
  NO_BUFFER,
} from "../wire/message.ts";
import { Port } from "../wire/port_number.ts";
import { formatInstructions } from "./action.ts";
import { parseInstructions } from "./action_parse.ts";
import { DEFAULT_PRIORITY, formatMatch, parseMatchPart, splitParts } from "./match.ts";
import { hex, parseBig, parsePort, type PortNames } from "./value.ts";

const flags: Readonly<Record<string, number>> = {
  send_flow_rem: FlowFlag.sendFlowRemoved,
  check_overlap: FlowFlag.checkOverlap,
  reset_counts: FlowFlag.resetCounts,
  no_packet_counts: FlowFlag.noPacketCounts,
  no_byte_counts: FlowFlag.noByteCounts,
};

/** Flags of a flow, each a word. */
export function flowFlags(bits: number): string[] {
  return Object.entries(flags).filter(([, bit]) => bits & bit).map(([name]) => name);
}

/** What a flow is written from. */
export type FlowText =
  & Pick<FlowMod, "table" | "match" | "priority" | "instructions">
  & Partial<Pick<FlowMod, "idle" | "hard" | "flags" | "importance" | "newCookie">>;

/** Writes a flow as `ovs-ofctl --no-stats dump-flows` does. */
export function formatFlow(flow: FlowText, ports?: PortNames): string {
  const { table, match, priority, instructions } = flow;
  const parts: string[] = [];
  if (flow.newCookie) parts.push(`cookie=${hex(flow.newCookie)}`);
  if (table !== 0 && table !== ALL_TABLES) parts.push(`table=${table}`);
  if (flow.idle) parts.push(`idle_timeout=${flow.idle}`);
  if (flow.hard) parts.push(`hard_timeout=${flow.hard}`);
  parts.push(...flowFlags(flow.flags ?? 0));
  if (flow.importance) parts.push(`importance=${flow.importance}`);
  const what = formatMatch(match, priority, { ports });
  const all = [parts.join(", "), what].filter((part) => part !== "").join(", ");
  const actions = `actions=${formatInstructions(instructions, ports)}`;
  return all === "" ? actions : `${all} ${actions}`;
}

/** How a flow is read. */
export interface ParseFlowOptions {
  /** What is to be done; `add` if absent. */
  readonly command?: FlowCommand;
  /** Names of ports. */
  readonly ports?: PortNames;
}

/**
 * Reads a flow. Throws `SyntaxError`, and `OfError` for actions that packets of its match cannot
 * have. A cookie with a mask says which flows are meant, one without is the cookie that flows get.
 */
export function parseFlow(text: string, options: ParseFlowOptions = {}): FlowMod {
  const { command = "add", ports } = options;
  const at = /(^|[\s,])actions?=/.exec(text);
  const actions = at === null ? "" : text.slice(at.index + at[0].length);
  const match = anyMatch();
  const made = {
    kind: "flowMod" as const,
    command,
    table: command === "add" ? 0 : ALL_TABLES,
    match,
    priority: DEFAULT_PRIORITY,
    cookie: 0n,
    cookieMask: 0n,
    newCookie: undefined as bigint | undefined,
    mayAdd: false,
    idle: 0,
    hard: 0,
    importance: 0,
    flags: 0,
    bufferId: NO_BUFFER,
    outPort: Port.none as number,
    outGroup: ANY_GROUP,
  };
  const sixteen = (value: string): number => {
    const number = Number(parseBig(value));
    if (number > 0xffff) throw new SyntaxError(`${value} is above 65535`);
    return number;
  };
  for (const part of splitParts(at === null ? text : text.slice(0, at.index))) {
    const [name = "", value = ""] = part.split("=");
    const flag = Object.hasOwn(flags, part) ? flags[part] : undefined;
    if (flag !== undefined) made.flags |= flag;
    else if (name === "table") made.table = Number(parseBig(value));
    else if (name === "priority") made.priority = sixteen(value);
    else if (name === "idle_timeout") made.idle = sixteen(value);
    else if (name === "hard_timeout") made.hard = sixteen(value);
    else if (name === "importance") made.importance = sixteen(value);
    else if (name === "out_port") made.outPort = parsePort(value, ports);
    else if (name === "out_group") made.outGroup = Number(parseBig(value));
    else if (name === "cookie") readCookie(made, value);
    else if (!parseMatchPart(match, part, ports)) {
      throw new SyntaxError(`${part} is no part of a flow`);
    }
  }
  normalizeMatch(match);
  const instructions = parseInstructions(actions, ports);
  return {
    ...made,
    match: packMatch(match),
    instructions: resolveInstructions(instructions, match, { strict: false, table: -1 }),
  };
}

function readCookie(
  made: { cookie: bigint; cookieMask: bigint; newCookie: bigint | undefined },
  text: string,
): void {
  const [value = "", mask] = text.split("/");
  if (mask === undefined) {
    made.newCookie = parseBig(value);
    return;
  }
  made.cookie = parseBig(value);
  made.cookieMask = mask === "-1" ? (1n << 64n) - 1n : parseBig(mask);
}
