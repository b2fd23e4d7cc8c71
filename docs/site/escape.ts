// SPDX-License-Identifier: Apache-2.0
/**
 * Text in HTML.
 *
 * @module
 */

/** Text for HTML. */
export function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
