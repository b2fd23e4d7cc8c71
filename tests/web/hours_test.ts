// SPDX-License-Identifier: Apache-2.0
/**
 * The dashboard for long: large tables, pauses, a datapath that goes, and hours without growth,
 * taken at a quicker pace.
 */
import assert from "node:assert/strict";
import { serveDashboard } from "../../control/web/dashboard.ts";
import type { FlowPage } from "../../control/web/flow_page.ts";
import { ct, output } from "../../mod.ts";
import { Browser } from "../support/browser.ts";
import { figure } from "../support/figure.ts";
import { openNetdev } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import { readTree } from "../support/tree.ts";
import { until } from "../support/wait.ts";
import { frameOf, openLearningLab } from "./switch.ts";

const FLOWS = 100_000;

Deno.test(
  "a hundred thousand flows are paged by the server, and nothing waits for it or grows",
  skippable(async () => {
    await using dp = await openNetdev(`web${crypto.randomUUID().slice(0, 8)}`);
    await using dashboard = serveDashboard(dp, { port: 0 });
    for (let i = 0; i < FLOWS; i += 1000) {
      const results = dp.operate(
        Array.from({ length: 1000 }, (_, j) => ({
          op: "put" as const,
          key: {
            inPort: 1,
            etherType: 0x0800,
            ethernet: { src: "02:00:00:00:00:01", dst: "02:00:00:00:00:02" },
            ipv4: {
              src: `10.${(i + j) >> 16}.${((i + j) >> 8) & 255}.${(i + j) & 255}`,
              dst: "10.0.0.1",
              proto: 1,
            },
          },
          actions: [output((i + j) % 7)],
        })),
      );
      assert.ok(
        results.every(({ ok }) => ok),
        JSON.stringify(results.find(({ ok }) => !ok)),
      );
    }
    // What a program would do meanwhile: how late does it come to its turn?
    let worst = 0;
    let last = performance.now();
    const beat = setInterval(() => {
      const now = performance.now();
      worst = Math.max(worst, now - last);
      last = now;
    }, 1);
    const get = async (query: string): Promise<FlowPage> =>
      await (await fetch(`${dashboard.url}api/flows?${query}`)).json();
    const first = await get("sort=port&limit=25");
    assert.equal(first.total, FLOWS);
    assert.equal(first.matched, FLOWS);
    assert.equal(first.rows.length, 25);
    const deep = await get(`limit=200&offset=${FLOWS / 2}`);
    assert.equal(deep.rows.length, 200);
    assert.equal((await get("filter=src%3D10.1.134.15&offset=100")).rows.length, 0);
    const one = await get("filter=ip,nw_src=10.1.134.159"); // The last.
    assert.deepEqual([one.matched, one.filteredBy], [1, "fields"]);
    assert.match(one.rows[0]?.match ?? "", /src=10\.1\.134\.159/);
    const hint = await get("filter=nw_src=10.1.134.159&limit=1");
    assert.deepEqual([hint.matched, hint.filteredBy], [0, "text"]);
    assert.match(hint.reason ?? "", /prerequisites not met for setting nw_src/);
    const byText = await get("filter=src%3D10.1.134.15&limit=5");
    assert.equal(byText.filteredBy, "text");
    assert.ok(byText.matched >= 10 && byText.matched <= 11, `${byText.matched}`);

    const before = Deno.memoryUsage().heapUsed;
    for (let i = 0; i < 3; i++) await get(`limit=25&offset=${25 * i}`);
    clearInterval(beat);
    const grown = (Deno.memoryUsage().heapUsed - before) / 2 ** 20;
    figure(
      `dashboard: a page of ${FLOWS} flows in ${first.tookMs} ms, by text ${byText.tookMs} ms; ` +
        `others waited ${worst.toFixed(0)} ms at most; ${
          grown.toFixed(0)
        } MiB after 3 pages`,
    );
    assert.ok(grown < 300, `${grown} MiB`);
    // More questions than are answered one after the other.
    const many = await Promise.all(
      Array.from({ length: 12 }, () => fetch(`${dashboard.url}api/flows?limit=1`)),
    );
    const statuses = new Set(many.map(({ status }) => status));
    await Promise.all(many.map((response) => response.body?.cancel()));
    assert.ok(statuses.has(200) && statuses.has(503), [...statuses].join());
  }),
);

