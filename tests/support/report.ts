// SPDX-License-Identifier: Apache-2.0
/**
 * What came of a run of `deno test`: its JUnit report, less what `skippable()` skipped.
 *
 * @module
 */
import type { SkipRecord } from "./skip.ts";

/** A test, and why it failed or was skipped. */
export interface Reason {
  /** `file: test`, with `test > step` for a step. */
  readonly test: string;
  /** For a failure the text of its error, which may have many lines, or none. */
  readonly why: string;
}

/** What came of the tests of one or of several runs. */
export interface Tally {
  passed: number;
  failed: Reason[];
  skipped: Reason[];
  /** How long each test took, its steps included. */
  times: { readonly test: string; readonly seconds: number }[];
}

/** Nothing yet. */
export function emptyTally(): Tally {
  return { passed: 0, failed: [], skipped: [], times: [] };
}

/** Adds what `other` says to `tally`. */
export function addTally(tally: Tally, other: Tally): void {
  tally.passed += other.passed;
  tally.failed.push(...other.failed);
  tally.skipped.push(...other.skipped);
  tally.times.push(...other.times);
}

interface Case {
  readonly name: string;
  readonly result: "passed" | "failed" | "ignored";
  readonly failure: string;
  readonly seconds: number;
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
    const names = new Set(cases.map(({ name }) => name));
    for (const { name, result, failure, seconds } of cases) {
      const test = `${file}: ${name}`;
      const steps = cases.filter((step) => step.name.startsWith(`${name} > `));
      const why = missing.get(name) ?? (result === "ignored" ? "ignored" : undefined);
      if (result === "failed") {
        if (!steps.some((step) => step.result === "failed")) {
          sum.failed.push({ test, why: failure });
        }
      } else if (why !== undefined) sum.skipped.push({ test, why });
      else if (steps.length === 0) sum.passed++;
      // A name may contain what parts a test from its step: it is a step if the test is there.
      const [whole = ""] = name.split(" > ");
      if (whole === name || !names.has(whole)) sum.times.push({ test, seconds });
    }
  }
  return sum;
}

function* readJunit(text: string): Generator<{ file: string; cases: Case[] }> {
  const suites = text.matchAll(/<testsuite name="([^"]*)"[^>]*>([^]*?)<\/testsuite>/g);
  for (const [, file = "", body = ""] of suites) {
    const cases: Case[] = [];
    const elements = body.matchAll(
      /<testcase name="([^"]*)"([^>]*?)(?:\/>|>([^]*?)<\/testcase>)/g,
    );
    for (const [, name = "", attributes = "", inside = ""] of elements) {
      const result = /<(failure|error)\b/.test(inside)
        ? "failed"
        : /<skipped\b/.test(inside)
        ? "ignored"
        : "passed";
      const [, failure = ""] = /<(?:failure|error)\b[^>]*>([^]*?)<\//.exec(inside) ?? [];
      const [, seconds = "0"] = /\btime="([\d.]+)"/.exec(attributes) ?? [];
      cases.push({
        name: unescape(name),
        result,
        failure: unescape(failure),
        seconds: Number(seconds),
      });
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

/**
 * The errors in what `deno test` printed that belong to a file and to none of its tests:
 * thrown while it was loaded, or by what nobody awaited. The JUnit report is silent on them.
 */
export function uncaughtErrors(output: string): Reason[] {
  const [, errors = ""] = /\n ERRORS \n([^]*?)\n FAILURES \n/.exec(plain(output)) ?? [];
  return errors.split(/\n\n(?=.* \(uncaught error\)\n|.* => .*:\d+:\d+\n)/)
    .flatMap((block) => {
      const [head = "", ...lines] = block.trim().split("\n");
      const [, file] = /^(?:\.\/)?(.*) \(uncaught error\)$/.exec(head) ?? [];
      const why = lines.filter((line) =>
        !/^(This error was not caught|It most)/.test(line)
      );
      return file === undefined
        ? []
        : [{ test: `${file}: outside of any test`, why: why.join("\n") }];
    });
}

/**
 * The last lines of a run: the slowest tests, what was skipped, what failed and why, and alone
 * on the last line the figures. Errors are cut, so that even many of them stay on the last
 * screen of a log.
 */
export function summary({ passed, failed, skipped, times }: Tally): string[] {
  const lines: string[] = [];
  const slowest = times.toSorted((a, b) => b.seconds - a.seconds).slice(0, 10);
  if (slowest.length > 1) {
    lines.push("", "slowest:");
    for (const { test, seconds } of slowest) {
      lines.push(`  ${seconds.toFixed(1).padStart(6)} s  ${test}`);
    }
  }
  for (const [why, reasons] of Map.groupBy(skipped, (skip) => skip.why)) {
    lines.push("", `skipped, ${why}:`, ...reasons.map(({ test }) => `  ${test}`));
  }
  if (failed.length > 0) lines.push("", "failed:");
  const room = Math.max(1, Math.min(12, Math.floor(72 / failed.length)));
  for (const { test, why } of failed) {
    lines.push(`  ${test}`, ...excerpt(why, room).map((line) => `    ${line}`));
  }
  const figures = `${passed} passed, ${failed.length} failed, ${skipped.length} skipped`;
  return [...lines, "", figures];
}

/**
 * The start of an error's text, and its end where the cause often stands: `count` lines at most,
 * without colours, empty lines and what the runner adds to the stack.
 */
export function excerpt(text: string, count: number): string[] {
  const lines = plain(text).split("\n")
    .filter((line) => line.trim() !== "" && !/^\s+(at .*\b(ext|node):|\^$)/.test(line))
    .map((line) => line.length > 200 ? `${line.slice(0, 199)}…` : line);
  if (lines.length <= count) return lines;
  const last = Math.floor(count / 3);
  if (last === 0) return lines.slice(0, count);
  return [...lines.slice(0, count - last - 1), "…", ...lines.slice(-last)];
}

function plain(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/\x1b\[[\d;]*[A-Za-z]/g, "");
}
