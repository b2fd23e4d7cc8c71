// SPDX-License-Identifier: Apache-2.0
/**
 * What the log says of conversations with controllers and programs, as Open vSwitch does: messages
 * one by one for those who debug, and how many flows a peer changed.
 *
 * @module
 */
import { clockMs } from "../policy/clock.ts";
import type { Journal } from "../openflow/connection/connection.ts";
import { formatMessage, formatMessageBytes } from "../openflow/text/message.ts";
import type { Switch } from "../openflow/switch/switch.ts";
import type { Say } from "./log.ts";

let conversations = 0;

const FLOW_MOD = 14;
const BUNDLE_ADD = 34;
/** Where a header has the type, and where a bundled message begins. */
const TYPE_AT = 1;
const INNER_AT = 16;

/** Counts what a peer changes, and logs what is said. */
class LoggedConversation implements Journal {
  readonly #name: string;
  readonly #of: Switch;
  readonly #log: Say;
  readonly #counts = { adds: 0, deletes: 0, modifications: 0 };
  #firstMs = 0;
  #lastMs = 0;

  constructor(name: string, of: Switch, log: Say) {
    this.#name = name;
    this.#of = of;
    this.#log = log;
  }

  #say(text: () => string): void {
    this.#log("vconn", "dbg", () => `${this.#name}: ${text()}`);
  }

  sent(...[message, version, xid]: Parameters<Journal["sent"]>): void {
    this.#say(() => `sent (Success): ${formatMessage(message, version, xid)}`);
  }

  received(bytes: Uint8Array): void {
    this.#say(() => `received: ${formatMessageBytes(bytes, this.#of.tlv)}`);
    this.#count(bytes);
  }

  #count(bytes: Uint8Array): void {
    const type = bytes[TYPE_AT];
    if (type === BUNDLE_ADD && bytes.length > INNER_AT) {
      return this.#count(bytes.subarray(INNER_AT));
    }
    if (type !== FLOW_MOD) return;
    const isOld = bytes[0] === 1;
    // OpenFlow 1.0 has the command behind match and cookie.
    const command = isOld ? bytes[57] : bytes[25];
    const counts = this.#counts;
    if (command === 0) counts.adds++;
    else if (command === 1 || command === 2) counts.modifications++;
    else counts.deletes++;
    this.#lastMs = clockMs();
    this.#firstMs ||= this.#lastMs;
  }

  agreed(version: number, own: number, theirs: number): void {
    const byte = (bits: number): string => `0x0${31 - Math.clz32(bits)}`;
    const words = (bits: number): string =>
      Number.isInteger(Math.log2(bits))
        ? `version ${byte(bits)}`
        : `version ${byte(bits)} and earlier`;
    this.#say(() =>
      `negotiated OpenFlow version 0x0${version} (we support ${words(own)}, ` +
      `peer supports ${words(theirs)})`
    );
  }

  ended(): void {
    const counts = Object.entries(this.#counts).filter(([, count]) => count > 0);
    if (counts.length === 0) return;
    const total = counts.reduce((sum, [, count]) => sum + count, 0);
    const agoS = Math.floor((clockMs() - this.#firstMs) / 1000);
    const forS = Math.floor((this.#lastMs - this.#firstMs) / 1000);
    const when = forS === agoS
      ? `in the last ${agoS} s`
      : forS > 0
      ? `in the ${forS} s starting ${agoS} s ago`
      : `${agoS} s ago`;
    const what = counts.map(([name, count]) => `${count} ${name}`).join(", ");
    const who = `${this.#of.name}<->${this.#name}`;
    this.#log("connmgr", "info", `${who}: ${total} flow_mods ${when} (${what})`);
  }
}

/** Makes journals of the conversations of a switch. */
export function journalOf(
  of: Switch,
  log: Say,
): (transport: string) => Journal {
  return (transport) =>
    new LoggedConversation(`${transport}#${conversations++}`, of, log);
}
