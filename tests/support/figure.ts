// SPDX-License-Identifier: Apache-2.0
/**
 * Figures that tests measure: printed, whatever becomes of the test.
 *
 * `deno test --quiet` swallows what tests that pass print, so that figures also go into the file
 * that `UPCALL_FIGURES` names, which `tests/support/run.ts` prints.
 *
 * @module
 */

/** Says a figure: what was measured, how much it is, and of what. */
export function figure(text: string): void {
  console.log(text);
  const path = Deno.env.get("UPCALL_FIGURES");
  if (path) Deno.writeTextFileSync(path, `${text}\n`, { append: true });
}
