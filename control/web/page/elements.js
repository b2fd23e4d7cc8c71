// SPDX-License-Identifier: Apache-2.0
/**
 * Elements of the page, numbers as text, and questions to the server.
 *
 * Text goes into the page as text only: names of ports come from anybody who may make a device.
 * The server forbids the browser to make HTML of text (`require-trusted-types-for`).
 */

const SVG = "http://www.w3.org/2000/svg";

/** The element of an id. */
export function byId(id) {
  return document.getElementById(id);
}

function fill(element, attributes, content) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...content);
  return element;
}

/** Makes an element; functions among the attributes listen to events of their name. */
export function el(tag, attributes = {}, ...content) {
  return fill(document.createElement(tag), attributes, content);
}

/** Makes an element of a drawing. */
export function draw(tag, attributes = {}, ...content) {
  return fill(document.createElementNS(SVG, tag), attributes, content);
}

/** Sets the text of an element, if it is another one: nothing is laid out anew for nothing. */
export function setText(element, text) {
  const now = String(text);
  if (element.textContent !== now) element.textContent = now;
}

/** As `setText`, with places to break long lines at: behind commas. */
export function setCode(element, text) {
  const now = String(text);
  if (element.textContent === now) return;
  element.replaceChildren(...now.split(/(?<=,)/).flatMap((part) => [part, el("wbr")]));
}

/** Shows an element, or hides it. */
export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** `12,345`. */
export function count(number) {
  return whole.format(number);
}

/** `12.3 k`. */
export function short(number) {
  const units = ["", "k", "M", "G", "T", "P"];
  let unit = 0;
  let value = Number(number);
  while (Math.abs(value) >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = value === 0 || value >= 99.95 || (unit === 0 && Number.isInteger(value))
    ? 0
    : 1;
  return `${value.toFixed(digits)}${unit === 0 ? "" : ` ${units[unit]}`}`;
}

/** `1.5 Mbit/s` of bytes a second. */
export function bits(bytesPerSecond) {
  const text = short(bytesPerSecond * 8);
  return `${text}${text.includes(" ") ? "" : " "}bit/s`;
}

/** `12 s`, `3 min`; `never` for null. */
export function ago(seconds) {
  if (seconds === null) return "never";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

/** Rows of a table, one for each item: a row stays the same element while its item is there. */
export class Rows {
  #body;
  #rows = new Map();

  /** `heads`: `{ text, number, sort }` for each column. */
  constructor(table, heads, onSort) {
    const row = el("tr");
    for (const { text, number, sort } of heads) {
      const content = sort === undefined
        ? text
        : el("button", { type: "button", click: () => onSort(sort) }, text);
      row.append(
        el("th", { scope: "col", class: number && "num", "data-sort": sort }, content),
      );
    }
    this.#body = el("tbody");
    table.append(el("thead", {}, row), this.#body);
  }

  /** `cells(item)` gives for a new row its cells; `update(row, item)` what they show. */
  set(items, { key, cells, update }) {
    const focused = document.activeElement;
    const isOurs = this.#body.contains(focused);
    const rows = new Map();
    let at = this.#body.firstElementChild;
    for (const item of items) {
      const id = key(item);
      const row = this.#rows.get(id) ?? el("tr", {}, ...cells(item));
      update(row, item);
      rows.set(id, row);
      if (row === at) at = at.nextElementSibling;
      else this.#body.insertBefore(row, at);
    }
    for (const [id, row] of this.#rows) {
      if (rows.get(id) !== row) row.remove();
    }
    this.#rows = rows;
    // A row that moves or goes takes the focus away from who works with keys.
    if (isOurs && document.activeElement !== focused) {
      const next = focused.isConnected ? focused : this.#body.closest("[tabindex]");
      next?.focus({ preventScroll: true });
    }
  }
}

/** The server answers no parts further behind (`maxOffset` of query.ts). */
const maxOffset = 50_000;

/** Which part of a list is shown: buttons to the parts before and behind it. */
export class Pager {
  limit = 25;
  offset = 0;
  #before;
  #behind;
  #text;

  constructor(nav, onTurn) {
    const turn = (by) => {
      this.offset = Math.max(0, this.offset + by * this.limit);
      onTurn();
    };
    this.#before = el("button", { type: "button", click: () => turn(-1) }, "Previous");
    this.#behind = el("button", { type: "button", click: () => turn(1) }, "Next");
    this.#text = el("span", { role: "status" });
    nav.append(this.#before, this.#text, this.#behind);
  }

  /** How many there are, and how many of them are shown. */
  set(matched, shown) {
    const { offset, limit } = this;
    const focused = document.activeElement;
    this.#before.disabled = offset === 0;
    this.#behind.disabled = offset + shown >= matched || offset + limit > maxOffset;
    // At either end the other button is what is left to press.
    if (focused === this.#before && focused.disabled) this.#behind.focus();
    if (focused === this.#behind && focused.disabled) this.#before.focus();
    this.#text.parentElement.hidden = matched <= limit && offset === 0;
    setText(
      this.#text,
      shown === 0
        ? "none here"
        : `${count(offset + 1)} to ${count(offset + shown)} of ${count(matched)}`,
    );
  }
}

/** Asks the server; throws an `Error` with its reason. */
export async function ask(path, query = {}, options = {}) {
  const url = new URL(`api/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const response = await fetch(url, options);
  if (response.ok) return response;
  const text = await response.text();
  let reason = text.trim();
  try {
    reason = JSON.parse(text).error;
  } catch {
    // Not ours: a proxy's page, say.
  }
  throw new Error(reason || `status ${response.status}`);
}

/**
 * Looks at a list again and again while its part of the page can be seen: `look()` is run once at
 * the start, when `now()` is called, and every two seconds; ten times as long as it takes at least.
 */
export class Looker {
  #look;
  #visible = false;
  #timer = 0;
  #busy = false;
  #again = false;
  paused = false;

  constructor(section, look) {
    this.#look = look;
    new IntersectionObserver((entries) => {
      const visible = entries.at(-1).isIntersecting;
      if (visible && !this.#visible) this.now();
      this.#visible = visible;
    }).observe(section);
    this.now();
  }

  /** Looks at once. */
  async now() {
    clearTimeout(this.#timer);
    if (this.#busy) {
      this.#again = true;
      return;
    }
    this.#busy = true;
    const started = performance.now();
    try {
      await this.#look();
    } finally {
      this.#busy = false;
      this.#timer = setTimeout(() => this.#next(), 2000);
    }
    const took = performance.now() - started;
    if (this.#again) {
      this.#again = false;
      return this.now();
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#next(), Math.max(2000, 10 * took));
  }

  #next() {
    if (this.#visible && !this.paused && !document.hidden) this.now();
    else this.#timer = setTimeout(() => this.#next(), 1000);
  }
}
