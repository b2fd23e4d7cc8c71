// SPDX-License-Identifier: Apache-2.0
/**
 * Connections, meters, and the policy.
 */
import {
  ask,
  byId,
  count,
  el,
  Looker,
  Pager,
  Rows,
  setCode,
  setText,
  show,
} from "./elements.js";

/** Tells in a part of the page why it is empty; nothing hides it. */
function tell(id, text) {
  const element = byId(`${id}-empty`);
  setText(element, text);
  show(element, text !== "");
}

/** Connections. */
export class Connections {
  #filter = byId("connections-tools").elements.filter;
  #typing = 0;
  #pager = new Pager(byId("connections-pager"), () => this.looker.now());
  #rows = new Rows(byId("connections-table"), [
    { text: "Protocol" },
    { text: "Original direction" },
    { text: "Reply" },
    { text: "State" },
    { text: "Zone", number: true },
    { text: "Mark", number: true },
    { text: "Packets", number: true },
    { text: "Expires", number: true },
  ]);
  looker = new Looker(byId("connections"), () => this.#look());

  constructor() {
    const restart = () => {
      this.#pager.offset = 0;
      this.looker.now();
    };
    byId("connections-tools").addEventListener("submit", (event) => {
      event.preventDefault();
      restart();
    });
    this.#filter.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(restart, 250);
    });
  }

  async #look() {
    const { offset, limit } = this.#pager;
    let page;
    try {
      page =
        await (await ask("connections", { filter: this.#filter.value, offset, limit }))
          .json();
    } catch (error) {
      return tell("connections", `Connections cannot be shown: ${error.message}`);
    }
    const { supported, total, matched, rows } = page;
    show(byId("connections-tools"), supported && total > 0);
    show(byId("connections-table"), rows.length > 0);
    setText(byId("connections-count"), supported ? count(total) : "");
    const reason = !supported
      ? "This datapath does not track connections."
      : total === 0
      ? "None. The action ct(commit) makes them."
      : matched === 0
      ? "No connection fits the filter."
      : "";
    tell("connections", reason);
    this.#pager.set(matched, rows.length);
    this.#rows.set(rows, {
      key: ({ proto, orig, zone }) => `${proto} ${orig} ${zone}`,
      cells: ({ text }) =>
        ["", "code", "code", "", "num", "num", "num", "num"].map((kind) =>
          el("td", { class: kind, title: text })
        ),
      update: (row, one) => {
        const texts = [
          one.proto,
          one.orig,
          one.reply,
          one.state,
          one.zone,
          one.mark === 0 ? "" : `0x${one.mark.toString(16)}`,
          one.packets === null ? "" : count(one.packets),
          one.timeout === null ? "" : `${one.timeout} s`,
        ];
        texts.forEach((text, i) => setText(row.children[i], text));
      },
    });
  }
}

/** Meters. */
export class Meters {
  #rows = new Rows(byId("meters-table"), [
    { text: "Meter", number: true },
    { text: "Packets", number: true },
    { text: "Bytes", number: true },
    { text: "Dropped" },
  ]);
  looker = new Looker(byId("meters"), () => this.#look());

  async #look() {
    let list;
    try {
      list = await (await ask("meters")).json();
    } catch (error) {
      return tell("meters", `Meters cannot be shown: ${error.message}`);
    }
    const { supported, rows } = list;
    show(byId("meters-table"), rows.length > 0);
    const reason = supported ? "None is set." : "This datapath has no meters.";
    tell("meters", rows.length === 0 ? reason : "");
    this.#rows.set(rows, {
      key: ({ id }) => id,
      cells: () => ["num", "num", "num", ""].map((kind) => el("td", { class: kind })),
      update: (row, { id, packets, bytes, bands }) => {
        row.dataset.meter = id;
        const dropped = bands.map((band) => `${count(band.packets)} packets`).join(", ");
        [id, count(packets), count(bytes), dropped]
          .forEach((text, i) => setText(row.children[i], text));
      },
    });
  }
}

/** The policy that runs. */
export class Policy {
  #pager = new Pager(byId("policy-pager"), () => this.looker.now());
  #rows = new Rows(byId("policy-table"), [
    { text: "Packets", number: true },
    { text: "Megaflow" },
    { text: "Verdict" },
    { text: "Reason" },
    { text: "Rests on" },
    { text: "Teaches" },
  ]);
  looker = new Looker(byId("policy"), () => this.#look());

  async #look() {
    const { offset, limit } = this.#pager;
    let page;
    try {
      page = await (await ask("policy", { offset, limit })).json();
    } catch (error) {
      return tell("policy", `The policy cannot be shown: ${error.message}`);
    }
    const { running, stats, tables = [], total = 0, rows = [] } = page;
    setText(byId("policy-count"), running ? `${count(total)} megaflows` : "");
    show(byId("policy-table"), rows.length > 0);
    const idle =
      "No policy runs here. dpctl serve --policy FILE and runPolicy() run one.";
    tell("policy", !running ? idle : total === 0 ? "It has decided nothing yet." : "");
    this.#pager.set(total, rows.length);
    byId("policy-stats").replaceChildren(...running ? statsOf(stats) : []);
    showTables(tables);
    this.#rows.set(rows, {
      key: ({ id }) => id,
      cells: () =>
        ["num", "code", "code", "", "code", "code"].map((kind) =>
          el("td", { class: kind })
        ),
      update: (row, one) => {
        row.dataset.flow = one.id;
        setText(row.children[0], count(one.packets));
        const texts = [
          one.match,
          one.actions || "drop",
          [one.stage && `stage ${one.stage}`, one.reason].filter(Boolean).join(": "),
          one.dependencies.join("; "),
          one.effects.join("; "),
        ];
        texts.forEach((text, i) => setCode(row.children[i + 1], text));
      },
    });
  }
}

function statsOf(stats) {
  const pair = (name, value) => el("span", {}, el("b", {}, count(value)), ` ${name}`);
  const gone = Object.values(stats.gone).reduce((sum, one) => sum + one, 0);
  const failures = Object.entries(stats.failures).filter(([, times]) => times > 0);
  return [
    pair("upcalls", stats.upcalls),
    pair("flows set up", stats.setUps),
    pair("run again", stats.reruns),
    pair("kept", stats.kept),
    pair("modified", stats.modified),
    pair("gone", gone),
    pair(`masks`, stats.masks),
    ...Object.entries(stats.drops).map(([reason, times]) =>
      pair(`dropped: ${reason}`, times)
    ),
    ...failures.map(([name, times]) => pair(name.replaceAll("_", " "), times)),
  ];
}

/** Tables of the policy's state: each stays the same element, since it may be open and being read. */
function showTables(tables) {
  const state = byId("policy-state");
  while (state.childElementCount > tables.length) state.lastElementChild.remove();
  for (const [i, { name, size, entries }] of tables.entries()) {
    if (state.children[i] === undefined) {
      state.append(el("details", {}, el("summary"), el("pre")));
    }
    const [summary, content] = state.children[i].children;
    const lines = entries.map(([key, value]) => `${key} = ${value}`).join("\n");
    const more = size > entries.length
      ? `\n… and ${count(size - entries.length)} more`
      : "";
    setText(summary, `${name}: ${count(size)} ${size === 1 ? "entry" : "entries"}`);
    setText(content, `${lines}${more}` || "empty");
  }
}
