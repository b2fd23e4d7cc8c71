// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { emptyTally, excerpt, summary, tally, uncaughtErrors } from "./report.ts";

const skipOf = (test: string) => ({
  test,
  origin: "file:///somewhere/tests/a_test.ts",
  requirement: "system",
  missing: "root",
} as const);

Deno.test("tally() counts steps instead of the test that has them", () => {
  const junit = `<testsuites><testsuite name="./tests/a_test.ts" tests="6">
    <testcase name="whole" classname="c" time="1.500" line="1"></testcase>
    <testcase name="whole &gt; one" time="1.200"></testcase>
    <testcase name="whole &gt; two"></testcase>
    <testcase name="single &gt; one" time="0.25"/>
  </testsuite></testsuites>`;
  deepStrictEqual(tally(junit, []), {
    passed: 3,
    failed: [],
    skipped: [],
    times: [
      { test: "tests/a_test.ts: whole", seconds: 1.5 },
      { test: "tests/a_test.ts: single > one", seconds: 0.25 },
    ],
  });
});

Deno.test("tally() counts a failed step once, and a test that failed after its steps", () => {
  const junit = `<testsuite name="tests/a_test.ts" tests="4">
    <testcase name="x"><failure message="m">at &lt;y&gt;</failure></testcase>
    <testcase name="x &gt; s"><failure message="a
b">s is bad</failure></testcase>
    <testcase name="leaks"><failure message="leak">one
two &amp; &#51;</failure></testcase>
    <testcase name="leaks &gt; s"></testcase>
  </testsuite>`;
  const { times: _, ...sum } = tally(junit, []);
  deepStrictEqual(sum, {
    passed: 1,
    failed: [
      { test: "tests/a_test.ts: x > s", why: "s is bad" },
      { test: "tests/a_test.ts: leaks", why: "one\ntwo & 3" },
    ],
    skipped: [],
  });
});

Deno.test("tally() takes skips from the records and ignored tests from the report", () => {
  const junit = `<testsuite name="tests/a_test.ts" tests="4">
    <testcase name="needs root"></testcase>
    <testcase name="x"></testcase>
    <testcase name="x &gt; s"></testcase>
    <testcase name="later"><skipped/></testcase>
  </testsuite><testsuite name="tests/b_test.ts" tests="1">
    <testcase name="needs root"></testcase>
  </testsuite>`;
  const { times: _, ...sum } = tally(junit, [skipOf("needs root"), skipOf("x > s")]);
  deepStrictEqual(sum, {
    passed: 1,
    failed: [],
    skipped: [
      { test: "tests/a_test.ts: needs root", why: "no root" },
      { test: "tests/a_test.ts: x > s", why: "no root" },
      { test: "tests/a_test.ts: later", why: "ignored" },
    ],
  });
});

Deno.test("uncaughtErrors() finds what failed outside of every test", () => {
  const output = `running 1 test from ./tests/a_test.ts
x ... FAILED (1ms)
./tests/b_test.ts (uncaught error)

\x1b[41m ERRORS \x1b[0m

x => ./tests/a_test.ts:1:6
error: Error: in a test

and more of it

./tests/b_test.ts (uncaught error)
\x1b[31merror\x1b[0m: (in promise) Error: at load
    at file:///b_test.ts:3:7
This error was not caught from a test and caused the test runner to fail on the referenced module.
It most likely originated from a dangling promise, event/timeout handler or top-level code.

 FAILURES 

x => ./tests/a_test.ts:1:6
./tests/b_test.ts (uncaught error)
`;
  deepStrictEqual(uncaughtErrors(output), [{
    test: "tests/b_test.ts: outside of any test",
    why: "error: (in promise) Error: at load\n    at file:///b_test.ts:3:7",
  }]);
  deepStrictEqual(uncaughtErrors("ok | 3 passed (1s)\n"), []);
});

Deno.test("excerpt() keeps the start and the end of an error, and leaves noise out", () => {
  const text = `\x1b[31mError\x1b[0m: bad

    at file:///a.ts:1:1
    at innerWrapped (ext:cli/40_test.js:300:11)
    at node:internal/main:1:1
Caused by: worse`;
  const three = ["Error: bad", "    at file:///a.ts:1:1", "Caused by: worse"];
  deepStrictEqual(excerpt(text, 12), three);
  deepStrictEqual(excerpt("", 12), []);
  const many = Array.from({ length: 40 }, (_, i) => `line ${i}`).join("\n");
  const cut = excerpt(many, 12);
  strictEqual(cut.length, 12);
  deepStrictEqual(cut.slice(6), [
    "line 6",
    "…",
    ...[36, 37, 38, 39].map((i) => `line ${i}`),
  ]);
  deepStrictEqual(excerpt(many, 1), ["line 0"]);
  strictEqual(excerpt("x".repeat(5000), 1)[0]?.length, 200);
});

Deno.test("summary() ends with the causes and the figures, however many failed", () => {
  const one = {
    ...emptyTally(),
    passed: 2,
    failed: [{ test: "tests/a_test.ts: x", why: "Error: bad\n\n    at a.ts" }],
    skipped: [{ test: "tests/a_test.ts: y", why: "no root" }],
    times: Array.from({ length: 12 }, (_, i) => ({ test: `t${i}`, seconds: i })),
  };
  const lines = summary(one);
  deepStrictEqual(lines.slice(0, 4), [
    "",
    "slowest:",
    "    11.0 s  t11",
    "    10.0 s  t10",
  ]);
  deepStrictEqual(lines.slice(12), [
    "",
    "skipped, no root:",
    "  tests/a_test.ts: y",
    "",
    "failed:",
    "  tests/a_test.ts: x",
    "    Error: bad",
    "        at a.ts",
    "",
    "2 passed, 1 failed, 1 skipped",
  ]);
  const why = Array.from({ length: 100 }, (_, i) => `line ${i}`).join("\n");
  for (const count of [2, 8, 30]) {
    const failed = Array.from({ length: count }, (_, i) => ({ test: `t${i}`, why }));
    const after = summary({ ...one, failed });
    const shown = after.slice(after.indexOf("failed:"));
    strictEqual(
      shown.length <= 100,
      true,
      `${count} failures take ${shown.length} lines`,
    );
    deepStrictEqual(shown.slice(1, 3), ["  t0", "    line 0"]);
  }
});