Deno.test(
  "connections are listed, as the datapath has them",
  skippable(async () => {
    await using switching = await openLearningLab();
    const { lab } = switching;
    await using dashboard = serveDashboard(lab.dp, { port: 0 });
    await switching.run.close();
    lab.dp.flows.flush();
    lab.dp.flows.put({
      key: "in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)",
      actions: [ct({ commit: true }), output(2)],
    });
    for (let i = 0; i < 40; i++) {
      await lab.inject("uplink", frameOf(1, 2, { source: 2000 + i }));
    }
    await lab.settle();
    const connections = [...lab.dp.conntrack?.dump() ?? []];
    const get = async (query: string) =>
      await (await fetch(`${dashboard.url}api/connections?${query}`)).json();
    const page = await get("limit=10&offset=35");
    assert.deepEqual([page.total, page.matched, page.rows.length], [40, 40, 5]);
    assert.equal(connections.length, 40);
    const one = await get("filter=sport%3D2017");
    assert.equal(one.matched, 1);
    assert.equal(one.rows[0].orig, "10.0.0.1:2017 → 10.0.0.2:80");
    const status = await (await fetch(`${dashboard.url}api/status`)).json();
    assert.equal(status.connections, 40);
    const meters = await (await fetch(`${dashboard.url}api/meters`)).json();
    assert.equal(meters.supported, lab.dp.meters !== undefined);
  }),
);

/** What a page weighs in the browser, and what it holds open here. */
interface Weights {
  readonly nodes: number;
  readonly listeners: number;
  readonly documents: number;
  readonly heap: number;
  /** Descriptors of this process, which serves. */
  readonly descriptors: number;
  /** Heap of this process, bytes. */
  readonly served: number;
}

/** What a page is told every second: eight hours are so many. */
const eightHours = 8 * 3600;
/** How many of them a run takes: all of them with `UPCALL_TICKS=28800`. */
const ticks = Number(Deno.env.get("UPCALL_TICKS") ?? 1000);

/** Counts in the page how often it has been told. */
const counting = `{
  const Told = EventSource;
  globalThis.told = 0;
  globalThis.EventSource = class extends Told {
    constructor(...words) {
      super(...words);
      this.addEventListener("status", () => told++);
    }
  };
}`;

Deno.test(
  "a page that is open for long does not grow, pauses, and says when the datapath goes",
  skippable(async () => {
    await using browser = await Browser.start();
    await using switching = await openLearningLab();
    const { lab } = switching;
    await using dashboard = serveDashboard(lab.dp, { port: 0, intervalMs: 10 });
    const page = await browser.open(dashboard.url);
    await page.call("Performance.enable");
    await page.call("Page.enable");
    await page.call("Page.addScriptToEvaluateOnNewDocument", { source: counting });
    await page.call("Page.reload");
    let frames = 0;
    const flood = setInterval(() => {
      // Each is a miss of a new station: upcalls all the time.
      const at = frames++;
      lab.dp.ports.inject?.(1, frameOf(at % 200 + 1, 251));
      if (at % 500 === 0) lab.dp.flows.flush();
    }, 1);
    const pausePage = async (wanted: boolean): Promise<void> => {
      await page.press("p", { text: "p", code: 80 });
      const word = wanted ? "paused" : "live";
      const shown = `document.getElementById('live').innerText === '${word}'`;
      await page.until(`it to be ${word}`, shown);
      if (wanted) await until("the stream to end", () => dashboard.clients.now === 0);
    };
    // While nothing comes, so that what is weighed is what is kept, and no rubbish.
    const weigh = async (): Promise<Weights> => {
      await pausePage(true);
      const weights = await weighPaused();
      await pausePage(false);
      return weights;
    };
    const weighPaused = async (): Promise<Weights> => {
      for (let i = 0; i < 3; i++) await page.call("HeapProfiler.collectGarbage");
      const { metrics } = await page.call("Performance.getMetrics") as {
        metrics: readonly { name: string; value: number }[];
      };
      const of = (name: string): number =>
        metrics.find((metric) => metric.name === name)?.value ?? 0;
      return {
        nodes: of("Nodes"),
        listeners: of("JSEventListeners"),
        documents: of("Documents"),
        heap: of("JSHeapUsedSize"),
        descriptors: [...Deno.readDirSync("/proc/self/fd")].length,
        served: Deno.memoryUsage().heapUsed,
      };
    };
    try {
      const seen = "Number(document.getElementById('upcalls-count').innerText" +
        ".split(' ')[0].replaceAll(',', ''))";
      await page.until(
        "a full list",
        "document.querySelectorAll('#upcalls-list li').length === 200",
      );
      const told = (count: number): Promise<void> =>
        page.until(`${count} to be told`, `globalThis.told >= ${count}`, {
          limitMs: 900_000,
        });
      await told(300); // Drawings, which show the last minutes, are full too.
      const early = await weigh();
      const from = await page.run<number>("told");
      const upcalls = await page.run<number>(seen);
      await told(from + ticks);
      const late = await weigh();
      const share = (await page.run<number>("told") - from) / eightHours;
      assert.ok(await page.run<number>(seen) > upcalls, "upcalls still come");
      const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
      figure(
        `dashboard: told ${
          Math.round(share * eightHours)
        } times (8 hours are ${eightHours}): ` +
          `nodes ${early.nodes} then ${late.nodes}, ` +
          `listeners ${early.listeners} then ${late.listeners}, ` +
          `heap ${mib(early.heap)} then ${mib(late.heap)} MiB, ` +
          `descriptors ${early.descriptors} then ${late.descriptors}, ` +
          `server's heap ${mib(early.served)} then ${mib(late.served)} MiB`,
      );
      assert.ok(
        late.nodes < early.nodes * 1.5 + 500,
        `${early.nodes} nodes, then ${late.nodes}`,
      );
      assert.ok(late.listeners < early.listeners * 1.5 + 100, `${late.listeners}`);
      assert.equal(late.documents, early.documents);
      assert.ok(late.descriptors <= early.descriptors + 2, `${late.descriptors}`);
      // A page that was too slow was let go, and came back.
      await until("the one client", () => dashboard.clients.now === 1);
      // What a run keeps for good would be so much in eight hours.
      assert.ok(
        late.heap - early.heap < Math.max(2, 40 * share) * 2 ** 20,
        `${early.heap} bytes, then ${late.heap}`,
      );

      await pausePage(true);
      assert.equal(
        await page.run("document.getElementById('pause').ariaPressed"),
        "true",
      );
      await pausePage(false);
    } finally {
      clearInterval(flood);
    }
    await lab[Symbol.asyncDispose]();
    await page.until(
      "the end to be told",
      "document.getElementById('live').innerText === 'the datapath is no longer served'",
    );
    await page.close();
  }),
);

