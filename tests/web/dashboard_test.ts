// SPDX-License-Identifier: Apache-2.0
/**
 * The dashboard in Chromium: it shows what the datapath says, with colours that can be told apart,
 * and keys alone operate it. `pictures.ts` takes the guide's pictures of it.
 */
import assert from "node:assert/strict";
import { type Dashboard, serveDashboard } from "../../control/web/dashboard.ts";
import type { Lab } from "../../testing/mod.ts";
import { run } from "../support/command.ts";
import { Browser, type BrowserPage } from "../support/browser.ts";
import { findProgram, skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";
import { assertAllReached, assertContrast, focusOn, pressOn, type } from "./keyboard.ts";
import { frameOf, openLearningLab, portNames } from "./switch.ts";

interface Shown {
  readonly lab: Lab;
  readonly page: BrowserPage;
  readonly browser: Browser;
  readonly dashboard: Dashboard;
}

async function withPage(
  test: (shown: Shown) => Promise<void>,
  { intervalMs = 50, height = 3000 } = {},
): Promise<void> {
  await using browser = await Browser.start();
  await using switching = await openLearningLab();
  const { lab } = switching;
  await using dashboard = serveDashboard(lab.dp, { port: 0, intervalMs });
  const page = await browser.open(dashboard.url, { width: 1280, height });
  await page.until("the page to be live", "document.body.textContent.includes('live')");
  try {
    await test({ lab, page, browser, dashboard });
    assert.deepEqual(page.complaints, []);
    const others = page.requests.filter((url) =>
      !url.startsWith(dashboard.url) && !url.startsWith(`blob:${dashboard.url}`)
    );
    assert.deepEqual(others, [], "nothing is fetched from elsewhere");
  } finally {
    await page.close();
  }
}

/** Two stations talk, and ask for names, so that there are flows, drops and upcalls. */
async function talk(lab: Lab, frames: number): Promise<void> {
  for (let i = 0; i < frames; i++) {
    await lab.inject("uplink", frameOf(1, 2));
    await lab.inject("web1", frameOf(2, 1));
    if (i % 3 === 0) await lab.inject("web2", frameOf(3, 1, { port: 53 }));
    if (i < 2) await lab.settle();
  }
  await lab.settle();
  for (const port of portNames) await lab.collect(port);
}

/** Texts of the cells of a table, a list for each row. */
const cells = (id: string): string =>
  `[...document.querySelectorAll('#${id}-table tbody tr')]` +
  ".map((row) => [...row.children].map((cell) => cell.innerText.trim()))";

const number = (text: string | undefined): bigint =>
  BigInt((text ?? "").replaceAll(",", ""));

Deno.test(
  "the page shows the datapath's ports, flows, drops, upcalls, threads and policy",
  skippable(() =>
    withPage(async ({ lab, page }) => {
      await talk(lab, 40);
      const { dp } = lab;
      await until("every counter to be the datapath's", async () => {
        const rows = await page.run<string[][]>(cells("ports"));
        return rows.length > 0 && [...dp.ports.dump()].every((port, i) => {
          const { rxPackets, txPackets, rxBytes, txBytes } = dp.ports.stats(port.no);
          const row = rows[i] ?? [];
          return row[0] === `${port.no}` && row[1] === port.name &&
            row[2] === port.type &&
            number(row[6]) === rxPackets && number(row[7]) === txPackets &&
            number(row[8]) === rxBytes && number(row[9]) === txBytes;
        });
      }, { state: () => "other numbers" });
      assert.equal((await page.run<string[][]>(cells("ports"))).length, 5);

      const flows = [...dp.flows.dump()];
      assert.ok(flows.length >= 3, `${flows.length} flows`);
      const packets = flows.map(({ stats }) => stats.packets).sort((a, b) =>
        Number(b - a)
      );
      // The page may still show what it fetched between two frames.
      const shown = await page.until<string[][]>(
        "the flows with the datapath's counts",
        `(() => { const rows = ${cells("flows")}; const counts = rows` +
          `.map(([count]) => count.replaceAll(",", "")).join(); ` +
          `return counts === "${packets.join()}" && rows })()`,
      );
      assert.ok(shown.some((row) => row[5] === "drop"));

      const { counters = {} } = dp.stats();
      const drops = await page.run<string[][]>(cells("drops"));
      const wanted = Object.entries(counters)
        .filter(([name, count]) => name.startsWith("drop_") && count > 0n);
      assert.ok(wanted.length > 0);
      assert.deepEqual(
        new Map(drops.map(([reason, count]) => [reason, number(count)])),
        new Map(
          wanted.map(([name, count]) => [name.slice(5).replaceAll("_", " "), count]),
        ),
      );

      assert.match(
        await page.run<string>("document.querySelector('#upcalls-list li').innerText"),
        /miss\s+\S+\s+02:00:00:00:00:0\d > 02:00:00:00:00:0\d, IPv4 10\.0\.0\.\d > /,
      );
      const cores = (dp.pollThreads?.dump() ?? []).map(({ core }) => `${core}`);
      assert.deepEqual(
        await page.run(
          "[...document.querySelectorAll('.thread')].map((one) => one.dataset.core)",
        ),
        cores,
      );
      assert.match(
        await page.run<string>("document.querySelector('.thread').innerText"),
        /busy \d+ %\s+idle \d+ %\s+asleep \d+ %/,
      );
      const policy = await page.until<string[][]>(
        "the megaflows",
        `(() => { const rows = ${cells("policy")}; ` +
          `return rows.length === ${flows.length} && rows })()`,
      );
      assert.ok(policy.some(([, , , reason]) => reason === "no DNS here"));
      assert.ok(
        policy.some((row) => row[5]?.includes("teaches stations[02:00:00:00:00:01]")),
      );
      assert.match(
        await page.run<string>("document.getElementById('policy-state').innerText"),
        /stations: 3 entries/,
      );
      await assertContrast(page, { least: 200 });
      await assertDrawn(page);
    })
  ),
);

async function assertDrawn(page: BrowserPage): Promise<void> {
  for (const dark of [false, true]) {
    await page.show({ width: 1280, height: 1560, dark });
    assert.ok((await page.photograph()).length > 20_000);
    const back = await page.run<string>(
      "getComputedStyle(document.body).backgroundColor",
    );
    assert.equal(back, dark ? "rgb(15, 20, 27)" : "rgb(244, 246, 249)");
  }
  await page.show({ width: 420, height: 3000, dark: false });
  const { wide, window: width } = await page.run<{ wide: number; window: number }>(
    "({ wide: document.documentElement.scrollWidth, window: innerWidth })",
  );
  assert.ok(wide <= width, `on a telephone the page is ${wide} wide, and not ${width}`);
}

Deno.test(
  "by keys alone everything is reached: flows are sorted, filtered, explained and captured",
  skippable(() =>
    withPage(async ({ lab, page, browser }) => {
      await talk(lab, 12);
      await fillPages(lab);
      const row = (text: string): string =>
        `[...document.querySelectorAll('#flows-table tbody tr')]` +
        `.find((row) => row.innerText.includes(${JSON.stringify(text)}))`;
      await page.until("the flows", row("in_port(web1)"));
      for (const id of ["flows", "connections", "policy"]) {
        await page.until(
          `pages of ${id}`,
          `!document.getElementById('${id}-pager').hidden`,
        );
      }
      await page.show({ width: 1280, height: 900, dark: true });
      const stops = await assertAllReached(page);
      assert.ok(stops > 70, `${stops} stops`);
      await page.show({ width: 1280, height: 900, dark: false });
      await operate(page);

      const column = `${cells("flows")}.map(([packets]) => packets)`;
      await focusOn(
        page,
        "document.querySelector('#flows-table [data-sort=packets] button')",
      );
      await pressOn(page, "Enter");
      const rising = await page.until<string[]>(
        "another order",
        `(() => { const list = ${column}.map((text) => Number(text.replaceAll(',', ''))); ` +
          "return list.every((n, i) => i === 0 || list[i - 1] <= n) && list })()",
      );
      assert.ok(rising.length >= 3);
      const order = "document.querySelector('#flows-table [data-sort=packets]').ariaSort";
      assert.equal(await page.run(order), "ascending");
      await pressOn(page, "Space");
      await page.until("the first order", `${order} === 'descending'`);

      const filter = async (text: string): Promise<void> => {
        const value = "document.querySelector('#flows-tools input').value";
        await page.run("document.activeElement.select()");
        await page.press("Delete", { code: 46 });
        await page.until("an empty filter", `${value} === ''`);
        await type(page, text);
        await page.until(text, `${value} === ${JSON.stringify(text)}`);
      };
      const count = "document.getElementById('flows-count').innerText";
      const total = [...lab.dp.flows.dump()].length;
      await page.press("/", { text: "/", code: 191 });
      const cursor =
        "document.activeElement === document.querySelector('#flows-tools input')";
      await page.until("the cursor in the filter", cursor);
      await filter("udp,tp_dst=53");
      await page.until("the filter by fields", `${count} === '1 of ${total}'`);
      await filter("(uplink)");
      await page.until("the filter by text", `/^\\d+ of ${total}$/.test(${count})`);
      await page.until(
        "its hint",
        "document.getElementById('flows-hint').innerText === 'by text'",
      );
      await filter("nothing like this");
      await page.until(
        "nothing",
        "document.getElementById('flows-empty').innerText === 'No flow fits the filter.'",
      );
      await filter("");
      await page.until("all flows", `${count} === '${total}'`);

      await page.until("the flow", `!!${row("udp")}`);
      const explain = `${row("udp")}.querySelector('button')`;
      await focusOn(page, explain);
      await pressOn(page, "Enter");
      const text = await page.until<string>(
        "the explanation",
        "document.getElementById('explained').open && " +
          "document.querySelectorAll('#explained pre').length === 3 && " +
          "document.getElementById('explained').innerText",
      );
      assert.match(text, /ufid:[0-9a-f-]{36}/);
      assert.match(text, /verdict: dropped/);
      assert.match(text, /verdict {2}drop \(no DNS here\)/);
      await assertContrast(page);
      await page.press("Escape", { code: 27 });
      await page.until("it to close", "!document.getElementById('explained').open");
      await page.until("the focus to be back", `document.activeElement === ${explain}`);

      await captured(page, browser, lab, row("udp"));
      // Lists that are out of sight are not asked for: all of them fit.
    }, { height: 8000 })
  ),
);

/** More flows, megaflows and connections than one page shows. */
async function fillPages(lab: Lab): Promise<void> {
  for (let i = 0; i < 30; i++) {
    await lab.inject("uplink", frameOf(0x40 + i, 2));
    // Established, so that it stays for hours.
    const sent = frameOf(1, 2, { source: 3000 + i });
    const answer = frameOf(2, 1, { source: 80, port: 3000 + i });
    for (const packet of [sent, answer, sent, answer]) {
      lab.dp.execute({ packet, key: "in_port(1)", actions: "ct(commit)" });
    }
  }
  await lab.settle();
}

/** Presses what the page has besides flows: pause, ports, pages, upcalls, connections, state. */
async function operate(page: BrowserPage): Promise<void> {
  const id = (name: string): string => `document.getElementById('${name}')`;
  await focusOn(page, "document.querySelector('.skip')");
  await pressOn(page, "Enter");
  await page.until("the content", `document.activeElement === ${id("content")}`);

  const port = "document.querySelector('#ports-table tr[data-port=web1] button')";
  await focusOn(page, port);
  await pressOn(page, "Space");
  await page.until("one port", `${id("chart-packets")}.innerText.includes('of web1')`);
  await page.press("p", { text: "p", code: 80 });
  await page.until("a pause", `${id("pause")}.ariaPressed === 'true'`);
  await assertContrast(page); // With buttons that are down.
  await page.press("p", { text: "p", code: 80 });
  await page.until("it to go on", `${id("live")}.innerText === 'live'`);
  await page.until("the port to have the focus", `document.activeElement === ${port}`);

  for (const list of ["flows", "connections", "policy"]) {
    const shown = `${id(`${list}-pager`)}.innerText`;
    const [before, behind] = ["first", "last"].map((which) =>
      `document.querySelector('#${list}-pager button:${which}-of-type')`
    );
    if (list === "connections") await typeFilter(page);
    if (list === "policy") {
      const state = "document.querySelector('#policy-state summary')";
      await focusOn(page, state);
      await pressOn(page, "Enter");
      await page.until("the state", `${state}.parentElement.open`);
    }
    await focusOn(page, `${behind}`);
    await pressOn(page, "Enter");
    await page.until(`the next page of ${list}`, `/26 to/.test(${shown})`);
    // It was the last page: the other button is what is left to press.
    await page.until("the other button", `document.activeElement === ${before}`);
    await pressOn(page, "Space");
    await page.until(`the first page of ${list}`, `/\\b1 to 25/.test(${shown})`);
    if (list !== "flows") continue;
    const upcall = "document.querySelector('#upcalls-list summary')";
    await focusOn(page, upcall);
    await pressOn(page, "Enter");
    await page.until("its bytes", `!!${upcall}.parentElement.querySelector('.hex')`);
  }
  await focusOn(page, "document.querySelector('nav a[href=\"#drops\"]')");
  await pressOn(page, "Enter");
  await page.until("the drops", "location.hash === '#drops'");
}

async function typeFilter(page: BrowserPage): Promise<void> {
  await focusOn(page, "document.querySelector('#connections-tools input')");
  await type(page, "sport=3017");
  const rows = `${cells("connections")}`;
  await page.until("one connection", `${rows}.length === 1`);
  await page.run("document.activeElement.select()");
  await page.press("Delete", { code: 46 });
  await page.until("all connections", `${rows}.length === 25`);
}

/** Captures a flow by a key while other packets come as well; the file has the flow's alone. */
async function captured(
  page: BrowserPage,
  browser: Browser,
  lab: Lab,
  row: string,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "upcall-download-" });
  await browser.call("Browser.setDownloadBehavior", {
    behavior: "allow",
    downloadPath: folder,
  });
  const button = `${row}.querySelectorAll('button')[1]`;
  await focusOn(page, button);
  await pressOn(page, "Space");
  // The file has begun: flows are marked.
  await page.until("the capture to begin", `/^Stop \\([1-9]/.test(${button}.innerText)`);
  const marked = (): boolean =>
    [...lab.dp.flows.dump()].some(({ actions }) => actions?.[0]?.type === "userspace");
  await until("the flow to be marked", marked);
  for (let i = 0; i < 7; i++) {
    await lab.inject("web2", frameOf(3, 1, { port: 53 }));
    await lab.inject("uplink", frameOf(1, 2));
    await lab.inject("uplink", frameOf(1, 0x50 + i)); // A miss.
  }
  await lab.settle();
  await page.until(
    "the packets",
    `Number.parseFloat(${button}.innerText.slice(6)) >= 1`,
  );
  await until("all of them", async () => {
    const label = await page.run<string>(`${button}.innerText`);
    return /k B/.test(label); // 7 packets with their comments are more than 1000 bytes.
  });
  // Rows have moved meanwhile, and the focus with them.
  await page.until("the focus to stay", `document.activeElement === ${button}`);
  await pressOn(page, "Space");
  await page.until("the capture to end", `${button}.innerText === 'Capture'`);
  await until("the flow to be as before", () => !marked());
  const path = await until("the file", async () => {
    for await (const { name } of Deno.readDir(folder)) {
      if (/^flow-[0-9a-f]{8}\.pcapng$/.test(name)) return `${folder}/${name}`;
    }
    return undefined;
  });
  const tshark = findProgram("tshark");
  if (tshark !== undefined) {
    const fields = ["-T", "fields", "-e", "eth.src", "-e", "udp.dstport"];
    const out = await run(tshark, "-r", path, ...fields);
    assert.equal(out, "02:00:00:00:00:03\t53\n".repeat(7));
  } else assert.ok((await Deno.stat(path)).size > 1000);
  await Deno.remove(folder, { recursive: true });
}
