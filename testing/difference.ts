// SPDX-License-Identifier: Apache-2.0
/**
 * What two frames differ in, in words.
 *
 * @module
 */
import { type Layer, parse, summary } from "../frames/mod.ts";
import { fieldText } from "../frames/text.ts";

/** Frames that came and frames that were wanted are not the same. */
export class FramesError extends Error {
  /** Tells it from other errors. */
  override readonly name = "FramesError";
  /** What came. */
  readonly found: readonly Uint8Array[];
  /** What was wanted. */
  readonly wanted: readonly Uint8Array[];

  /** Made by {@linkcode assertFrames}. */
  constructor(
    message: string,
    found: readonly Uint8Array[],
    wanted: readonly Uint8Array[],
  ) {
    super(message);
    this.found = found;
    this.wanted = wanted;
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

type Fields = Readonly<Record<string, unknown>>;

function fieldLines(found: Layer, wanted: Layer): string[] {
  const [left, right] = [found, wanted] as unknown as [Fields, Fields];
  const names = new Set([...Object.keys(right), ...Object.keys(left)]);
  return [...names].flatMap((name) => {
    const [is, was] = [fieldText(left[name]), fieldText(right[name])];
    if (is === was) return [];
    const said = (value: unknown, text: string) => value === undefined ? "right" : text;
    return [
      `  ${found.type}.${name}: ${said(left[name], is)}, wanted ${
        said(right[name], was)
      }`,
    ];
  });
}

/** Rows of 16 bytes that differ, with a mark under each byte that does. */
function byteLines(found: Uint8Array, wanted: Uint8Array): string[] {
  const lines: string[] = [];
  const row = (bytes: Uint8Array, at: number) =>
    Array.from(bytes.subarray(at, at + 16), (byte) => byte.toString(16).padStart(2, "0"))
      .join(" ");
  for (let at = 0; at < Math.max(found.length, wanted.length); at += 16) {
    const [is, was] = [row(found, at), row(wanted, at)];
    if (is === was) continue;
    const marks = Array.from(
      { length: 16 },
      (_, i) => found[at + i] === wanted[at + i] ? "  " : "^^",
    ).join(" ").trimEnd();
    const offset = at.toString(16).padStart(4, "0").padEnd(6);
    lines.push(`  ${offset} ${is}`, `  wanted ${was}`.trimEnd(), `         ${marks}`);
  }
  return lines;
}

/**
 * What two frames differ in: fields by name where their headers are alike, and the bytes.
 * Undefined: nothing.
 */
export function frameDifference(
  found: Uint8Array,
  wanted: Uint8Array,
): string | undefined {
  if (isSame(found, wanted)) return undefined;
  const [is, was] = [parse(found).layers, parse(wanted).layers];
  const lines = [`  found:  ${summary(found)}`, `  wanted: ${summary(wanted)}`];
  const alike = is.length === was.length &&
    is.every(({ type }, i) => type === was[i]?.type);
  if (alike) {
    for (const [i, layer] of is.entries()) {
      lines.push(...fieldLines(layer, was[i] as Layer));
    }
  }
  if (found.length !== wanted.length) {
    lines.push(`  ${found.length} bytes, wanted ${wanted.length}`);
  }
  return [...lines, ...byteLines(found, wanted)].join("\n");
}

/**
 * Asserts that frames are those that were wanted, in order.  Throws {@linkcode FramesError}, which
 * says of the first that is not what it differs in.
 */
export function assertFrames(
  found: readonly Uint8Array[],
  wanted: readonly Uint8Array[],
  what = "frames",
): void {
  const count = Math.max(found.length, wanted.length);
  for (let i = 0; i < count; i++) {
    const [is, was] = [found[i], wanted[i]];
    const place = `${what}: ${i + 1} of ${count}`;
    const fail = (text: string): never => {
      throw new FramesError(text, found, wanted);
    };
    if (is === undefined) {
      fail(`${place} did not come\n  wanted: ${summary(was ?? new Uint8Array())}`);
    } else if (was === undefined) {
      fail(`${place} was not wanted\n  found:  ${summary(is)}`);
    } else {
      const difference = frameDifference(is, was);
      if (difference !== undefined) fail(`${place} is another\n${difference}`);
    }
  }
}
