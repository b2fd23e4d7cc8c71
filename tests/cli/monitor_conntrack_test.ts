// SPDX-License-Identifier: Apache-2.0
/**
 * `dpctl monitor-conntrack`: what becomes of connections of a datapath that a program serves.
 */
import assert from "node:assert/strict";
import { dpctl } from "../../cli/dpctl.ts";
import { parseEventChoice } from "../../control/conntrack_events.ts";
import { serve } from "../../control/serve.ts";
import { udpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";

/**
 * Runs the tool beside a served datapath that tracks in zones 7 and 8; what it printed and its exit
 * status.
 */
async function monitored(
  words: readonly string[],
  act: (bench: NetdevBench, printed: () => string, stop: () => void) => Promise<void>,
): Promise<{ text: string; complaints: string; status: number }> {
  await using bench = await NetdevBench.open();
  const { dp } = bench;
  await bench.ports("left", "right");
  for (const port of [1, 2]) {
    dp.flows.put({
      key: `recirc_id(0),in_port(${port}),eth(),eth_type(0x0800),ipv4(frag=no)`,
      actions: `ct(commit,zone=7),ct(commit,zone=8),${3 - port}`,
    });
  }
  const folder = await Deno.makeTempDir();
  try {
    await using served = await serve(dp, { path: `${folder}/dp.ctl` });
    const stop = new AbortController();
    let text = "";
    let complaints = "";
    const tool = dpctl(["--socket", served.path, "monitor-conntrack", ...words], {
      print: (more) => void (text += more),
      complain: (more) => void (complaints += more),
      readText: () => Promise.reject(new Error("nothing is read")),
      signal: stop.signal,
    });
    await act(bench, () => text, () => stop.abort());
    const status = await tool;
    return { text, complaints, status };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Begins a connection and forgets it, again and again until something was printed. */
const makeAndForget = async (
  bench: NetdevBench,
  isSeen: () => boolean,
): Promise<void> => {
  await until("events to be printed", async () => {
    bench.inject(1, udpFrame());
    await bench.settle();
    bench.dp.conntrack?.flush();
    return isSeen();
  });
};

Deno.test(
  "monitor-conntrack prints events of a zone as they happen, and ends after its count",
  skippable(async () => {
    const { text, status, complaints } = await monitored(
      ["zone=7", "count=2"],
      (bench, printed) => makeAndForget(bench, () => printed().split("\n").length > 2),
    );
    assert.equal(complaints, "");
    assert.equal(status, 0);
    const kinds = text.split("\n").slice(0, -1).map((line) => line.slice(0, 10));
    assert.equal(kinds.length, 2, text);
    assert.deepEqual(kinds.sort(), ["    [NEW] ", "[DESTROY] "], text);
    assert.match(text, /^ {4}\[NEW\] udp,orig=\(src=.*\),reply=\(src=.*\),zone=7$/m);
  }),
);

Deno.test(
  "monitor-conntrack takes kinds and prints objects line by line, until it is told to end",
  skippable(async () => {
    const { text, status } = await monitored(
      ["--json", "kind=destroy"],
      async (bench, printed, stop) => {
        await makeAndForget(bench, () => printed().split("\n").length > 4);
        stop();
      },
    );
    assert.equal(status, 0);
    const events = text.trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual([...new Set(events.map(({ kind }) => kind))], ["destroy"]);
    const zones = new Set(events.map(({ connection }) => connection.zone));
    assert.deepEqual([...zones].sort(), [7, 8]);
  }),
);

Deno.test(
  "monitor-conntrack ends with its datapath, and so does the command when the reader leaves",
  skippable(async () => {
    const { text } = await monitored([], async (bench, printed) => {
      // Who begins to listen meanwhile sees the end of a connection first.
      await makeAndForget(bench, () => printed().includes("[NEW]"));
      await bench.dp.close();
    });
    assert.match(text, /\[NEW\]/);
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const folder = await Deno.makeTempDir();
    try {
      await using served = await serve(dp, { path: `${folder}/dp.ctl` });
      // More than may listen at once, one after the other: none that left is counted.
      for (let n = 0; n < 20; n++) {
        using listener = Deno.listen({ transport: "unix", path: `${folder}/pipe${n}` });
        const client = await Deno.connect({ transport: "unix", path: served.path });
        const params = JSON.stringify([`${folder}/pipe${n}`]);
        const request = `{"id":1,"method":"upcall/monitor-conntrack","params":${params}}`;
        await client.write(new TextEncoder().encode(request));
        const conn = await listener.accept();
        if (n % 2 === 0) {
          conn.close();
          const answer = new Uint8Array(1000);
          const size = await client.read(answer) ?? 0;
          const text = new TextDecoder().decode(answer.subarray(0, size));
          assert.equal(JSON.parse(text).error, null, text);
          client.close();
        } else {
          client.close();
          assert.equal(await conn.read(new Uint8Array(1)), null);
          conn.close();
        }
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }),
);

Deno.test("monitor-conntrack refuses words that it does not know", async () => {
  assert.deepEqual(parseEventChoice([]), { count: Infinity });
  assert.deepEqual(parseEventChoice(["kind=NEW,update", "zone=0", "count=3"]), {
    count: 3,
    zone: 0,
    kinds: ["new", "update"],
  });
  const refused: readonly (readonly [word: string, why: RegExp])[] = [
    ["zone=65536", /zone must be a number from 0 to 65535/],
    ["zone=x", /zone must be/],
    ["kind=news", /kind must be some of new,update,destroy/],
    ["count=0", /count must be a whole number above 0/],
    ["count=1.5", /count must be/],
    ["mark=1", /cannot use mark=1/],
  ];
  for (const [word, why] of refused) {
    assert.throws(() => parseEventChoice([word]), why);
    let complaints = "";
    const status = await dpctl(["monitor-conntrack", word], {
      print: () => {},
      complain: (text) => void (complaints += text),
      readText: () => Promise.reject(new Error("nothing is read")),
    });
    assert.equal(status, 1);
    assert.match(complaints, why);
    assert.match(complaints, /hint: usage: dpctl monitor-conntrack/);
  }
});
