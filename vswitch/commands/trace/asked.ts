// SPDX-License-Identifier: Apache-2.0
/**
 * What a trace is asked about: words of a command as a packet in a bridge.
 *
 * @module
 */
import { CommandError } from "../../../control/command_error.ts";
import { composePacket } from "../../../control/compose.ts";
import { hexBytes } from "../../../control/dummy_commands.ts";
import { fieldStart } from "../../../control/verbs/flow.ts";
import { ctFlagNames } from "../../../openflow/text/value.ts";
import { parseMatch } from "../../../openflow/text/match.ts";
import { flowOfKey, type PacketFlow } from "../../../openflow/table/packet_flow.ts";
import type { Frozen } from "../../../openflow/translate/frozen.ts";
import { type FlowWords, VLAN_PRESENT, Word } from "../../../openflow/wire/flow.ts";
import { Port } from "../../../openflow/wire/port_number.ts";
import { Layouts } from "../../../policy/packet/layout.ts";
import { DatapathError } from "../../../providers/errors.ts";
import { portNo } from "../../../providers/ids.ts";
import { extractKey } from "../../../providers/odp/extract.ts";
import { decodeKey, encodeKey } from "../../../providers/odp/key.ts";
import { parseKeyBytes } from "../../../providers/odp/mod.ts";
import type { Bridge } from "../../bridge.ts";
import type { Backing } from "../../datapaths.ts";
import { type ServedDaemon, sortedBridges } from "../served.ts";
import { namesOf } from "./flow_text.ts";

/** A packet that is asked about. */
export interface Asked {
  readonly bridge: Bridge;
  readonly packet: PacketFlow;
  /** Its priority, as the datapath has it. */
  readonly priority: number;
  /** Where it goes on, if it was looked up before; 0 for one that was not. */
  readonly recircId: number;
  readonly frozen?: Frozen | undefined;
  /** Bytes of one that is really there, and its key: what becomes of it is learned then. */
  readonly frame?: Uint8Array | undefined;
  readonly key?: Uint8Array | undefined;
}

/** How it is asked. */
export interface AskedOptions {
  readonly names: boolean;
  /** What the connection tracker says, by turns. */
  readonly states: readonly number[];
}

const layouts = new Layouts();

function bitsOfState(text: string): number {
  return text.split(/[,|]/).reduce((all, word) => {
    const bit = ctFlagNames.indexOf(word.trim());
    if (bit < 0) {
      throw new CommandError(`${word}: unknown connection tracking state flag`);
    }
    return all | 1 << bit;
  }, 0);
}

/** Reads words of a command. Throws {@linkcode CommandError}. */
export function askedOf(
  served: ServedDaemon,
  args: readonly string[],
): { readonly asked: Asked; readonly options: AskedOptions } {
  const words: string[] = [];
  const states: number[] = [];
  let [names, generates] = [false, false];
  for (let i = 0; i < args.length; i++) {
    const word = args[i] as string;
    if (/^--?generate$/.test(word)) generates = true;
    else if (/^--?names$/.test(word)) names = true;
    else if (/^--?consistent$/.test(word)) continue;
    else if (/^--(ct-next|l7|l7-len)$/.test(word)) {
      const value = args[++i];
      if (value === undefined) {
        throw new CommandError(`Missing argument for option ${word}`);
      }
      if (word === "--ct-next") states.push(bitsOfState(value));
    } else if (word.startsWith("-")) throw new CommandError(`${word}: unknown option`);
    else if (words.length === 3) throw new CommandError("too many arguments");
    else words.push(word);
  }
  let frame: Uint8Array | undefined;
  if (!generates && words.length > 1) {
    frame = hexBytes(words.at(-1) as string);
    if (frame !== undefined) words.pop();
    else if (words.length === 3) {
      throw new CommandError("Trailing garbage in packet data");
    }
  }
  const asked = askedBy(served, words, frame, generates);
  return { asked, options: { names, states } };
}

