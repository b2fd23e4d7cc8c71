// SPDX-License-Identifier: Apache-2.0
/**
 * Operations for providers whose put takes no packet along.
 *
 * @module
 */
import type { OpResult, ProviderExecute, ProviderOp } from "./contract/flows.ts";
import type { ProviderDatapath } from "./contract/provider.ts";

/** Runs operations by a provider whose "put" takes no packet. */
export function operateApart(
  provider: Pick<ProviderDatapath, "operate">,
  ops: readonly ProviderOp[],
): OpResult[] {
  if (!ops.some((op) => op.op === "put" && op.packet !== undefined)) {
    return provider.operate(ops);
  }
  const results = provider.operate(ops.flatMap((op): ProviderOp[] => {
    if (op.op !== "put" || op.packet === undefined) return [op];
    const { packet, mru, hash, ...put } = op;
    const execute: { -readonly [Name in keyof ProviderExecute]: ProviderExecute[Name] } =
      {
        op: "execute",
        packet,
        key: put.key,
        actions: put.actions,
      };
    if (mru !== undefined) execute.mru = mru;
    if (hash !== undefined) execute.hash = hash;
    return [put, execute];
  })).values();
  return ops.map((op) => {
    const result = results.next().value as OpResult;
    if (op.op !== "put" || op.packet === undefined) return result;
    const executed = results.next().value as OpResult;
    return result.ok && !executed.ok ? executed : result;
  });
}
