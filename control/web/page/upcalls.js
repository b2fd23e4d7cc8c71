// SPDX-License-Identifier: Apache-2.0
/**
 * Upcalls as they come, newest first; each opens into its headers and bytes.
 */
import { byId, count, el, setText, show } from "./elements.js";

/** Upcalls that stay in the list. */
const KEPT = 200;

/** The part of the page that shows upcalls. */
export class Upcalls {
  #list = byId("upcalls-list");
  #count = 0;
  #shown = 0;

  /** Takes what came since the last time. */
  add({ count: came, shown }) {
    if (came === 0) return;
    this.#count += came;
    this.#shown += shown.length;
    const hidden = this.#count - this.#shown;
    setText(
      byId("upcalls-count"),
      `${count(this.#count)} since this page was opened` +
        (hidden > 0 ? `, ${count(hidden)} of them only counted` : ""),
    );
    show(byId("upcalls-empty"), false);
    for (const upcall of shown) this.#list.prepend(itemOf(upcall));
    while (this.#list.childElementCount > KEPT) {
      const oldest = this.#list.lastElementChild;
      if (oldest.contains(document.activeElement)) this.#list.focus();
      oldest.remove();
    }
  }
}

function itemOf({ atMs, kind, port, length, summary, headers, key, hex }) {
  const time = new Date(atMs).toLocaleTimeString("en-GB") +
    `.${String(atMs % 1000).padStart(3, "0")}`;
  const details = el(
    "details",
    {},
    el(
      "summary",
      {},
      el("span", { class: "soft" }, time),
      el("span", {}, kind),
      el("span", {}, port),
      el("span", {}, summary),
      el("span", { class: "soft" }, `${length} B`),
    ),
  );
  // Most are never opened.
  details.addEventListener("toggle", () => {
    details.append(
      el("pre", {}, headers),
      el("pre", {}, key),
      el("pre", { class: "hex" }, hex),
    );
  }, { once: true });
  return el("li", {}, details);
}
