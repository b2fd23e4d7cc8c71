// SPDX-License-Identifier: Apache-2.0
/**
 * Queues of ports as peers are told of them: which there are, and what they counted.
 *
 * Each port has one queue, 0, by which all packets go for which nothing else is said; nobody counts
 * it. As in Open vSwitch, where no discipline of Linux is set.
 *
 * @module
 */
import type { Writer } from "./bytes.ts";
import type { Version } from "./error.ts";
import type { MessageOf } from "./message.ts";
import { portTo10 } from "./port_number.ts";

/** A counter, or an age, that is not known. */
const UNKNOWN = 0xffff_ffff_ffff_ffffn;
const UNKNOWN_AGE = 0xffff_ffff;

/** Writes what queue 0 of a port counted: nothing that is known. */
export function writeQueueStats(writer: Writer, port: number, version: Version): void {
  if (version >= 5) writer.u16(48).zeros(6);
  if (version === 1) writer.u16(portTo10(port)).zeros(2);
  else writer.u32(port);
  writer.u32(0).u64(UNKNOWN).u64(UNKNOWN).u64(UNKNOWN);
  if (version >= 4) writer.u32(UNKNOWN_AGE).u32(UNKNOWN_AGE);
}

/** Writes queue 0 of a port, without limits of its rate. */
export function writeQueue(writer: Writer, port: number, version: Version): void {
  if (version >= 5) writer.u32(port).u32(0).u16(16).zeros(6);
  else if (version >= 3) writer.u32(0).u32(port).u16(16).zeros(6);
  else writer.u32(0).u16(8).zeros(2);
}

/** Writes the queues of a port, or of all, as a peer asked for them. */
export function writeQueues(
  writer: Writer,
  { port: asked, ports }: MessageOf<"queueConfigReply">,
  version: Version,
): void {
  if (version === 1) writer.u16(portTo10(asked)).zeros(6);
  else writer.u32(asked).zeros(4);
  for (const port of ports) writeQueue(writer, port, version);
}
