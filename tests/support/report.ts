// SPDX-License-Identifier: Apache-2.0
/**
 * What came of a run of `deno test`: its JUnit report, less what `skippable()` skipped.
 *
 * @module
 */
import type { SkipRecord } from "./skip.ts";

/** What came of the tests of one or of several runs. */
export interface Tally {
  passed: number;
  /** `file: test`, with `test > step` for a step. */
  failed: string[];
  skipped: { test: string; why: string }[];
}

/** Nothing yet. */
export function emptyTally(): Tally {
  return { passed: 0, failed: [], skipped: [] };
}

/** Adds what `other` says to `tally`. */
export function addTally(tally: Tally, other: Tally): void {
  tally.passed += other.passed;
  tally.failed.push(...other.failed);
  tally.skipped.push(...other.skipped);
}

interface Case {
  readonly name: string;
  readonly result: "passed" | "failed" | "ignored";
}

/**
 * Counts the tests of a report. A test with steps is not counted beside its steps, unless it
 * failed and none of them did, or was skipped itself.
 */
export function tally(junit: string, skips: readonly SkipRecord[]): Tally {
  const sum = emptyTally();
  for (const { file, cases } of readJunit(junit)) {
    const missing = new Map<string, string>();
    for (const skip of skips) {
      if (isSameFile(skip.origin, file)) missing.set(skip.test, `no ${skip.missing}`);
    }
    for (const { name, result } of cases) {
      const test = `${file}: ${name}`;
      const steps = cases.filter((step) => step.name.startsWith(`${name} > `));
      const why = missing.get(name) ?? (result === "ignored" ? "ignored" : undefined);
      if (result === "failed") {
        if (!steps.some((step) => step.result === "failed")) sum.failed.push(test);
      } else if (why !== undefined) sum.skipped.push({ test, why });
      else if (steps.length === 0) sum.passed++;
    }
  }
  return sum;
}

function* readJunit(text: string): Generator<{ file: string; cases: Case[] }> {
  const suites = text.matchAll(/<testsuite name="([^"]*)"[^>]*>([^]*?)<\/testsuite>/g);
  for (const [, file = "", body = ""] of suites) {
    const cases: Case[] = [];
    const elements = body.matchAll(
      /<testcase name="([^"]*)"[^>]*?(?:\/>|>([^]*?)<\/testcase>)/g,
    );
    for (const [, name = "", inside = ""] of elements) {
      const result = /<(failure|error)\b/.test(inside)
        ? "failed"
        : /<skipped\b/.test(inside)
        ? "ignored"
        : "passed";
      cases.push({ name: unescape(name), result });
    }
    yield { file: unescape(file).replace(/^\.\//, ""), cases };
  }
}

/** A report names files relative to the working directory, a skip by URL. */
function isSameFile(origin: string, file: string): boolean {
  return new URL(origin).pathname.endsWith(`/${file.replace(/^(\.\.?\/)+/, "")}`);
}

const entities: Readonly<Record<string, string>> = {
  "&lt;": "<",
  "&gt;": ">",
  "&quot;": '"',
  "&apos;": "'",
  "&amp;": "&",
};

function unescape(text: string): string {
  return text.replace(
    /&(?:lt|gt|quot|apos|amp);/g,
    (entity) => entities[entity] ?? entity,
  )
    .replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)));
}
