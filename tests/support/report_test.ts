// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual } from "node:assert/strict";
import { tally } from "./report.ts";

const skipOf = (test: string) => ({
  test,
  origin: "file:///somewhere/tests/a_test.ts",
  requirement: "system",
  missing: "root",
} as const);

Deno.test("tally() counts steps instead of the test that has them", () => {
  const junit = `<testsuites><testsuite name="./tests/a_test.ts" tests="6">
    <testcase name="whole" line="1"></testcase>
    <testcase name="whole &gt; one"></testcase>
    <testcase name="whole &gt; two"></testcase>
    <testcase name="single"/>
  </testsuite></testsuites>`;
  deepStrictEqual(tally(junit, []), { passed: 3, failed: [], skipped: [] });
});

Deno.test("tally() counts a failed step once, and a test that failed after its steps", () => {
  const junit = `<testsuite name="tests/a_test.ts" tests="4">
    <testcase name="x"><failure message="m">at &lt;y&gt;</failure></testcase>
    <testcase name="x &gt; s"><failure message="m">m</failure></testcase>
    <testcase name="leaks"><failure message="leak">m</failure></testcase>
    <testcase name="leaks &gt; s"></testcase>
  </testsuite>`;
  deepStrictEqual(tally(junit, []), {
    passed: 1,
    failed: ["tests/a_test.ts: x > s", "tests/a_test.ts: leaks"],
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
  deepStrictEqual(tally(junit, [skipOf("needs root"), skipOf("x > s")]), {
    passed: 1,
    failed: [],
    skipped: [
      { test: "tests/a_test.ts: needs root", why: "no root" },
      { test: "tests/a_test.ts: x > s", why: "no root" },
      { test: "tests/a_test.ts: later", why: "ignored" },
    ],
  });
});
