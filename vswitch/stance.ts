// SPDX-License-Identifier: Apache-2.0
/**
 * What a switch does by itself, with and without controllers.
 *
 * @module
 */
import type { Switch } from "../openflow/switch/switch.ts";
import { parseFlow } from "../openflow/text/flow.ts";
import { BucketPlace, type GroupMod } from "../openflow/wire/message.ts";
import { ALL_GROUPS, ALL_METERS } from "../openflow/wire/object.ts";

/** The change that takes all groups away. */
const NO_GROUPS: GroupMod = {
  kind: "groupMod",
  command: "delete",
  type: "all",
  group: ALL_GROUPS,
  place: BucketPlace.all,
  buckets: [],
  selection: undefined,
};

/** Whether a switch stands alone, and whether controllers have it. */
export class Stance {
  readonly #of: Switch;
  #now: { readonly isStandalone: boolean; readonly isControlled: boolean } | undefined;

  /** Begins without any. */
  constructor(of: Switch) {
    this.#of = of;
  }

  /**
   * Without controllers, a switch that stands alone has one flow, which is NORMAL; with them it is
   * theirs to fill. As in Open vSwitch, all that there is goes when the first one comes, and when
   * the last one has gone.
   */
  take(isStandalone: boolean, isControlled: boolean): void {
    const before = this.#now;
    this.#now = { isStandalone, isControlled };
    const { flows, groups, meters } = this.#of;
    const isOther = before !== undefined && before.isControlled !== isControlled;
    if (before?.isStandalone === isStandalone && !isOther) return;
    if (before !== undefined) {
      flows.apply({ ...parseFlow("actions=drop"), command: "delete" }, { isOld: false });
    }
    if (isOther) {
      flows.now((change) => groups.stage(NO_GROUPS, change));
      flows.now((change) => meters.delete(ALL_METERS, change));
    }
    if (isStandalone) {
      flows.apply(parseFlow("priority=0,actions=NORMAL"), { isOld: false });
    }
  }
}
