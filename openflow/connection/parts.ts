// SPDX-License-Identifier: Apache-2.0
/**
 * Replies of any size, in as many messages as they need.
 *
 * @module
 */
import { encodeMessage } from "../wire/codec.ts";
import type { EncodeOptions, Message } from "../wire/message.ts";
import type { MultipartReply } from "../wire/multipart_types.ts";

/** Entries of a reply. */
type Entries = readonly unknown[];

/** Names of the lists that replies may have. */
const lists = ["flows", "tables", "ports", "groups", "meters"] as const;

function listOf(
  reply: MultipartReply,
): readonly [name: string, list: Entries] | undefined {
  for (const name of lists) {
    const list = (reply as unknown as Record<string, unknown>)[name];
    if (Array.isArray(list)) return [name, list];
  }
  return undefined;
}

/**
 * Writes a message. A multipart reply of more than 65,535 bytes becomes several, of which all but
 * the last say that there is more; an entry that does not fit into any message is left out. Throws
 * as `encodeMessage` does for what has no parts.
 */
export function* encodeParts(
  message: Message,
  options: EncodeOptions,
): IterableIterator<Uint8Array> {
  const split = message.kind === "multipartReply" ? listOf(message.reply) : undefined;
  let whole: Uint8Array;
  try {
    whole = encodeMessage(message, options);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    if (message.kind !== "multipartReply" || split === undefined) throw error;
    const { reply, more } = message;
    const [name, list] = split;
    const part = (some: Entries, isMore: boolean): Message => ({
      ...message,
      reply: { ...reply, [name]: some } as MultipartReply,
      more: isMore,
    });
    if (list.length === 0) throw error;
    if (list.length === 1) return yield* encodeParts(part([], more), options);
    const half = list.length >> 1;
    yield* encodeParts(part(list.slice(0, half), true), options);
    yield* encodeParts(part(list.slice(half), more), options);
    return;
  }
  yield whole;
}
