// SPDX-License-Identifier: Apache-2.0
/**
 * Rates over time as drawings: two lines, received and sent. Of the server's usual pace, a look a
 * second, they show two minutes.
 */
import { draw, el, setText } from "./elements.js";

/** Moments that are kept. */
export const LENGTH = 120;

/** The last moments of a pair of rates. */
export class History {
  received = new Float64Array(LENGTH);
  sent = new Float64Array(LENGTH);
  at = new Float64Array(LENGTH);
  count = 0;

  /** Adds a moment, `atMs` by the server's clock; the oldest goes when there is no room. */
  add(atMs, received, sent) {
    if (this.count === LENGTH) {
      for (const list of [this.received, this.sent, this.at]) list.copyWithin(0, 1);
      this.count--;
    }
    this.at[this.count] = atMs;
    this.received[this.count] = received;
    this.sent[this.count++] = sent;
  }

  /** How long so many moments are at the pace so far, in words; a second each at first. */
  span(moments) {
    const { at, count } = this;
    const step = count < 2 ? 1 : (at[count - 1] - at[0]) / (count - 1) / 1000;
    return `${Number((moments * step).toPrecision(2))} s`;
  }

  /** The latest of both. */
  get last() {
    return this.count === 0
      ? [0, 0]
      : [this.received[this.count - 1], this.sent[this.count - 1]];
  }

  /** The highest of both. */
  get top() {
    let top = 0;
    for (let i = 0; i < this.count; i++) {
      top = Math.max(top, this.received[i], this.sent[i]);
    }
    return top;
  }
}

/** The next 1, 2 or 5 times a power of ten. */
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}

function points(values, count, { width, height, top }) {
  const step = width / (LENGTH - 1);
  const start = width - (count - 1) * step;
  const list = [];
  for (let i = 0; i < count; i++) {
    const x = start + i * step;
    list.push(`${x.toFixed(1)},${(height - values[i] / top * height).toFixed(1)}`);
  }
  return list;
}

/** A drawing that is as wide as its figure. */
export class Chart {
  #svg;
  #grid = [];
  #area = draw("polygon", { class: "area" });
  #lines = [draw("polyline", { class: "line" }), draw("polyline", { class: "line tx" })];
  #keys = [el("span", { class: "key" }), el("span", { class: "key tx" })];
  #title = el("span");
  #text;

  /** `text` writes a rate. */
  constructor(figure, text) {
    this.#text = text;
    this.#svg = draw("svg", { role: "img", height: "150" });
    for (let i = 0; i < 3; i++) {
      const line = draw("line", { class: "grid" });
      const label = draw("text", { "text-anchor": "end" });
      this.#grid.push([line, label]);
      this.#svg.append(line, label);
    }
    this.#svg.append(this.#area, ...this.#lines);
    this.#svg.append(draw("text", { y: "147", x: "56", "data-end": "left" }));
    this.#svg.append(
      draw("text", { y: "147", "text-anchor": "end", "data-end": "right" }),
    );
    figure.append(el("figcaption", {}, this.#title, ...this.#keys), this.#svg);
  }

  /** Draws a history under a title. */
  show(title, history) {
    const svg = this.#svg;
    const [left, bottom, above] = [56, 130, 8];
    const width = Math.max(200, svg.parentElement.clientWidth);
    svg.setAttribute("viewBox", `0 0 ${width} 150`);
    const top = roundUp(history.top);
    this.#grid.forEach(([line, label], i) => {
      const y = above + (bottom - above) * i / 2;
      for (const [name, value] of Object.entries({ x1: left, x2: width, y1: y, y2: y })) {
        line.setAttribute(name, value);
      }
      label.setAttribute("x", left - 6);
      label.setAttribute("y", y + 4);
      setText(label, i === 2 ? "0" : this.#text(top * (2 - i) / 2));
    });
    const place = { width: width - left, height: bottom - above, top };
    const shift = `translate(${left} ${above})`;
    [history.received, history.sent].forEach((values, i) => {
      this.#lines[i].setAttribute("transform", shift);
      this.#lines[i].setAttribute(
        "points",
        points(values, history.count, place).join(" "),
      );
    });
    const under = points(history.received, history.count, place);
    if (under.length > 0) {
      const first = under[0].split(",")[0];
      under.push(`${place.width},${place.height}`, `${first},${place.height}`);
    }
    this.#area.setAttribute("transform", shift);
    this.#area.setAttribute("points", under.join(" "));
    setText(svg.querySelector("[data-end=left]"), `${history.span(LENGTH)} ago`);
    const now = svg.querySelector("[data-end=right]");
    now.setAttribute("x", width);
    setText(now, "now");
    const [received, sent] = history.last.map(this.#text);
    setText(this.#title, title);
    setText(this.#keys[0], `received ${received}`);
    setText(this.#keys[1], `sent ${sent}`);
    svg.setAttribute(
      "aria-label",
      `${title}: received ${received}, sent ${sent}; at most ${
        this.#text(history.top)
      } in ${history.span(history.count)}`,
    );
  }
}

/** A small drawing in a row of a table; the numbers beside it say the same. */
export class Spark {
  element = draw("svg", {
    class: "spark",
    viewBox: "0 0 120 26",
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  });
  #lines = [draw("polyline", { class: "line" }), draw("polyline", { class: "line tx" })];

  constructor() {
    this.element.append(...this.#lines);
  }

  /** Draws a history. */
  show(history) {
    const place = { width: 120, height: 24, top: roundUp(history.top) };
    [history.received, history.sent].forEach((values, i) => {
      this.#lines[i].setAttribute(
        "points",
        points(values, history.count, place).join(" "),
      );
    });
  }
}
