// SPDX-License-Identifier: Apache-2.0
/**
 * The verb that forgets connections.
 *
 * @module
 */
import type { ConnTuple } from "../../providers/contract/conntrack.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { filterOf, isFiveTuple, parseTuple, type TupleMatch } from "../text/conntrack.ts";
import { readU16 } from "../text/scan.ts";
import { VerbFailure, type VerbRun } from "./verb.ts";

/** `flush-conntrack`: everything, a zone, or what marks, labels and parts of tuples say. */
export async function flushConntrack(
  run: VerbRun,
  args: readonly string[],
): Promise<void> {
  let rest = args;
  let zone: number | undefined;
  // Open vSwitch looks for a zone before it knows whether a datapath was named, so it must come
  // first or second.
  const named = rest.length > 0 && await run.datapaths.exists(rest[0] as string);
  const dpArgs = named ? rest.slice(0, 1) : [];
  if (named) rest = rest.slice(1);
  if (rest[0]?.startsWith("zone=")) {
    zone = readU16(rest[0].slice(5));
    if (zone === undefined) throw new VerbFailure("failed to parse zone", "EINVAL");
    rest = rest.slice(1);
  }
  const bits = takeBits(rest);
  rest = bits.rest;
  const match: TupleMatch = { orig: {}, reply: {} };
  for (const side of ["orig", "reply"] as const) {
    const [text, ...others] = rest;
    if (text === undefined) break;
    try {
      parseTuple(text, side, match);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      throw new VerbFailure(error.message, "EINVAL");
    }
    rest = others;
  }
  if (rest.length > 0) throw new VerbFailure("invalid arguments", "EINVAL");
  await withOptionalDatapath(
    run,
    dpArgs,
    (dp) => flush(run, dp, { zone, match, ...bits }),
  );
}

/** Takes `mark=X[/M]` and `labels=X[/M]` off the front, as Open vSwitch has them from 3.4 on. */
function takeBits(args: readonly string[]): {
  rest: readonly string[];
  mark?: { readonly value: number; readonly mask: number };
  labels?: { readonly value: bigint; readonly mask: bigint };
} {
  let rest = args;
  const take = (name: string, size: number) => {
    if (!rest[0]?.startsWith(`${name}=`)) return undefined;
    const bits = readBits(rest[0].slice(name.length + 1), size);
    if (bits === undefined) throw new VerbFailure(`failed to parse ${name}`, "EINVAL");
    rest = rest.slice(1);
    return bits;
  };
  const mark = take("mark", 32);
  const labels = take("labels", 128);
  return {
    rest,
    ...mark && { mark: { value: Number(mark.value), mask: Number(mark.mask) } },
    ...labels && { labels },
  };
}

/** Bits of `X` or `X/M`, of which the ones that count; undefined if they are none. */
function readBits(
  text: string,
  size: number,
): { readonly value: bigint; readonly mask: bigint } | undefined {
  const ones = (1n << BigInt(size)) - 1n;
  const [value, mask = ones, ...more] = text.split("/").map((word) =>
    /^(0x[0-9a-f]+|\d+)$/i.test(word) ? BigInt(word) : undefined
  );
  if (value === undefined || mask === undefined || more.length > 0) return undefined;
  return value > ones || mask > ones ? undefined : { value, mask };
}

/** The verb says a second time that no datapath could be opened. */
async function withOptionalDatapath(
  run: VerbRun,
  args: readonly string[],
  use: (dp: Datapath) => void,
): Promise<void> {
  let isOpen = false;
  try {
    await run.withDatapath(args, 5, (dp) => {
      isOpen = true;
      use(dp);
    });
  } catch (error) {
    if (isOpen || !(error instanceof VerbFailure)) throw error;
    run.complain(error.message, error.code);
    throw new VerbFailure("Cannot open dpif", error.code);
  }
}

function flush(
  run: VerbRun,
  dp: Datapath,
  what: {
    readonly zone: number | undefined;
    readonly match: TupleMatch;
    readonly mark?: { readonly value: number; readonly mask: number };
    readonly labels?: { readonly value: bigint; readonly mask: bigint };
  },
): void {
  const { zone, match, mark, labels } = what;
  const bits = { ...mark && { mark }, ...labels && { labels } };
  const inZone = zone === undefined ? {} : { zone };
  const hasBits = mark !== undefined || labels !== undefined;
  const message = "failed to flush conntrack";
  const { conntrack } = dp;
  if (conntrack === undefined) throw new VerbFailure(message, "EOPNOTSUPP");
  const { orig, reply, proto, family } = match;
  const asks = proto || family || Object.keys({ ...orig, ...reply }).length > 0;
  run.attempt(message, () => {
    if (!asks) return conntrack.flush({ ...inZone, ...bits });
    if (isFiveTuple(match) && !hasBits) {
      const tuple = { ...orig, proto: proto ?? 0 } as ConnTuple;
      return conntrack.flush({ zone: zone ?? 0, tuple });
    }
    conntrack.flush({ ...inZone, ...bits, ...filterOf(match) });
  });
}
