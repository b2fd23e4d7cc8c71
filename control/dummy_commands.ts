// SPDX-License-Identifier: Apache-2.0
/**
 * `netdev-dummy/…`: frames into dummy ports and out of them, in the words of Open vSwitch.
 *
 * @module
 */
import type { Port } from "../providers/contract/ports.ts";
import type { Datapath } from "../providers/datapath.ts";
import { decodeKey, parseKeyBytes } from "../providers/odp/mod.ts";
import { composePacket } from "./compose.ts";
import type { ControlCommand } from "./socket.ts";
import { fieldStart } from "./verbs/flow.ts";

/** Smallest frame, bytes. */
const minFrame = 64;

/** What commands about dummy ports need of a datapath. */
export interface WithDummies {
  readonly ports: Pick<Datapath["ports"], "get" | "inject" | "collect">;
}

/** Commands about dummy ports; none for a datapath that has no such ports. */
export function dummyCommands(dp: WithDummies): Map<string, ControlCommand> {
  const commands = new Map<string, ControlCommand>();
  if (dp.ports.inject === undefined) return commands;
  commands.set("netdev-dummy/receive", {
    usage: "name [--qid queue_id] packet|flow [--len packet_len]",
    args: [2, Infinity],
    run: (args) => receive(dp, args),
  });
  commands.set("netdev-dummy/conn-state", {
    usage: "[netdev]",
    args: [0, 1],
    // A port whose frames go to the program has no connection, which Open vSwitch calls unknown.
    run: ([name]) => name === undefined ? "" : `${name}: unknown\n`,
  });
  commands.set("netdev-dummy/collect", {
    usage: "name",
    args: [1, 1],
    run: ([name = ""]) => collect(dp, name),
  });
  return commands;
}

function dummyPort(dp: WithDummies, name: string): Port {
  const port = dp.ports.get(name);
  if (port?.type !== "dummy") throw new RangeError("no such dummy netdev");
  return port;
}

function receive(dp: WithDummies, [name = "", ...words]: readonly string[]): string {
  const { no } = dummyPort(dp, name);
  if (words[0] === "--qid" && words.length > 2) {
    if (!/^0+$/.test(words[1] ?? "")) throw new RangeError("bad rx queue id.");
    words.splice(0, 2);
  }
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string;
    let frame = hexBytes(word);
    if (frame === undefined) {
      let length: number | undefined;
      if (words[i + 1] === "--len" && words[i + 2] !== undefined) {
        length = Number.parseInt(words[i + 2] as string, 10) || 0;
        if (length < minFrame - 4) throw new RangeError("too small packet len");
        i += 2;
      }
      frame = composeFlow(word, length);
    }
    dp.ports.inject?.(no, frame);
  }
  return "";
}

/**
 * Bytes of hexadecimal digits, white space between them; undefined for other text, or too little
 * for a frame.
 */
export function hexBytes(text: string): Uint8Array | undefined {
  const digits = text.replaceAll(/\s/g, "");
  if (digits.length % 2 !== 0 || !/^[0-9a-f]{28,}$/i.test(digits)) return undefined;
  return Uint8Array.from(
    { length: digits.length / 2 },
    (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

function composeFlow(said: string, length: number | undefined): Uint8Array {
  // As in Open vSwitch, whose scanner skips white space before a number.
  const text = said.replaceAll(/=\s+/g, "=");
  try {
    const key = decodeKey(parseKeyBytes(text).key);
    return composePacket(key, length === undefined ? {} : { length });
  } catch (error) {
    const { offset } = error as { offset?: unknown };
    if (!(error instanceof SyntaxError) || typeof offset !== "number") throw error;
    throw new SyntaxError(`syntax error at ${text.slice(fieldStart(text, offset))}`);
  }
}

function collect(dp: WithDummies, name: string): string {
  const { no } = dummyPort(dp, name);
  let text = "";
  for (let frame = dp.ports.collect?.(no); frame; frame = dp.ports.collect?.(no)) {
    text += Array.from(frame, (byte) => byte.toString(16).padStart(2, "0")).join("") +
      "\n";
  }
  return text;
}
