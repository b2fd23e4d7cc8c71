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

  /** How well a part fits all words; 0: not. */
  function score({ title, page, text }, words) {
    let sum = 0;
    for (const word of words) {
      const heading = title.toLowerCase();
      if (heading === word) sum += 12;
      else if (heading.startsWith(word)) sum += 8;
      else if (heading.includes(word)) sum += 5;
      else if (page.toLowerCase().includes(word)) sum += 2;
      else if (text.toLowerCase().includes(word)) sum += 1;
      else return 0;
    }
    return sum;
  }

  /** The text around the first word. */
  function excerpt(text, words) {
    const at = Math.max(0, text.toLowerCase().indexOf(words[0]) - 40);
    return `${at > 0 ? "… " : ""}${text.slice(at, at + 130)}${
      text.length > at + 130 ? " …" : ""
    }`;
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
