// SPDX-License-Identifier: Apache-2.0
/**
 * Packets that go through the tables of a switch as a policy has them go, with all that their flow
 * rests on; or by themselves, each table looked at.
 *
 * @module
 */
import type { Switch } from "../../openflow/switch/switch.ts";
import { flowOfKey, layFlow } from "../../openflow/table/packet_flow.ts";
import { Passage } from "../../openflow/table/passages.ts";
import type { Counter } from "../../openflow/table/tally.ts";
import { Translation } from "../../openflow/translate/translation.ts";
import { Tracker } from "../../policy/packet/tracker.ts";

/** What comes of a packet, with what it is counted for; and whether some tables were one. */
export interface Outcome {
  readonly actions: string;
  readonly reason: string | undefined;
  readonly counters: readonly string[];
  readonly mask: string;
  readonly isShort: boolean;
  readonly dependencies: readonly number[];
}

/** Puts a packet through the tables of a switch; `isTracked` says whether a flow rests on them. */
export function runOf(of: Switch, key: Uint8Array, isTracked: boolean): Outcome {
  const tracker = new Tracker();
  tracker.take(key);
  if (isTracked) tracker.begin(Date.now());
  const counters: Counter[] = [];
  let way: Translation;
  try {
    const packet = flowOfKey(tracker.key, tracker.layout);
    way = new Translation(of, packet, (counter) => void counters.push(counter));
    way.run();
    if (!isTracked) {
      tracker.end();
      tracker.begin(Date.now());
    }
    layFlow(tracker, way.seen, way.seenInner);
  } finally {
    tracker.end();
  }
  return {
    actions: JSON.stringify(way.actions),
    reason: way.reason,
    counters: counters.flatMap(({ name }) => name.split(", ")).sort(),
    mask: tracker.mask.subarray(0, tracker.maskSize).toHex(),
    isShort: counters.some((one) => one instanceof Passage),
    dependencies: [...tracker.dependencyIds.subarray(0, tracker.dependencyCount)],
  };
}

/** An outcome without what differs between runs that are as good as each other. */
export function plain(
  { actions, reason, counters, mask }: Outcome,
): Omit<Outcome, "isShort" | "dependencies"> {
  return { actions, reason, counters, mask };
}
