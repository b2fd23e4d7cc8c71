// SPDX-License-Identifier: Apache-2.0
import { equal, match, ok } from "node:assert/strict";
import { endOf, failureOf } from "./report.ts";

const progress = Array.from(
  { length: 400 },
  (_, at) =>
    `#${at}\tNEW    cov: ${at} ft: 9 corp: 3/9b lim: 4 exec/s: 1 rss: 70Mb L: 9/9 MS: 1 InsertByte-\n\tNEW_FUNC[1/1]: 0x5614 in f${at} c/ct/ct.c:${at}`,
).join("\n");
const stack = Array.from(
  { length: 60 },
  (_, at) => `    #${at} 0x5614 in frame${at} ${"x".repeat(90)}`,
)
  .join("\n");

Deno.test("failureOf() begins with the first line of a failure", () => {
  const said =
    `INFO: Seed: 1\n${progress}\nstate 21, not 20\n==9== ERROR: deadly signal\n    #0 main\n`;
  equal(failureOf(said), "state 21, not 20\n==9== ERROR: deadly signal\n    #0 main");
});

Deno.test("failureOf() keeps the beginning and the end of a long failure", () => {
  const failure = failureOf(
    `${progress}\nct.c:9: assert\n${
      "more\n".repeat(900)
    }==9== ERROR\n${stack}\nstat::peak_rss_mb: 7\n`,
  );
  match(failure, /^ct\.c:9: assert\nmore\n/);
  match(failure, /\n\[…\]\n/);
  match(failure, /\nstat::peak_rss_mb: 7$/);
  ok(failure.length < 6500, `${failure.length}`);
});

Deno.test("failureOf() has nothing where nothing failed, and endOf() says who ended it", () => {
  equal(failureOf(`INFO: Seed: 1\n${progress}\n`), "");
  equal(endOf({ code: 143, signal: "SIGTERM" }), "it was ended by SIGTERM");
  equal(endOf({ code: 77, signal: null }), "it ended with 77");
});
