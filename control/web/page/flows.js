// SPDX-License-Identifier: Apache-2.0
/**
 * Flows: sorted, filtered and paged by the server; explained and captured one by one.
 */
import {
  ago,
  ask,
  byId,
  count,
  el,
  Looker,
  Pager,
  Rows,
  setCode,
  setText,
  short,
  show,
} from "./elements.js";

/** A filter is asked for when nobody has typed for so long, milliseconds. */
const TYPING = 250;
const CAPTURE = { count: 100, seconds: 10 };

/** The part of the page that shows flows. */
export class Flows {
  #sort = "packets";
  #order = "desc";
  #filter = byId("flows-tools").elements.filter;
  #typing = 0;
  #before = { atMs: 0, packets: new Map() };
  #captures = new Map();
  #pager = new Pager(byId("flows-pager"), () => this.looker.now());
  #rows = new Rows(byId("flows-table"), [
    { text: "Packets", number: true, sort: "packets" },
    { text: "/s", number: true },
    { text: "Bytes", number: true, sort: "bytes" },
    { text: "Last hit", number: true, sort: "used" },
    { text: "Match", sort: "port" },
    { text: "Actions" },
    { text: "" },
  ], (sort) => this.#sortBy(sort));
  looker = new Looker(byId("flows"), () => this.#look());

  constructor() {
    byId("flows-tools").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#restart();
    });
    this.#filter.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#restart(), TYPING);
    });
    this.#showOrder();
  }

  /** Puts the cursor into the filter. */
  focus() {
    this.#filter.focus();
  }

  #restart() {
    this.#pager.offset = 0;
    this.looker.now();
  }

  #sortBy(sort) {
    const isSame = this.#sort === sort;
    this.#order = isSame
      ? this.#order === "desc" ? "asc" : "desc"
      : sort === "port"
      ? "asc"
      : "desc";
    this.#sort = sort;
    this.#showOrder();
    this.#restart();
  }

  #showOrder() {
    for (const head of byId("flows-table").querySelectorAll("th[data-sort]")) {
      const isChosen = head.dataset.sort === this.#sort;
      const order = this.#order === "desc" ? "descending" : "ascending";
      head.setAttribute("aria-sort", isChosen ? order : "none");
    }
  }

  async #look() {
    const { offset, limit } = this.#pager;
    const filter = this.#filter.value;
    const empty = byId("flows-empty");
    let page;
    try {
      const query = { sort: this.#sort, order: this.#order, filter, offset, limit };
      page = await (await ask("flows", query)).json();
    } catch (error) {
      setText(empty, `Flows cannot be shown: ${error.message}`);
      show(empty, true);
      return;
    }
    const { total, matched, rows, filteredBy, reason } = page;
    if (rows.length === 0 && matched > 0) { // The last page has gone.
      this.#pager.offset = Math.floor((matched - 1) / limit) * limit;
      return void this.looker.now();
    }
    setText(
      byId("flows-count"),
      filter === "" ? count(total) : `${count(matched)} of ${count(total)}`,
    );
    setText(
      byId("flows-hint"),
      {
        nothing: "",
        fields: "by fields, as dump-flows filter=",
        text: reason === undefined ? "by text" : `by text: ${reason}`,
      }[filteredBy],
    );
    setText(
      empty,
      total === 0 ? "No flows: every packet is a miss." : "No flow fits the filter.",
    );
    show(empty, matched === 0);
    this.#pager.set(matched, rows.length);
    this.#show(rows);
  }

  #show(rows) {
    const nowMs = performance.now();
    const { atMs, packets: before } = this.#before;
    const seconds = (nowMs - atMs) / 1000;
    this.#rows.set(rows, {
      key: ({ id, match }) => id || match,
      cells: (flow) => this.#cells(flow),
      update: (row, flow) => {
        const { id, packets, bytes, used, match, actions } = flow;
        const then = before.get(id || match);
        const rate = then === undefined || packets < then
          ? ""
          : short((packets - then) / seconds);
        row.dataset.flow = id;
        [count(packets), rate, count(bytes), ago(used), match, actions || "drop"]
          .forEach((text, i) => (i < 4 ? setText : setCode)(row.children[i], text));
        row.children[5].classList.toggle("bad", actions === "" || actions === "drop");
      },
    });
    const packets = new Map(rows.map(({ id, match, packets }) => [id || match, packets]));
    this.#before = { atMs: nowMs, packets };
  }

  #cells({ id, match }) {
    const cell = (kind) => el("td", { class: kind });
    const cells = ["num", "num", "num", "num", "code", "code actions", "buttons"].map(
      cell,
    );
    if (id === "") return cells;
    const button = (text, what, click) =>
      el("button", { type: "button", "aria-label": `${what} ${match}`, click }, text);
    const capture = button(
      "Capture",
      "Capture packets of",
      () => this.#capture(id, capture),
    );
    const explain = button("Explain", "Explain", () => this.#explain(id));
    cells.at(-1).append(explain, capture);
    return cells;
  }

  async #explain(id) {
    const text = byId("explained-text");
    text.replaceChildren(el("p", { role: "status" }, "asking …"));
    byId("explained").showModal();
    try {
      const { flow, trace, policy } = await (await ask("flow", { id })).json();
      const part = (title, words) =>
        words ? [el("h3", {}, title), el("pre", {}, words)] : [];
      text.replaceChildren(
        ...part("The flow", flow),
        ...part("What becomes of its packets", trace),
        ...part("Why the policy made it", policy),
      );
    } catch (error) {
      text.replaceChildren(el("p", { class: "bad" }, error.message));
    }
  }

  /** Captures; pressed again it ends the capture, and what came is saved. */
  async #capture(id, button) {
    const running = this.#captures.get(id);
    if (running !== undefined) return running.abort();
    const abort = new AbortController();
    this.#captures.set(id, abort);
    button.setAttribute("aria-pressed", "true");
    const chunks = [];
    let size = 0;
    const tell = () => setText(button, `Stop (${short(size)} B)`);
    tell();
    let failure = "";
    try {
      const { signal } = abort;
      const response = await ask("capture", { id, ...CAPTURE }, {
        method: "POST",
        signal,
      });
      for await (const chunk of response.body) {
        chunks.push(chunk);
        size += chunk.length;
        tell();
      }
    } catch (error) {
      if (!abort.signal.aborted) failure = error.message;
    }
    this.#captures.delete(id);
    button.setAttribute("aria-pressed", "false");
    setText(button, "Capture");
    if (failure === "") save(wholeBlocks(chunks), `flow-${id.slice(0, 8)}.pcapng`);
    else setText(byId("flows-hint"), `The capture failed: ${failure}`);
  }
}

/** The blocks of a pcapng file that are whole: the last may have been cut. */
function wholeBlocks(chunks) {
  const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  const view = new DataView(bytes.buffer);
  let end = 0;
  while (end + 12 <= bytes.length) {
    const size = view.getUint32(end + 4, true);
    if (size < 12 || end + size > bytes.length) break;
    end += size;
  }
  return bytes.subarray(0, end);
}

function save(bytes, name) {
  const url = URL.createObjectURL(new Blob([bytes], { type: "application/x-pcapng" }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
