// SPDX-License-Identifier: Apache-2.0
/**
 * A page as those use it who have no mouse, or no good eyes: keys alone, and contrast by WCAG.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { BrowserPage } from "../support/browser.ts";
import contrast from "./contrast.js" with { type: "text" };

/** More stops than any page has. */
const maxStops = 1000;

const focused = "document.activeElement";

/** Asserts that all that a page shows can be told from what is behind it; in both schemes. */
export async function assertContrast(
  page: BrowserPage,
  { width = 1280, height = 900, least = 10 } = {},
): Promise<void> {
  await page.run(contrast);
  for (const dark of [true, false]) {
    await page.show({ width, height, dark });
    const { faults, compared } = await page.run<{ faults: string[]; compared: number }>(
      "wcag.page()",
    );
    const where = await page.run<string>("location.href");
    assert.deepEqual(faults, [], `${dark ? "dark" : "light"}: ${where}`);
    assert.ok(compared >= least, `${where}: only ${compared} colours`);
  }
}

/** Presses a key that does something to what has the focus. */
export function pressOn(page: BrowserPage, key: "Enter" | "Space"): Promise<void> {
  return key === "Enter"
    ? page.press("Enter", { text: "\r", code: 13 })
    : page.press(" ", { text: " ", code: 32 });
}

/** Types a text where the cursor is. */
export async function type(page: BrowserPage, text: string): Promise<void> {
  for (const key of text) await page.press(key, { text: key });
}

/** What is wrong with how the focus is shown, once the page had the time to show it. */
async function focusFaults(page: BrowserPage): Promise<string[]> {
  try {
    await page.until("the focus to be seen", "wcag.focus().length === 0");
    return [];
  } catch {
    return await page.run<string[]>("wcag.focus()");
  }
}

/**
 * Gives the focus to what Tab has been shown to reach; it must be seen there, too. What has it
 * already gets it anew, for a page that has another size now is not scrolled.
 */
export async function focusOn(page: BrowserPage, element: string): Promise<void> {
  await page.until(
    element,
    `(() => { const to = ${element}; to?.blur(); to?.focus(); ` +
      `return to && to === ${focused} })()`,
  );
  assert.deepEqual(await focusFaults(page), []);
}

/**
 * Walks by Tab over a page from its start to its end, and asserts that all that can be operated is
 * reached, and that each shows it. Gives the number of stops.
 */
export async function assertAllReached(page: BrowserPage): Promise<number> {
  await page.run(contrast);
  await page.run(`${focused}.blur(); globalThis.reached = new Set(); undefined`);
  const faults: string[] = [];
  let stops = 0;
  for (; stops < maxStops; stops++) {
    await page.press("Tab", { code: 9 });
    const isNew = await page.run<boolean>(
      `!reached.has(${focused}) && ${focused} !== document.body && ` +
        `(reached.add(${focused}), true)`,
    );
    if (!isNew) break;
    faults.push(...await focusFaults(page));
  }
  assert.deepEqual(faults, []);
  const missed = await page.run<string[]>(
    "[...document.querySelectorAll('a[href], button, input, summary, [tabindex=\"0\"]')]" +
      ".filter((one) => !one.disabled && !one.closest('.hidden') && " +
      "one.checkVisibility({ visibilityProperty: true }) && !reached.has(one))" +
      ".map((one) => one.outerHTML.slice(0, 100))",
  );
  assert.deepEqual(missed, [], "what Tab does not reach");
  return stops;
}
