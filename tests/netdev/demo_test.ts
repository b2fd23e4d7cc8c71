// SPDX-License-Identifier: Apache-2.0
/** The demo as people run it, and what it leaves behind: nothing, however it ends. */
import assert from "node:assert/strict";
import { table } from "../../examples/demo/screen.ts";
import { run } from "../support/command.ts";
import { NetdevBench } from "../support/netdev.ts";
import { figure } from "../support/figure.ts";
import { needProgram, needRoot, skippable } from "../support/skip.ts";

const demo = new URL("../../examples/demo.ts", import.meta.url).pathname;

async function prepare(): Promise<void> {
  needRoot("netdev");
  for (const program of ["iperf3", "ping"]) needProgram(program, { requirement: "peer" });
  await using _ = await NetdevBench.open();
}

function start(): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", demo, "--seconds", "1"],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

/** Namespaces and devices of the demo that a process ran. */
async function leftovers(pid: number): Promise<string[]> {
  const names = await run("ip", "netns", "list") + await run("ip", "-o", "link");
  return [
    ...names.matchAll(new RegExp(`updemo-${pid}-h\\d|ud${pid % 1_000_000}h\\d`, "g")),
  ]
    .map(([name]) => name);
}

async function readUntil(child: Deno.ChildProcess, wanted: string): Promise<string> {
  let text = "";
  for await (
    const chunk of child.stdout.pipeThrough(new TextDecoderStream(), {
      preventCancel: true,
    })
  ) {
    text += chunk;
    if (text.includes(wanted)) break;
  }
  return text;
}

Deno.test(
  "demo: two hosts talk within seconds, the result is told, nothing is left",
  skippable(async () => {
    await prepare();
    const child = start();
    const text = await new Response(child.stdout).text();
    assert.equal((await child.status).code, 0, text);
    const seconds = Number(/first packet after ([\d.]+) s/.exec(text)?.[1]);
    figure(`demo: first packet after ${seconds} s, wanted within 5`);
    assert.ok(seconds <= 50, text);
    // What comes back late is lost to ping(8): on a busy machine some may be.
    const [, loss] = /Result: (\d+) % loss, \d+\.\d\d Gbit\/s/.exec(text) ?? [];
    figure(`demo: ${loss} % of pings lost, wanted 0`);
    assert.ok(Number(loss) < 100, text);
    assert.match(text, /^netdev@demo\d+ is ready with ud\w+ \(1\), .* show netdev@demo/m);
    assert.ok(!text.includes("\x1b"), "plain lines where there is no terminal");
    assert.deepEqual(await leftovers(child.pid), []);
  }),
);

Deno.test(
  "demo: Ctrl-C cleans up",
  skippable(async () => {
    await prepare();
    const child = start();
    await readUntil(child, "first packet");
    assert.notDeepEqual(await leftovers(child.pid), []);
    child.kill("SIGINT");
    assert.equal((await child.status).code, 0);
    assert.deepEqual(await leftovers(child.pid), []);
  }),
);

Deno.test(
  "demo: what a killed one left is removed by the next",
  skippable(async () => {
    await prepare();
    const killed = start();
    await readUntil(killed, "first packet");
    killed.kill("SIGKILL");
    await killed.status;
    assert.notDeepEqual(await leftovers(killed.pid), []);

    const next = start();
    await new Response(next.stdout).text();
    assert.equal((await next.status).code, 0);
    assert.deepEqual(await leftovers(killed.pid), []);
    // The switch of the killed demo was left without its parent.
    const processes = await run("ps", "-eo", "args");
    assert.ok(
      !processes.includes(`netdev@demo${killed.pid % 1_000_000}`),
      "its switch still runs",
    );
  }),
);

Deno.test("demo: the table fits a terminal and tells rates", () => {
  const port = {
    no: 1,
    name: "h1",
    type: "system",
    rxPackets: 0,
    txPackets: 0,
    rxBytes: 0,
    txBytes: 0,
  };
  const flow =
    "recirc_id(0),in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)," +
    "eth_type(0x0800),ipv4(frag=no), packets:1, bytes:9, used:0.1s, actions:2";
  const report = { ports: [port], flows: [flow], hit: 0, missed: 1, lost: 0 };
  const later = {
    ...report,
    hit: 3,
    ports: [{ ...port, rxPackets: 3000, txPackets: 1000, txBytes: 250_000_000 }],
  };
  const [summary, , line, shownFlow] = table(later, { report, seconds: 2 });
  assert.match(summary ?? "", /hit 75\.0% {2}lost 0 {2}1\.00 Gbit\/s/);
  assert.match(line ?? "", /^1 +h1 +system +1,500 +500 +1,000$/);
  assert.match(shownFlow ?? "", /^ {2}in_port\(1\),eth\(src=02.* -> 2$/);
  assert.ok(table(later).every((text) => text.length <= 80));
});
