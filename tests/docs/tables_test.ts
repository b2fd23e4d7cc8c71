// SPDX-License-Identifier: Apache-2.0
/** Tables of pages say what there is: no more, and no less. */
import assert from "node:assert/strict";
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import { pagesWithTables, tables, withTables } from "./tables.ts";
import { textOf } from "./pages.ts";

/** Without what the formatter may do. */
const plain = (text: string): string =>
  text.replaceAll(/ {2,}/g, " ").replaceAll(/-{3,}/g, "-");

Deno.test(
  "pages: tables of port types, options, settings and drops are what the library knows",
  skippable(async () => {
    {
      await using _ = await NetdevBench.open(); // Compiles the library, or skips.
    }
    const now = await tables();
    assert.equal(
      now.get("leftovers"),
      "",
      "tests/docs/tables.ts says something of no option",
    );
    let seen = 0;
    for (const page of pagesWithTables) {
      const text = textOf(page);
      seen += text.match(/^<!-- table: /gm)?.length ?? 0;
      assert.equal(
        plain(text),
        plain(withTables(text, now)),
        `${page} is old: deno run -A tests/docs/tables.ts && deno fmt docs`,
      );
    }
    assert.equal(seen, now.size - 1, "every table is in a page");
  }),
);
