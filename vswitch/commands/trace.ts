// SPDX-License-Identifier: Apache-2.0
/**
 * `ofproto/trace`: what would become of a packet, and which of its bits that rests on.
 *
 * Source: ovs-appctl(8), "OFPROTO COMMANDS"; the last lines are those of Open vSwitch.
 *
 * @module
 */
import { CommandError } from "../../control/command_error.ts";
import { Layouts } from "../../policy/packet/layout.ts";
import { extractKey } from "../../providers/odp/extract.ts";
import { encodeKey } from "../../providers/odp/key.ts";
import { parseKeyBytes } from "../../providers/odp/mod.ts";
import { formatActions } from "../../providers/odp/text/text.ts";
import { portNo } from "../../providers/ids.ts";
import { flowOfKey, type PacketFlow } from "../../openflow/table/packet_flow.ts";
import type { Rule } from "../../openflow/table/rule.ts";
import { formatInstructions } from "../../openflow/text/action.ts";
import { formatMatch, parseMatch } from "../../openflow/text/match.ts";
import { Port } from "../../openflow/wire/port_number.ts";
import { Translation } from "../../openflow/translate/translation.ts";
import {
  type FlowWords,
  flowWords,
  VLAN_PRESENT,
  Word,
} from "../../openflow/wire/flow.ts";
import { withHanded } from "../handed_text.ts";
import type { Bridge } from "../bridge.ts";
import { type Add, type ServedDaemon, sortedBridges } from "./served.ts";

/** A packet that is asked about. */
interface Asked {
  readonly bridge: Bridge;
  readonly packet: PacketFlow;
}

const layouts = new Layouts();

/** Adds it. */
export function traceCommands(add: Add, served: ServedDaemon): void {
  const usage = "{[dp_name] odp_flow | bridge br_flow} [OPTIONS] [-generate|packet]";
  add("ofproto/trace", usage, [1, Infinity], (args) => {
    const words: string[] = [];
    for (let i = 0; i < args.length; i++) {
      const word = args[i] as string;
      if (word === "--ct-next") i++;
      else if (word !== "-generate" && word !== "--generate" && word !== "-consistent") {
        words.push(word);
      }
    }
    return traceText(askedOf(served, words));
  });
}

function askedOf({ daemon }: ServedDaemon, words: readonly string[]): Asked {
  const [first = "", second, third] = words;
  const bridge = daemon.bridges.get(first);
  try {
    if (bridge !== undefined) {
      if (second === undefined) throw new CommandError("a flow is missing");
      return ofFlow(bridge, second, third);
    }
    const isNamed = second !== undefined && !/^([0-9a-f]{2})+$/i.test(second);
    return ofKey(sortedBridges(daemon), isNamed ? second : first);
  } catch (error) {
    if (error instanceof CommandError) throw error;
    if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error;
    throw new CommandError(`Bad openflow flow syntax: ${first}: ${error.message}`);
  }
}

/** A flow of OpenFlow; with a packet, what that is, as it comes by the flow's port. */
function ofFlow(bridge: Bridge, text: string, packet: string | undefined): Asked {
  const { of } = bridge;
  const names = new Map([...of.ports.value.values()].map((one) => [one.name, one.port]));
  const numbers = new Map([...names].map(([name, port]) => [port, name]));
  const { value } = parseMatch(text, {
    number: (name) => names.get(name),
    name: (number) => numbers.get(number),
  });
  if (packet === undefined) {
    return { bridge, packet: { flow: value, tags: tagsOf(value) } };
  }
  if (!/^([0-9a-f]{2}){14,}$/i.test(packet)) throw new CommandError("a packet is bad");
  const port = value[Word.inPort] as number;
  const no = of.ports.value.get(port)?.dp ?? 0xffff;
  const key = encodeKey(extractKey(Uint8Array.fromHex(packet), { inPort: portNo(no) }));
  const made = flowOfKey(key, layouts.of(key), 0, () => port);
  for (let i = 0; i < Word.tunId; i++) {
    made.flow[i] = (made.flow[i] as number) | (value[i] as number);
  }
  return { bridge, packet: made };
}

/** A flow of a datapath. */
function ofKey(bridges: readonly Bridge[], text: string): Asked {
  const { key } = parseKeyBytes(text);
  const layout = layouts.of(key);
  for (const bridge of bridges) {
    const no = Number(/\bin_port\((\d+)\)/.exec(text)?.[1] ?? NaN);
    const name = /\bin_port\(([^)]*)\)/.exec(text)?.[1];
    const isOf = [...bridge.faces].some(([one, { dp }]) =>
      dp !== undefined && (dp === no || one === name)
    );
    if (isOf) {
      return { bridge, packet: flowOfKey(key, layout, 0, (no) => bridge.of.portOf(no)) };
    }
  }
  throw new CommandError("no bridge has the port");
}

function tagsOf(flow: FlowWords): PacketFlow["tags"] {
  const tci = flow[Word.vlan] as number;
  return tci & VLAN_PRESENT ? [{ tpid: 0x8100, tci }] : [];
}

/** All bits that a flow has, and those that say what it is. */
function wholeOf(flow: FlowWords): FlowWords {
  const mask = flowWords();
  for (let i = 0; i < flow.length; i++) if (flow[i] !== 0) mask[i] = 0xffffffff;
  if (flow[Word.actsetOutput] === Port.unset) mask[Word.actsetOutput] = 0;
  mask[Word.dlType] = 0xffff;
  mask[Word.vlan] = flow[Word.vlan] === 0 ? 0 : 0xffff;
  return mask;
}

function traceText({ bridge, packet }: Asked): string {
  const before = packet.flow.slice();
  const rules = new Map<unknown, Rule>();
  for (const one of bridge.of.flows.rules()) rules.set(one.counter, one);
  const lines: string[] = [];
  const way = new Translation(bridge.of, packet, (counter) => {
    const rule = rules.get(counter);
    if (rule === undefined) return;
    const { table, priority, match, cookie, instructions } = rule;
    const said = [formatMatch(match, 0x8000), `priority ${priority}`];
    if (cookie !== 0n) said.push(`cookie 0x${cookie.toString(16)}`);
    const what = said.filter((word) => word !== "").join(", ");
    lines.push(`${`${table}`.padStart(2)}. ${what}`);
    lines.push(`    ${formatInstructions(instructions)}`);
  });
  way.run();
  if (way.reason !== undefined) lines.push(`    >> ${way.reason}`);
  const { now: { flow }, seen } = way;
  const isSame = flow.every((word, i) => word === before[i]);
  const final = isSame ? "unchanged" : formatMatch({ value: flow, mask: wholeOf(flow) });
  const mask = seen.slice();
  mask[Word.inPort] = 0xffffffff;
  mask[Word.dlType] = 0xffff;
  mask[Word.recircId] = 0;
  const isIp = before[Word.dlType] === 0x0800 || before[Word.dlType] === 0x86dd;
  if (isIp) mask[Word.nw] = (mask[Word.nw] as number) | 3;
  const megaflow = formatMatch({ value: before, mask });
  const name = `bridge("${bridge.name}")`;
  return [
    `Flow: ${formatMatch({ value: before, mask: wholeOf(before) })}`,
    "",
    name,
    "-".repeat(name.length),
    ...lines,
    "",
    `Final flow: ${final}`,
    `Megaflow: recirc_id=0,eth${megaflow === "" ? "" : `,${megaflow}`}`,
    `Datapath actions: ${
      way.actions.length === 0 ? "drop" : withHanded(formatActions(way.actions))
    }`,
    "",
  ].join("\n");
}
