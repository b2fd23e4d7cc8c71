// SPDX-License-Identifier: Apache-2.0
/**
 * Queues as priorities of packets.
 *
 * @module
 */

/** Queues of the kernel's datapath end here, and are classes below this one. */
const MAX_QUEUE = 0xf000;
const ROOT_CLASS = 0x10000;

/**
 * The priority of packets that a queue stands for; undefined where there is no such queue. As in
 * Open vSwitch: in the kernel's datapath a class of the root discipline of `tc`, and in others the
 * number itself.
 */
export function queuePriority(type: string, queue: number): number | undefined {
  if (type !== "system") return queue;
  return queue < MAX_QUEUE ? ROOT_CLASS | queue + 1 : undefined;
}