function askedBy(
  { daemon }: ServedDaemon,
  words: readonly string[],
  frame: Uint8Array | undefined,
  generates: boolean,
): Asked {
  const all = [...daemon.datapaths.all()];
  const text = words.at(-1);
  if (text === undefined || words.length > 2) throw new CommandError("Syntax error");
  const [name = ""] = words;
  const kind = name.replace(/^ovs-/, "");
  const backing = words.length === 2
    ? all.find((one) => one.kind === kind)
    : all.length === 1
    ? all[0]
    : undefined;
  const ports = backing?.dp.ports.dump();
  let parsed: ReturnType<typeof parseKeyBytes>;
  try {
    parsed = parseKeyBytes(text, { ports });
  } catch (error) {
    const { offset } = error as { offset?: unknown };
    if (!(error instanceof SyntaxError) || typeof offset !== "number") throw error;
    if (words.length !== 2) {
      const what = `syntax error at ${text.slice(fieldStart(text, offset))}`;
      throw new CommandError(`${what} (or the bridge name was omitted)`);
    }
    const bridge = daemon.bridges.get(name);
    if (bridge === undefined) throw new CommandError(`${name}: unknown bridge`);
    return ofFlow(bridge, text, frame, generates);
  }
  if (backing === undefined) throw new CommandError("Cannot find the datapath");
  const bridges = sortedBridges(daemon).filter((one) => one.backing === backing);
  return ofKey(backing, bridges, parsed.key, frame, generates);
}

/** A flow of OpenFlow; with a packet, what that is, as it comes by the flow's port. */
function ofFlow(
  bridge: Bridge,
  text: string,
  frame: Uint8Array | undefined,
  generates: boolean,
): Asked {
  const { of } = bridge;
  const [, said] = /(?:^|[,\s])skb_priority=(0x[0-9a-f]+|\d+)/i.exec(text) ?? [];
  const rest = text.replaceAll(/(^|[,\s])skb_priority=[0-9a-fx]+/gi, "$1");
  let value: FlowWords;
  let hasPort: boolean;
  try {
    const match = parseMatch(rest, namesOf(of));
    value = match.value;
    hasPort = match.mask[Word.inPort] !== 0;
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error;
    throw new CommandError(`Bad openflow flow syntax: ${error.message}`);
  }
  // As in Open vSwitch: a packet of a flow that names no port came by none.
  if (!hasPort) value[Word.inPort] = Port.none;
  if (value[Word.dlType] === 0 && frame === undefined) value[Word.dlType] = 0;
  const asked = { bridge, priority: Number(said ?? 0), recircId: 0 };
  const tci = value[Word.vlan] as number;
  const tags = tci & VLAN_PRESENT ? [{ tpid: 0x8100, tci }] : [];
  if (frame === undefined) {
    // What is made of a flow is not sent: only what it teaches counts.
    const made = generates ? new Uint8Array() : undefined;
    return { ...asked, packet: { flow: value, tags }, frame: made };
  }
  const port = value[Word.inPort] as number;
  const no = of.ports.value.get(port)?.dp ?? 0xffff;
  const key = encodeKey(extractKey(frame, { inPort: portNo(no) }));
  const packet = flowOfKey(key, layouts.of(key), 0, () => port);
  for (let i = 0; i < Word.dlDst; i++) {
    packet.flow[i] = (packet.flow[i] as number) | (value[i] as number);
  }
  return { ...asked, packet, frame, key };
}

/** A flow of a datapath. */
function ofKey(
  { dp, switches }: Backing,
  bridges: readonly Bridge[],
  said: Uint8Array,
  frame: Uint8Array | undefined,
  generates: boolean,
): Asked {
  const fields = decodeKey(said);
  const recircId = fields.recircId ?? 0;
  const no = fields.inPort ?? 0xffff;
  const frozen = recircId === 0
    ? undefined
    : switches.run.carriedTo(recircId) as Frozen | undefined;
  if (recircId !== 0 && frozen === undefined) {
    throw new CommandError(
      `no recirculation data for recirc_id 0x${recircId.toString(16)}`,
    );
  }
  const bridge = bridges.find(({ of }) =>
    frozen === undefined ? of.portOf(no) !== Port.none : of.id === frozen.of
  );
  if (bridge === undefined) {
    throw new CommandError(`no OpenFlow port for datapath port ${no}`);
  }
  let key = said;
  let bytes = frame;
  if (frame !== undefined) {
    const { skbMark = 0, priority = 0 } = fields;
    key = encodeKey({ ...extractKey(frame, { inPort: portNo(no) }), skbMark, priority });
  } else if (generates) bytes = composed(fields);
  const packet = flowOfKey(key, layouts.of(key), 0, (one) => bridge.of.portOf(one));
  packet.flow[Word.recircId] = recircId;
  const priority = fields.priority ?? 0;
  void dp;
  return { bridge, packet, priority, recircId, frozen, frame: bytes, key };
}

/** A packet of a key; none of its bytes where it cannot be composed. */
function composed(fields: ReturnType<typeof decodeKey>): Uint8Array {
  try {
    return composePacket(fields);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) {
      return new Uint8Array();
    }
    if (error instanceof DatapathError || error instanceof TypeError) {
      return new Uint8Array();
    }
    throw error;
  }
}
