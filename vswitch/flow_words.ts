// SPDX-License-Identifier: Apache-2.0
/**
 * Flows of a userspace datapath, in the words of Open vSwitch.
 *
 * @module
 */
import { withHanded } from "./handed_text.ts";

/** What is no header of packets, in the order in which Open vSwitch's userspace datapath has it. */
const metadata = [
  ...["skb_priority", "tunnel", "skb_mark", "ct_state", "ct_zone", "ct_mark", "ct_label"],
  ...["ct_tuple4", "ct_tuple6", "recirc_id", "dp_hash", "in_port"],
].map((name) => new RegExp(`\\b${name}\\((?:[^()]|\\((?:[^()]|\\([^()]*\\))*\\))*\\),?`));

/** A line of a flow with its metadata in that order, and actions in these words. */
export function inTheirWords(line: string): string {
  const [, id = "", rest = ""] = /^(ufid:\S+ )?(.*)$/s.exec(line) ?? [];
  const end = rest.search(/, ?(?:packets|actions):/);
  let key = end < 0 ? rest : rest.slice(0, end);
  const tail = end < 0 ? "" : rest.slice(end);
  let first = "";
  for (const field of metadata) {
    const [found] = field.exec(key) ?? [];
    if (found === undefined) continue;
    key = key.replace(found, "");
    first += found.endsWith(",") ? found : `${found},`;
  }
  const whole = `${first}${key}`;
  return id + (whole.endsWith(",") ? whole.slice(0, -1) : whole) + withHanded(tail);
}

/** A line of a flow as logs and `dpif/dump-flows` have it: they do not say which layer it is in. */
export function withoutLayer(line: string): string {
  return line.replace(/^(ufid:[^,\s]+), /, "$1 ").replace(", dp:ovs,", ",");
}

/** Lines of a dump, each in these words. */
export function linesInTheirWords(text: string): string {
  return text.split("\n").map(inTheirWords).join("\n");
}
