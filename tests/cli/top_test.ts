// SPDX-License-Identifier: Apache-2.0
/**
 * `dpctl top` on a terminal that is not there: what a person would see.
 */
import assert from "node:assert/strict";
import { serve } from "../../control/serve.ts";
import xterm from "npm:@xterm/headless@5.5.0";
import { pageOf } from "../../cli/top/page.ts";
import { top } from "../../cli/top/top.ts";
import { parseCommandLine } from "../../control/options.ts";
import { arpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import { pause, until } from "../support/wait.ts";

Deno.test(
  "top draws its page on a terminal of 80 by 24, again and again, and gives the screen back",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [p1, p2] = await bench.ports("left", "right");
    dp.flows.put({
      key: `in_port(${p1}),eth(),eth_type(0x0806),arp()`,
      actions: `${p2}`,
    });
    const terminal = new xterm.Terminal({ cols: 80, rows: 24, allowProposedApi: true });
    const folder = await Deno.makeTempDir();
    const count = 10;
    try {
      await using served = await serve(dp, { path: `${folder}/dp.ctl` });
      let writing = Promise.resolve();
      const pages: string[] = [];
      const screen = (): string =>
        Array.from(
          { length: 24 },
          (_, row) => terminal.buffer.active.getLine(row)?.translateToString(true) ?? "",
        ).join("\n").trimEnd();
      let prints = 0;
      const print = (text: string): void => {
        // Between the first page and the second, the third …: whatever a page takes.
        if (++prints === 2) { for (let n = 0; n < 10; n++) bench.inject(p1, arpFrame()); }
        writing = writing.then(() =>
          new Promise<void>((resolve) =>
            terminal.write(text, () => {
              pages.push(screen());
              resolve();
            })
          )
        );
      };
      terminal.write("$ dpctl top\r\n");
      const line = parseCommandLine(
        ["top", "--socket", served.path, "--interval", "0.1", "--count", `${count}`],
      );
      const running = top(line, {
        print,
        complain: assert.fail,
        readText: () => Promise.reject(new Error("nothing is read")),
      }, () => ({ columns: 80, rows: 24 }));
      assert.equal(await running, 0);
      await writing;

      const drawn = pages.slice(1, 1 + count);
      assert.equal(drawn.length, count);
      for (const page of drawn) {
        assert.match(page, /^netdev@[\w-]+ hit\/s \d+ missed\/s 0 lost\/s 0 hit /);
        assert.match(page, /^1 +left +dummy +\d+ /m);
        assert.match(page, /^core \d+ +\[[#.]{20}\] +\d+\.\d% busy$/m);
        assert.match(page, /^ +\d+ {2}in_port\(1\),.*eth_type\(0x0806\).* -> \d+$/m);
        assert(!page.includes("$ dpctl top"), "the page has the screen for itself");
      }
      const rates = drawn.map((page) => Number(/hit\/s (\d+)/.exec(page)?.[1]));
      assert(
        rates.some((rate) => rate > 0) && rates.some((rate) => rate === 0),
        `${rates}`,
      );
      assert.equal(screen(), "$ dpctl top", "what was there before is there again");
      await bench.settle();
      bench.dp.ports.collect?.(p2);
    } finally {
      terminal.dispose();
      await Deno.remove(folder, { recursive: true });
    }
  }),
);

Deno.test(
  "top obeys keys: it explains itself, pauses, goes on, and ends",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    await bench.ports("left");
    const folder = await Deno.makeTempDir();
    try {
      await using served = await serve(bench.dp, { path: `${folder}/dp.ctl` });
      const pages: string[] = [];
      const pressed: string[] = [];
      const waiting: ((key: string) => void)[] = [];
      const press = (key: string): void => {
        const [next] = waiting.splice(0, 1);
        if (next === undefined) pressed.push(key);
        else next(key);
      };
      let isTaken = false;
      const keys = () => {
        isTaken = true;
        return {
          next: () =>
            new Promise<string>((resolve) => {
              const [key] = pressed.splice(0, 1);
              if (key === undefined) waiting.push(resolve);
              else resolve(key);
            }),
          [Symbol.dispose]: () => void (isTaken = false),
        };
      };
      const line = parseCommandLine([
        "top",
        "--socket",
        served.path,
        "--interval",
        "0.02",
      ]);
      const running = top(line, {
        print: (text) => void pages.push(text),
        keys,
        complain: assert.fail,
        readText: () => Promise.reject(new Error("nothing is read")),
      }, () => ({ columns: 60, rows: 24 }));
      const shown = (text: string) =>
        until(text, () => pages.at(-1)?.includes(text) === true);
      await shown("q ends   p pauses   h explains");
      press("h");
      await shown("packets that met a flow");
      press("?");
      await shown("PORT  NAME");
      press("p");
      await shown("goes on (paused)");
      const before = pages.length;
      await pause(200);
      assert.equal(pages.length, before, "nothing is drawn while it pauses");
      press(" ");
      await shown("p pauses");
      for (const page of pages.filter((text) => text.startsWith("\x1b[H"))) {
        // deno-lint-ignore no-control-regex -- what a terminal obeys
        const rows = page.replaceAll(/\x1b\[[A-Z]/g, "").split("\r\n");
        assert.equal(rows.length, 24);
        assert(rows.every((row) => row.length <= 60));
      }
      press("q");
      assert.equal(await running, 0);
      assert.equal(isTaken, false, "the keyboard is given back");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }),
);

Deno.test("top puts the flow that is busiest now before those that were", () => {
  const at = (atMs: number, packets: readonly [string, number][]) => ({
    ...{ name: "netdev@d", atMs, hit: 0, missed: 0, lost: 0, flows: 2 },
    ...{ ports: [], drops: {}, threads: [] },
    top: packets.map(([id, packets]) => ({ id, packets, bytes: 0, text: `flow ${id}` })),
  });
  const before = at(0, [["old", 1000], ["new", 10], ["slow", 500]]);
  const now = at(1000, [["old", 1000], ["slow", 502], ["new", 60]]);
  const page = pageOf(before, now, { columns: 80, rows: 24 });
  assert.deepEqual(
    page.filter((row) => row.includes("flow ")).map((row) => row.trim().split(/ +/)),
    [["50", "flow", "new"], ["2", "flow", "slow"], ["0", "flow", "old"]],
  );
});
