// SPDX-License-Identifier: Apache-2.0
/**
 * Flows that the ledger does not know: of an earlier run of the program, or of somebody else.
 *
 * @module
 */
import { clockMs } from "../clock.ts";
import type { Flow } from "../../providers/flow.ts";
import { splitLevels } from "../../providers/odp/levels.ts";
import { find } from "../../providers/odp/attributes.ts";
import { keyTable, VLAN } from "../../providers/odp/key.ts";
import { tunnelKey } from "../../providers/odp/payload/tunnel.ts";
import { type Core, count } from "./core.ts";
import type { Layout } from "../packet/layout.ts";
import { looseMask } from "./mask_table.ts";
import { changesSoFar } from "../state/dependency.ts";
import type { Revalidator } from "./revalidator.ts";

/**
 * Runs the policy on a flow's key within its mask. What can be proven becomes the policy's own,
 * with its actions; what cannot is deleted. A key from the kernel is zero where it is not masked,
 * and nothing beyond the mask is believed.
 */
export function adopt(core: Core, revalidator: Revalidator, flow: Flow): boolean {
  const { ufid, raw } = flow;
  const nowMs = clockMs();
  const remove = (): false => {
    const reference = ufid === undefined
      ? { key: raw.key ?? new Uint8Array() }
      : { ufid };
    core.dp.operate([{ op: "delete", ...reference }]);
    count(core.counters.failures, "stranger_deleted");
    return false;
  };
  if (ufid === undefined || raw.key === undefined || raw.mask === undefined) {
    return remove();
  }
  let key: Uint8Array;
  let fence: Uint8Array | undefined;
  let at: ReturnType<Core["stageOf"]>;
  try {
    // As it is: what the kernel does not say of a flow it does not know, and refuses to be told.
    key = raw.key.slice();
    fence = fenceOf(core.runner.tracker.layoutOf(key), raw.mask, key);
    at = core.stageOf(key);
  } catch {
    return remove();
  }
  if (fence === undefined || at === null) return remove();
  const ran = core.run(key, nowMs, at, looseMask(fence));
  const { ledger, runner } = core;
  const { tracker } = runner;
  if (ran === undefined) {
    tracker.dropDependencies();
    return remove();
  }
  const isProven = ran.uncacheable === undefined && runner.key === key && !tracker.grew;
  if (!isProven) {
    tracker.dropDependencies();
    return remove();
  }
  const { layout, keyWords } = tracker;
  const mask = ledger.masks.of(tracker.maskWords, tracker.maskSize);
  const record = ledger.add({
    ufid,
    keyWords,
    layout,
    mask,
    hash: ledger.hashOf(keyWords, layout, mask),
    actions: ran.actions,
    decision: ran.decision,
    at,
    effects: tracker.effects,
    nowMs,
    step: 1,
  });
  record.installed = true;
  record.packets = flow.stats.packets;
  record.bytes = flow.stats.bytes;
  core.setDeadline(record, tracker.deadline);
  ledger.edges.depend(record, tracker.dependencyIds, tracker.dependencyCount);
  record.changes = changesSoFar();
  core.learn(record.effects, nowMs);
  count(core.counters.failures, "stranger_adopted");
  const before = raw.actions ?? new Uint8Array();
  const { bytes } = ran.actions;
  const isSame = before.length === bytes.length && bytes.every((b, i) => b === before[i]);
  if (!isSame) revalidator.modify([record], nowMs);
  return true;
}

/**
 * A mask of the datapath in the layout of ours; undefined if it leaves open what ours always have.
 */
function fenceOf(
  layout: Layout,
  mask: Uint8Array,
  key: Uint8Array,
): Uint8Array | undefined {
  const fence = layout.template.slice();
  const theirs = splitLevels(mask, "mask");
  const tunnel = splitLevels(key, "key")[0]?.get(keyTable.tunnel.id);
  if (tunnel !== undefined && !hasId(tunnel)) {
    // That a tunnel key has no id is matched by those flows only whose mask has one.
    const bits = theirs[0]?.get(keyTable.tunnel.id);
    if (bits === undefined || !hasId(bits)) return undefined;
  }
  for (const [depth, level] of splitLevels(fence, "mask").entries()) {
    for (const [id, payload] of level) {
      const bits = theirs[depth]?.get(id);
      const nested = id === keyTable.tunnel.id || id === keyTable.nsh.id;
      for (let i = 0; i < payload.length; i++) {
        const always = payload[i] as number;
        const has = nested ? 0 : bits?.[i] ?? 0;
        // What every datapath matches whatever the mask says is not in every mask that they give.
        if ((always & ~has) !== 0 && !isAlways(id)) return undefined;
        payload[i] = always | has;
      }
    }
  }
  return key.length > 0 ? fence : undefined;
}

/** The kernel takes flows of any port, recirculation or EtherType: these are not among them. */
const alwaysIds: ReadonlySet<number> = new Set([
  keyTable.packetType.id,
  VLAN, // A tag is there or not.
  keyTable.tunnel.id,
]);

function hasId(tunnel: Uint8Array): boolean {
  return find(tunnel, tunnelKey.table.id.id) !== undefined;
}

function isAlways(id: number): boolean {
  return alwaysIds.has(id);
}
