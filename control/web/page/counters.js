// SPDX-License-Identifier: Apache-2.0
/**
 * What the server tells every second: totals, ports, drops, poll threads.
 */
import { Chart, History, Spark } from "./chart.js";
import { bits, byId, count, draw, el, Rows, setText, short, show } from "./elements.js";

/** After a longer silence rates begin anew, milliseconds. */
const MAX_GAP = 10_000;

/** The part of the page that shows counters. */
export class Counters {
  #before;
  #tiles = new Map();
  #histories = new Map();
  #sparks = new Map();
  #chosen;
  #packets = new Chart(byId("chart-packets"), (rate) => `${short(rate)} /s`);
  #bits = new Chart(byId("chart-bits"), bits);
  #ports = new Rows(byId("ports-table"), [
    { text: "No.", number: true },
    { text: "Name" },
    { text: "Type" },
    { text: "Over time" },
    { text: "Received /s", number: true },
    { text: "Sent /s", number: true },
    { text: "Received", number: true },
    { text: "Sent", number: true },
    { text: "Bytes received", number: true },
    { text: "Bytes sent", number: true },
    { text: "Dropped", number: true },
  ]);
  #drops = new Rows(byId("drops-table"), [
    { text: "Reason" },
    { text: "Packets", number: true },
    { text: "/s", number: true },
    { text: "Share" },
  ]);
  #threads = new Map();
  #total = { packets: new History(), bytes: new History() };

  /** Takes what the server tells. */
  update(status) {
    const before = this.#before;
    const gap = before === undefined ? 0 : status.atMs - before.atMs;
    const seconds = gap > 0 && gap < MAX_GAP ? gap / 1000 : 0;
    const rate = (now, then) =>
      seconds > 0 && then !== undefined && now >= then ? (now - then) / seconds : 0;
    this.#before = status;
    setText(byId("name"), status.name);
    document.title = `${status.name} – Upcall`;
    this.#note(status, before, { rate, isFirst: seconds === 0 });
    this.#showTiles(status, before, rate);
    this.#showPorts(status);
    this.#showDrops(status, before, rate);
    this.#showThreads(status, before);
    setText(
      byId("foot"),
      `Upcall ${status.version}, ${new Date(status.timeMs).toLocaleTimeString()}`,
    );
  }

  #note(status, before, { rate, isFirst }) {
    const earlier = new Map(before?.ports.map((port) => [port.no, port]) ?? []);
    const sums = { rx: 0, tx: 0, rxBytes: 0, txBytes: 0 };
    const histories = new Map();
    for (const port of status.ports) {
      const then = earlier.get(port.no);
      const history = this.#histories.get(port.no) ??
        { packets: new History(), bytes: new History() };
      histories.set(port.no, history);
      if (isFirst) continue;
      const now = {
        rx: rate(port.rxPackets, then?.rxPackets),
        tx: rate(port.txPackets, then?.txPackets),
        rxBytes: rate(port.rxBytes, then?.rxBytes),
        txBytes: rate(port.txBytes, then?.txBytes),
      };
      history.packets.add(status.atMs, now.rx, now.tx);
      history.bytes.add(status.atMs, now.rxBytes, now.txBytes);
      for (const name of Object.keys(sums)) sums[name] += now[name];
    }
    this.#histories = histories; // Without the ports that have gone.
    if (isFirst) return;
    this.#total.packets.add(status.atMs, sums.rx, sums.tx);
    this.#total.bytes.add(status.atMs, sums.rxBytes, sums.txBytes);
  }

  #showTiles(status, before, rate) {
    const [packets] = this.#total.packets.last;
    const [bytes] = this.#total.bytes.last;
    const all = status.hit + status.missed;
    const tile = (name, value, note = "") => {
      let [dd, small, text] = this.#tiles.get(name) ?? [];
      if (dd === undefined) {
        text = el("span");
        small = el("small");
        dd = el("dd", { "data-tile": name }, text, small);
        this.#tiles.set(name, [dd, small, text]);
        byId("tiles").append(el("dl", { class: "tile" }, el("dt", {}, name), dd));
      }
      setText(text, value);
      setText(small, note);
    };
    tile("Received /s", short(packets), bits(bytes));
    tile(
      "Hits",
      short(status.hit),
      all === 0 ? "" : `${(100 * status.hit / all).toFixed(2)} %`,
    );
    tile(
      "Misses",
      short(status.missed),
      `${short(rate(status.missed, before?.missed))} /s`,
    );
    tile(
      "Lost upcalls",
      short(status.lost),
      `${short(rate(status.lost, before?.lost))} /s`,
    );
    tile(
      "Flows",
      count(status.flows),
      status.masks === undefined ? "" : `${short(status.masks)} masks`,
    );
    tile("Ports", count(status.portCount));
    if (status.connections !== undefined) tile("Connections", count(status.connections));
  }

  #showPorts(status) {
    const { ports, portCount } = status;
    setText(
      byId("ports-count"),
      ports.length < portCount
        ? `the first ${ports.length} of ${count(portCount)}`
        : `${portCount}`,
    );
    show(byId("ports-empty"), ports.length === 0);
    if (!this.#histories.has(this.#chosen)) this.#chosen = undefined;
    this.#ports.set(ports, {
      key: ({ no, name }) => `${no} ${name}`,
      cells: (port) => this.#portCells(port),
      update: (row, port) => this.#updatePort(row, port),
    });
    for (const no of this.#sparks.keys()) {
      if (!this.#histories.has(no)) this.#sparks.delete(no);
    }
    const chosen = this.#histories.get(this.#chosen) ?? this.#total;
    const of = ports.find(({ no }) => no === this.#chosen)?.name ?? "all ports";
    this.#packets.show(`Packets of ${of}`, chosen.packets);
    this.#bits.show(`Bits of ${of}`, chosen.bytes);
  }

  #portCells({ no, name, type }) {
    const spark = new Spark();
    this.#sparks.set(no, spark);
    const choose = () => {
      this.#chosen = this.#chosen === no ? undefined : no;
      if (this.#before !== undefined) this.#showPorts(this.#before);
    };
    const title = `Show only port ${name} in the drawings`;
    const button = el(
      "button",
      { type: "button", "aria-pressed": "false", title, click: choose },
      name,
    );
    const numbers = Array.from({ length: 7 }, () => el("td", { class: "num" }));
    return [
      el("td", { class: "num" }, `${no}`),
      el("th", { scope: "row" }, button),
      el("td", { class: "soft" }, type),
      el("td", {}, spark.element),
      ...numbers,
    ];
  }

  #updatePort(row, port) {
    const history = this.#histories.get(port.no);
    row.dataset.port = port.name;
    this.#sparks.get(port.no)?.show(history.packets);
    row.querySelector("button").setAttribute(
      "aria-pressed",
      `${this.#chosen === port.no}`,
    );
    const [rx, tx] = history.packets.last;
    const texts = [
      short(rx),
      short(tx),
      count(port.rxPackets),
      count(port.txPackets),
      count(port.rxBytes),
      count(port.txBytes),
      count(port.drops),
    ];
    texts.forEach((text, i) => setText(row.children[4 + i], text));
    row.children[10].classList.toggle("bad", port.drops > 0);
  }

  #showDrops({ drops }, before, rate) {
    const list = Object.entries(drops).map(([reason, packets]) => ({ reason, packets }))
      .sort((a, b) => b.packets - a.packets);
    const all = list.reduce((sum, { packets }) => sum + packets, 0);
    show(byId("drops-empty"), list.length === 0);
    show(byId("drops-table"), list.length > 0);
    this.#drops.set(list, {
      key: ({ reason }) => reason,
      cells: ({ reason }) => {
        const share = draw("svg", { class: "share", "aria-hidden": "true" });
        share.append(draw("rect", { height: "100%", rx: "3" }));
        return [
          el("th", { scope: "row" }, reason.replaceAll("_", " ")),
          el("td", { class: "num" }),
          el("td", { class: "num" }),
          el("td", {}, share),
        ];
      },
      update: (row, { reason, packets }) => {
        row.dataset.reason = reason;
        setText(row.children[1], count(packets));
        setText(row.children[2], short(rate(packets, before?.drops[reason] ?? 0)));
        row.querySelector("rect").setAttribute("width", `${100 * packets / all}%`);
      },
    });
  }

  #showThreads({ threads, has }, before) {
    show(byId("threads-empty"), !has.threads);
    const earlier = new Map(before?.threads.map((thread) => [thread.core, thread]) ?? []);
    for (const [core, { element }] of this.#threads) {
      if (threads.some((thread) => thread.core === core)) continue;
      element.remove();
      this.#threads.delete(core);
    }
    for (const thread of threads) {
      const made = this.#threads.get(thread.core) ?? this.#makeThread(thread.core);
      const then = earlier.get(thread.core);
      const parts = ["busy", "idle", "sleep"].map((name) => {
        const cycles = thread[name] - (then?.[name] ?? 0);
        return Math.max(0, cycles);
      });
      const sum = parts[0] + parts[1] + parts[2] || 1;
      let left = 0;
      parts.forEach((part, i) => {
        const share = 100 * part / sum;
        made.rects[i].setAttribute("x", `${left}%`);
        made.rects[i].setAttribute("width", `${share}%`);
        left += share;
      });
      ["busy", "idle", "asleep"].forEach((name, i) =>
        setText(made.texts[i], `${name} ${(100 * parts[i] / sum).toFixed(0)} %`)
      );
    }
  }

  #makeThread(core) {
    const rects = ["busy", "idle", "sleep"].map((name) =>
      draw("rect", { class: name, height: "100%" })
    );
    const texts = ["busy", "idle", "asleep"].map((name) => el("span", { class: name }));
    const element = el(
      "div",
      { class: "thread", "data-core": `${core}` },
      el("p", {}, el("b", {}, `Core ${core}`), el("span", { class: "shares" }, ...texts)),
      draw("svg", { class: "bar", "aria-hidden": "true" }, ...rects),
    );
    byId("threads-list").append(element);
    const made = { element, rects, texts };
    this.#threads.set(core, made);
    return made;
  }
}
