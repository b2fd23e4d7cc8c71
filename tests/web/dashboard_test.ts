// SPDX-License-Identifier: Apache-2.0
/**
 * The dashboard in Chromium: what it shows is what the datapath says.
 *
 * `UPCALL_SCREENSHOTS=docs/pictures deno test -A tests/web/dashboard_test.ts` keeps the pictures.
 */
import assert from "node:assert/strict";
import { type Dashboard, serveDashboard } from "../../control/web/dashboard.ts";
import type { Lab } from "../../testing/mod.ts";
import { run } from "../support/command.ts";
import { Browser, type BrowserPage } from "../support/browser.ts";
import { findProgram, skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";
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
        /busy \d+ %, idle \d+ %, asleep \d+ %/,
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
      if (Deno.env.has("UPCALL_SCREENSHOTS")) await waves(lab);
      await keepPictures(page);
    })
  ),
);

/** Traffic that comes and goes, for the pictures. */
async function waves(lab: Lab): Promise<void> {
  for (let i = 0; i < 150; i++) {
    await talk(lab, Math.round(6 + 5 * Math.sin(i / 9) + 2 * Math.sin(i / 2)));
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

async function keepPictures(page: BrowserPage): Promise<void> {
  const folder = Deno.env.get("UPCALL_SCREENSHOTS");
  for (const dark of [false, true]) {
    await page.show({ width: 1280, height: 1560, dark });
    await page.until(
      "it to be drawn",
      "new Promise((done) => setTimeout(done, 400, true))",
    );
    const picture = await page.photograph();
    assert.ok(picture.length > 20_000);
    const back = await page.run<string>(
      "getComputedStyle(document.body).backgroundColor",
    );
    assert.equal(back, dark ? "rgb(15, 20, 27)" : "rgb(244, 246, 249)");
    if (folder) {
      await Deno.writeFile(`${folder}/dashboard-${dark ? "dark" : "light"}.png`, picture);
    }
  }
  await page.show({ width: 420, height: 3000, dark: false });
  const { wide, window: width } = await page.run<{ wide: number; window: number }>(
    "({ wide: document.documentElement.scrollWidth, window: innerWidth })",
  );
  assert.ok(wide <= width, `on a telephone the page is ${wide} wide, and not ${width}`);
}

Deno.test(
  "flows are sorted, filtered, explained and captured",
  skippable(() =>
    withPage(async ({ lab, page, browser }) => {
      await talk(lab, 12);
      const row = (text: string): string =>
        `[...document.querySelectorAll('#flows-table tbody tr')]` +
        `.find((row) => row.innerText.includes(${JSON.stringify(text)}))`;
      await page.until("the flows", row("in_port(web1)"));

      const sort = (name: string): Promise<void> =>
        page.run(
          `document.querySelector('#flows-table [data-sort=${name}] button').click()`,
        );
      const column = `${cells("flows")}.map(([packets]) => packets)`;
      await sort("packets");
      const rising = await page.until<string[]>(
        "another order",
        `(() => { const list = ${column}.map(Number); ` +
          "return list.every((n, i) => i === 0 || list[i - 1] <= n) && list })()",
      );
      assert.ok(rising.length >= 3);
      assert.equal(
        await page.run(
          "document.querySelector('#flows-table [data-sort=packets]').ariaSort",
        ),
        "ascending",
      );

      const filter = (text: string): Promise<void> =>
        page.run(
          "(() => { const field = document.querySelector('#flows-tools input'); " +
            `field.value = ${JSON.stringify(text)}; ` +
            "field.dispatchEvent(new Event('input')) })()",
        );
      const count = "document.getElementById('flows-count').innerText";
      const total = [...lab.dp.flows.dump()].length;
      await filter("udp,tp_dst=53");
      await page.until("the filter by fields", `${count} === '1 of ${total}'`);
      await filter("in_port(uplink)");
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

      await page.run(`${row("udp")}.querySelector('button').click()`);
      const text = await page.until<string>(
        "the explanation",
        "document.getElementById('explained').open && " +
          "document.querySelectorAll('#explained pre').length === 3 && " +
          "document.getElementById('explained').innerText",
      );
      assert.match(text, /ufid:[0-9a-f-]{36}/);
      assert.match(text, /verdict: dropped/);
      assert.match(text, /verdict {2}drop \(no DNS here\)/);
      await page.press("Escape", { code: 27 });
      await page.until("it to close", "!document.getElementById('explained').open");

      await captured(page, browser, lab, row("udp"));
    })
  ),
);

/** Captures a flow by a click while other packets come as well; the file has the flow's alone. */
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
  await page.run(`${button}.click()`);
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
  await page.run(`${button}.click()`);
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