interface AxNode {
  readonly ignored: boolean;
  readonly role?: { readonly value: string };
  readonly name?: { readonly value: string };
}

Deno.test(
  "keys reach everything, and everything has a name for a screen reader",
  skippable(async () => {
    await using browser = await Browser.start();
    await using switching = await openLearningLab();
    const { lab } = switching;
    await using dashboard = serveDashboard(lab.dp, { port: 0, intervalMs: 50 });
    const page = await browser.open(dashboard.url, { height: 3000 });
    await page.until(
      "it to be live",
      "document.getElementById('live').innerText === 'live'",
    );
    await lab.inject("uplink", frameOf(1, 2), frameOf(1, 2, { port: 53 }));
    await page.until("a flow", "document.querySelector('#flows-table tbody button')");
    await page.until("an upcall", "document.querySelector('#upcalls-list summary')");
    const { nodes } = await page.call("Accessibility.getFullAXTree") as {
      nodes: readonly AxNode[];
    };
    const shown = nodes.filter(({ ignored }) => !ignored);
    const unnamed = shown.filter(({ role, name }) =>
      [
        "button",
        "link",
        "textbox",
        "searchbox",
        "table",
        "img",
        "image",
        "region",
        "navigation",
      ]
        .includes(role?.value ?? "") && !name?.value
    );
    assert.deepEqual(unnamed.map(({ role }) => role?.value), []);
    const roles = new Set(shown.map(({ role }) => role?.value));
    for (const role of ["main", "banner", "navigation", "table", "heading", "status"]) {
      assert.ok(roles.has(role), `${role} in ${[...roles]}`);
    }
    const charts = shown.filter(({ role }) =>
      role?.value === "image" || role?.value === "img"
    )
      .map(({ name }) => name?.value ?? "");
    assert.ok(
      charts.some((name) => /^Packets of all ports: received .* sent /.test(name)),
    );

    const visited = new Set<string>();
    for (let i = 0; i < 80; i++) {
      await page.press("Tab", { code: 9 });
      visited.add(
        await page.run<string>(
          "`${document.activeElement.tagName} ${document.activeElement.innerText || " +
            "document.activeElement.name || ''}`.trim()",
        ),
      );
    }
    for (
      const wanted of [
        "A Skip to the content",
        "BUTTON Pause",
        "BUTTON uplink",
        "INPUT filter",
      ]
        .concat(["BUTTON Packets", "BUTTON Explain", "BUTTON Capture"])
    ) assert.ok(visited.has(wanted), `${wanted} is not among ${[...visited].join("; ")}`);
    await page.run("document.activeElement.blur()");
    await page.press("/", { text: "/", code: 191 });
    assert.equal(await page.run("document.activeElement.name"), "filter");
    assert.equal(await page.run("document.activeElement.value"), "");
    assert.deepEqual(page.complaints, []);
    await page.close();
  }),
);

Deno.test("no script of the page makes HTML of text, or code", () => {
  const scripts = readTree((path) => /^control\/web\/page\/.*\.(js|html)$/.test(path));
  assert.ok(scripts.length >= 7);
  const bad =
    /innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|\son\w+="/;
  for (const { path, text } of scripts) assert.doesNotMatch(text, bad, path);
});
