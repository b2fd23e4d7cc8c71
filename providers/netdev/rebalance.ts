// SPDX-License-Identifier: Apache-2.0
/**
 * Dealing receive queues out anew: what a setting that says how makes true.
 *
 * @module
 */
import type { Context } from "./context.ts";
import { waitedFailure } from "./library.ts";

/** Deals the receive queues of a datapath out over its poll threads, because of `object`. */
export async function rebalance(context: Context, object?: string): Promise<void> {
  const { symbols, dp, subject } = context;
  const errno = await symbols.dp_poll_threads_rebalance(dp);
  if (errno === 0) return;
  throw waitedFailure(symbols, errno, subject("rebalance receive queues", object), {
    dp,
  });
}
