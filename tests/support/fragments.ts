// SPDX-License-Identifier: Apache-2.0
/**
 * Frames as the fragments that a router would make of them, and put together again.
 *
 * @module
 */
import { be16, be32, bytes, checksum } from "./frames.ts";

const LINK = 14;

/** What may be said of fragments. */
export interface FragmentFields {
  /** Identification. */
  readonly id?: number;
  /** Whether there is another fragment behind the last one. */
  readonly more?: boolean;
}

/**
 * A fragment of an untagged IP frame without options: `size` bytes of what IP carries, from `start`
 * on.
 */
export function fragmentOf(
  frame: Uint8Array,
  start: number,
  size: number,
  { id = 1, more }: FragmentFields = {},
): Uint8Array<ArrayBuffer> {
  const v4 = frame[12] === 0x08;
  const data = LINK + (v4 ? 20 : 40);
  const payload = frame.subarray(data + start, data + start + size);
  const follows = more ?? data + start + size < frame.length;
  if (!v4) {
    const head = frame.slice(0, data);
    head.set(be16(payload.length + 8), LINK + 4);
    const next = head[LINK + 6] as number;
    head[LINK + 6] = 44;
    return bytes(head, next, 0, be16(start | Number(follows)), be32(id), payload);
  }
  const head = frame.slice(0, data);
  head.set(be16(20 + payload.length), LINK + 2);
  head.set(be16(id), LINK + 4);
  head.set(be16(start / 8 | (follows ? 0x2000 : 0)), LINK + 6);
  head.set(be16(0), LINK + 10);
  head.set(be16(checksum(head.subarray(LINK))), LINK + 10);
  return bytes(head, payload);
}

/** The fragments of a frame, of `size` bytes each but the last one. */
export function fragmentsOf(
  frame: Uint8Array,
  size: number,
  fields: FragmentFields = {},
): Uint8Array<ArrayBuffer>[] {
  const carried = frame.length - LINK - (frame[12] === 0x08 ? 20 : 40);
  return Array.from(
    { length: Math.ceil(carried / size) },
    (_, i) => fragmentOf(frame, i * size, size, fields),
  );
}

/** The IP packet that fragments in order are of, as if it had never been cut. */
export function joined(fragments: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const first = fragments[0] as Uint8Array;
  const v4 = first[12] === 0x08;
  const data = LINK + (v4 ? 20 : 48);
  const payload = bytes(...fragments.map((fragment) => fragment.subarray(data)));
  const head = first.slice(LINK, LINK + (v4 ? 20 : 40));
  if (v4) {
    head.set(be16(20 + payload.length), 2);
    head.set(be16(0), 6);
    head.set(be16(0), 10);
    head.set(be16(checksum(head)), 10);
  } else {
    head.set(be16(payload.length), 4);
    head[6] = first[LINK + 40] as number;
  }
  return bytes(head, payload);
}
