// SPDX-License-Identifier: Apache-2.0
/**
 * Actions that hand packets to controllers, in the words of Open vSwitch.
 *
 * @module
 */
import { readContext } from "../openflow/translate/context.ts";
import { OfError } from "../openflow/wire/error.ts";
import { handedBy } from "../policy/decision.ts";

/** Numbers and bytes of an action, as datapaths print it. */
const HANDED = /userspace\(pid=\d+,userdata\(([0-9a-f]+)\)\)/g;

/**
 * A text of actions with those of this program in Open vSwitch's words:
 * `userspace(pid=0,controller(reason=1,…))`, or `slow_path(action)` for packets that it changes.
 */
export function withHanded(text: string): string {
  return text.replace(HANDED, (whole: string, hex: string) => {
    const handed = handedBy(Uint8Array.fromHex(hex));
    if (handed === undefined) return whole;
    if (handed.kind === "slowly") return "userspace(pid=0,slow_path(action))";
    return wordsOf(handed.userdata) ?? whole;
  });
}

function wordsOf(bytes: Uint8Array): string | undefined {
  try {
    const { reason, cookie, controllerId, maxLength, continuation } = readContext(bytes);
    const words = [
      `reason=${reason}`,
      "dont_send=0",
      `continuation=${continuation === undefined ? 0 : 1}`,
      "recirc_id=1",
      `rule_cookie=${cookie === 0n ? "0" : `0x${cookie.toString(16)}`}`,
      `controller_id=${controllerId}`,
      `max_len=${maxLength}`,
    ];
    return `userspace(pid=0,controller(${words.join(",")}))`;
  } catch (error) {
    if (error instanceof OfError) return undefined;
    throw error;
  }
}
