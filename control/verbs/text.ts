// SPDX-License-Identifier: Apache-2.0
/**
 * Verbs that need no datapath: they read text and print it anew.
 *
 * @module
 */
import {
  decodeKey,
  formatActions,
  formatKey,
  parseActions,
  parseKeyBytes,
} from "../../providers/odp/mod.ts";
import type { Action, FlowKey, VlanTag } from "../../providers/types.ts";
import { adviceOf } from "./advice.ts";
import { type Verb, VerbFailure, type VerbRun } from "./verb.ts";
import { fieldStart } from "./flow.ts";

const all = Infinity;
const ETH_TYPE_VLAN = 0x8100;
/** Tags that Open vSwitch's keys hold. */
const maxTags = 2;

function parse(text: string, ports?: ReadonlyMap<number, string>): Action[] {
  try {
    return parseActions(text, { ports });
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new VerbFailure("odp_actions_from_string", "EINVAL", adviceOf(error));
  }
}

function parseActionLists(run: VerbRun, args: readonly string[]): void {
  for (const text of args) {
    const actions = formatActions(parse(text));
    run.print(`${actions}\n`);
    run.result(actions);
  }
}

/** What a packet looks like when some of the actions are done to it. */
interface Variant {
  readonly tags: readonly VlanTag[];
  readonly actions: Action[];
}

/** A tag as the two 16-bit words that it is on the wire: their order is the order of variants. */
function tagBits({ tpid, vid, pcp, cfi }: VlanTag): number {
  return tpid * 0x10000 + (pcp << 13 | cfi << 12 | vid);
}

function compareTags(a: readonly VlanTag[], b: readonly VlanTag[]): number {
  for (let i = 0; i < maxTags; i++) {
    const [left, right] = [a[i], b[i]];
    const difference = (left ? tagBits(left) : 0) - (right ? tagBits(right) : 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Sorts outputs that follow each other: their order makes no difference. */
function sortOutputs(actions: readonly Action[]): Action[] {
  const sorted: Action[] = [];
  let outputs: (Action & { type: "output" })[] = [];
  const flush = (): void => {
    sorted.push(...outputs.sort((a, b) => a.port - b.port));
    outputs = [];
  };
  for (const action of actions) {
    if (action.type === "output") outputs.push(action);
    else {
      flush();
      sorted.push(action);
    }
  }
  flush();
  return sorted;
}

/** Actions by the tags that the packet has when they are done. */
function variantsOf(key: FlowKey, actions: readonly Action[]): Variant[] {
  let tags: readonly VlanTag[] = key.vlans ?? [];
  const variants: Variant[] = [];
  for (const action of actions) {
    if (action.type === "popVlan") tags = tags.slice(1);
    else if (action.type === "pushVlan") {
      tags = [action, ...tags].slice(0, maxTags);
    } else {
      let variant = variants.find((one) => compareTags(one.tags, tags) === 0);
      if (variant === undefined) variants.push(variant = { tags, actions: [] });
      variant.actions.push(action);
    }
  }
  return variants.sort((a, b) => compareTags(a.tags, b.tags));
}

function tagText(tag: VlanTag): string {
  // Open vSwitch (3.1) prints the bytes of the number in the order of a little-endian machine.
  const swapped = (tag.tpid & 0xff) << 8 | tag.tpid >> 8;
  const tpid = tag.tpid === ETH_TYPE_VLAN
    ? ""
    : `tpid=0x${swapped.toString(16).padStart(4, "0")},`;
  return `vlan(${tpid}vid=${tag.vid},pcp=${tag.pcp}): `;
}

function normalizeActions(
  run: VerbRun,
  [keyText = "", actionText = "", ...names]: readonly string[],
): void {
  const ports = new Map<number, string>();
  for (const text of names) {
    const [, name, number] = /^([^=]{1,15})=(-?\d+)/.exec(text) ?? [];
    if (name === undefined) throw new VerbFailure(`${text}: expected NAME=NUMBER`);
    ports.set(Number(number) >>> 0, name);
  }
  let bytes: Uint8Array;
  try {
    bytes = parseKeyBytes(keyText, { ports }).key;
  } catch (error) {
    const { offset } = error as { offset?: unknown };
    if (!(error instanceof SyntaxError) || typeof offset !== "number") throw error;
    const rest = keyText.slice(fieldStart(keyText, offset));
    throw new VerbFailure(
      `odp_flow_key_from_string (syntax error at ${rest})`,
      "EINVAL",
      adviceOf(error),
    );
  }
  const verbose = run.flags.verbosity > 0;
  run.print(`input flow: ${formatKey({ key: bytes }, { verbose })}\n`);
  const actions = parse(actionText, ports);
  if (verbose) run.print(`input actions: ${formatActions(actions)}\n`);
  const key = decodeKey(bytes);
  for (const variant of variantsOf(key, actions)) {
    const tags = variant.tags.map(tagText).join("") || "no vlan: ";
    const [label] = key.mpls ?? [];
    const mpls = label === undefined
      ? "no mpls: "
      : `mpls(label=${label.label},tc=${label.tc},ttl=${label.ttl}): `;
    const list = formatActions(sortOutputs(variant.actions));
    // Nothing parts one from the next: so it is in Open vSwitch.
    run.print(`${tags}${mpls}${list}`);
    run.result({ vlans: variant.tags, mpls: label ?? null, actions: list });
  }
}

/** Verbs that need no datapath; ovs-dpctl has them, and does not list them. */
export const textVerbs: readonly Verb[] = [
  {
    name: "parse-actions",
    usage: "actions",
    summary: "print actions as dump-flows would",
    args: [1, all],
    writes: false,
    perform: parseActionLists,
  },
  {
    name: "normalize-actions",
    usage: "actions",
    summary: "print what FLOW ACTIONS [NAME=NUMBER...] do to packets of each VLAN",
    args: [2, all],
    writes: false,
    perform: normalizeActions,
  },
];
