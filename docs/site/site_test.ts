// SPDX-License-Identifier: Apache-2.0
/** The pages of the guide, as its contents have them. */
import assert from "node:assert/strict";
import { guidePages } from "./site.ts";

Deno.test("the guide is in the order of its contents, and none of its pages is missing there", () => {
  const root = new URL("../../", import.meta.url).pathname;
  const pages = guidePages(root);
  assert.deepEqual(pages.slice(0, 4), [
    "docs/README.md",
    "docs/first_switch.md",
    "docs/install.md",
    "docs/flows.md",
  ]);
  assert.equal(pages.at(-1), "docs/architecture.md");
});
