// SPDX-License-Identifier: Apache-2.0
/**
 * Packets that the kernel samples in this network namespace: its family `psample`.
 *
 * Format: `<linux/psample.h>`.
 *
 * @module
 */
import { genlHeaderSize } from "./genl.ts";
import { Attributes, type Message, u16, u32 } from "./message.ts";
import { u64 } from "./scalar.ts";

const PSAMPLE_CMD_SAMPLE = 0;
const PSAMPLE_ATTR_IIFINDEX = 0;
const PSAMPLE_ATTR_ORIGSIZE = 2;
const PSAMPLE_ATTR_SAMPLE_GROUP = 3;
const PSAMPLE_ATTR_GROUP_SEQ = 4;
const PSAMPLE_ATTR_SAMPLE_RATE = 5;
const PSAMPLE_ATTR_DATA = 6;
const PSAMPLE_ATTR_TIMESTAMP = 13;
const PSAMPLE_ATTR_USER_COOKIE = 15;
const PSAMPLE_ATTR_SAMPLE_PROBABILITY = 16;

/** Name of the family. */
export const psampleFamily = "psample";
/** Name of the multicast group that samples are sent to. */
export const psampleGroup = "packets";

/** A sample, as the kernel describes it. */
export interface KernelSample {
  /** Group that it was taken for. */
  readonly group: number;
  /** Its number in that group. */
  readonly sequence: number;
  /** How many packets it stands for. */
  readonly rate: number;
  /** Low 16 bits of the index of the device that the packet came in by. */
  readonly ifindex?: number;
  /** Bytes that the packet had. */
  readonly originalLength: number;
  /** What is kept of it. */
  readonly packet: Uint8Array;
  /** When, nanoseconds since 1970; from Linux 5.13 on. */
  readonly time?: bigint;
  /** What the action gave with it, from Linux 6.11 on. */
  readonly cookie?: Uint8Array;
}

/** The sample that a message of the family describes; undefined: it is about something else. */
export function parseSample(message: Message): KernelSample | undefined {
  if (message.body[0] !== PSAMPLE_CMD_SAMPLE) return undefined;
  const attributes = new Attributes(message.body, genlHeaderSize);
  const rate = attributes.need(PSAMPLE_ATTR_SAMPLE_RATE, u32);
  const isProbability = attributes.bytes(PSAMPLE_ATTR_SAMPLE_PROBABILITY) !== undefined;
  const ifindex = attributes.get(PSAMPLE_ATTR_IIFINDEX, u16);
  const time = attributes.get(PSAMPLE_ATTR_TIMESTAMP, u64);
  const cookie = attributes.bytes(PSAMPLE_ATTR_USER_COOKIE);
  return {
    group: attributes.need(PSAMPLE_ATTR_SAMPLE_GROUP, u32),
    sequence: attributes.need(PSAMPLE_ATTR_GROUP_SEQ, u32),
    rate: isProbability ? 0xffffffff / rate : rate,
    ...(ifindex !== undefined && { ifindex }),
    originalLength: attributes.need(PSAMPLE_ATTR_ORIGSIZE, u32),
    packet: attributes.bytes(PSAMPLE_ATTR_DATA)?.slice() ?? new Uint8Array(),
    ...(time !== undefined && { time }),
    ...(cookie !== undefined && cookie.length > 0 && { cookie: cookie.slice() }),
  };
}
