// SPDX-License-Identifier: Apache-2.0
/**
 * A flow in a line that fits a screen: what its key says, and what becomes of its packets.
 *
 * @module
 */

/** Parts of keys that every flow has, or that say nothing. */
const idle =
  /(?:recirc_id\(0\)|packet_type\(ns=0,id=0\)|eth\(\)|ct_state\(0\/0\))(?:,|$)/g;

/** The actions have this share of the line at most. */
const shareOfActions = 0.5;

/**
 * A flow in the words of `dump-flows`, in at most `width` characters: without counters, without
 * what every key has, and with its actions, which stand at the end. What is left out has a `…`.
 */
export function flowLine(text: string, width: number): string {
  const at = text.indexOf("actions:");
  if (at < 0) return cut(text, width);
  const key = text.slice(0, at)
    .replace(/^ufid:[0-9a-f-]+,\s*/, "")
    .replace(/,? packets:\d+, bytes:.*$/, "")
    .replace(idle, "")
    .replace(/[,\s]+$/, "");
  const actions = text.slice(at + "actions:".length);
  const arrow = " -> ";
  // The key has what the actions leave, and they need not be shorter than that.
  const least = Math.min(
    key.length,
    Math.floor(width * (1 - shareOfActions)) - arrow.length,
  );
  const shownActions = cut(actions, Math.max(1, width - arrow.length - least));
  const shownKey = cut(
    key || "any",
    Math.max(1, width - arrow.length - shownActions.length),
  );
  return cut(`${shownKey}${arrow}${shownActions}`, width);
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}
