// SPDX-License-Identifier: Apache-2.0
/**
 * The search of the site: over the texts of `search_index.js`, in the browser alone. It works on
 * pages that were opened as files, too.
 */
"use strict";
(() => {
  const root = document.currentScript.dataset.root;
  const field = document.getElementById("search");
  const results = document.querySelector(".results");
  const [status, list] = results.children;
  const most = 20;

  /**
   * How well a part fits all words; 0: not. Of the API a name counts for less than a heading of the
   * guide, unless it is the very word: there are hundreds.
   */
  function score({ title, page, text }, words) {
    let sum = 0;
    const isApi = page === "API";
    for (const word of words) {
      const heading = title.toLowerCase();
      if (heading === word) sum += 12;
      else if (heading.startsWith(word)) sum += isApi ? 2 : 8;
      else if (heading.includes(word)) sum += isApi ? 1 : 5;
      else {
        // Text that comes back to a word is about it.
        const times = Math.min(4, text.toLowerCase().split(word).length - 1);
        const named = page.toLowerCase().includes(word) ? 2 : 0;
        if (times + named === 0) return 0;
        sum += Math.max(times, named);
      }
    }
    return sum;
  }

  /** The text around the first word, in whole words. */
  function excerpt(text, words) {
    const found = Math.max(0, text.toLowerCase().indexOf(words[0]) - 40);
    const at = found === 0 ? 0 : text.indexOf(" ", found) + 1;
    const end = at + 130 < text.length ? text.lastIndexOf(" ", at + 130) : text.length;
    return `${at > 0 ? "… " : ""}${text.slice(at, end)}${end < text.length ? " …" : ""}`;
  }

  function itemOf({ title, page, url, text }, words) {
    const link = document.createElement("a");
    link.href = root + url;
    const name = document.createElement("b");
    name.textContent = title;
    const where = document.createElement("small");
    where.textContent = page;
    const more = document.createElement("span");
    more.textContent = excerpt(text, words);
    link.append(name, " ", where, more);
    const item = document.createElement("li");
    item.append(link);
    return item;
  }

  function search() {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    results.hidden = words.length === 0;
    if (words.length === 0) return;
    const found = globalThis.searchIndex.map((part) => [score(part, words), part])
      .filter(([points]) => points > 0).sort(([a], [b]) => b - a);
    status.textContent = found.length === 0
      ? "Nothing found."
      : `${found.length} found${
        found.length > most ? `, the best ${most} are shown` : ""
      }`;
    list.replaceChildren(...found.slice(0, most).map(([, part]) => itemOf(part, words)));
  }

  field.addEventListener("input", search);
  field.form.addEventListener("submit", (event) => {
    event.preventDefault();
    list.querySelector("a")?.click();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== field) {
      event.preventDefault();
      field.focus();
    } else if (event.key === "Escape") {
      results.hidden = true;
      field.blur();
    } else if (
      !results.hidden && (event.key === "ArrowDown" || event.key === "ArrowUp")
    ) {
      const links = [...list.querySelectorAll("a")];
      const at = links.indexOf(document.activeElement) +
        (event.key === "ArrowDown" ? 1 : -1);
      event.preventDefault();
      (at < 0 ? field : links[Math.min(at, links.length - 1)])?.focus();
    }
  });
  document.addEventListener("click", ({ target }) => {
    if (!field.form.contains(target)) results.hidden = true;
  });
})();
