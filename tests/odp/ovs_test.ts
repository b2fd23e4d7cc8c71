// SPDX-License-Identifier: Apache-2.0
// What we print, Open vSwitch reads and prints back unchanged.

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  encodeActions,
  formatActions,
  formatKey,
  parseActions,
  parseKey,
} from "../../providers/odp/mod.ts";
import { run, tryRun } from "../support/command.ts";
import { skippable, Unsupported } from "../support/skip.ts";
import { attributes, flow, tunnelFlow } from "./arbitrary.ts";
import { actions } from "./arbitrary_actions.ts";
import { startDummy } from "./ovs_dummy.ts";

const SEED = 20260101;
const FLOWS = 10_000;
const TUNNEL_FLOWS = 5_000;

Deno.test(
  "ovs-vswitchd reads random flows and prints them unchanged",
  skippable(async () => {
    await using dummy = await startDummy();
    const flows = [
      ...fc.sample(flow, { seed: SEED, numRuns: FLOWS }),
      ...fc.sample(tunnelFlow, { seed: SEED, numRuns: TUNNEL_FLOWS }),
    ];
    const lists = fc.sample(actions, { seed: SEED, numRuns: FLOWS });
    const file = await Deno.makeTempFile({ prefix: "upcall-flows-" });
    try {
      for (let from = 0; from < flows.length; from += 2500) {
        const batch = flows.slice(from, from + 2500).map(({ key, mask }, i) => {
          // The id keeps flows apart, whatever else they match.
          const recircId = from + i + 1;
          const text = formatKey({ key: { ...key, recircId }, mask });
          // Fields without mask bits must be there all the same, which only -m shows.
          const full = formatKey({ key: { ...key, recircId }, mask }, { verbose: true });
          // Actions that a datapath checks are left out: the tool's text is judged below.
          const simple = (lists[from + i] ?? []).filter(({ type }) => type === "output");
          return { recircId, text, full, actions: formatActions(simple) };
        });
        const lines = batch.map(({ full, actions }) => `add ${full} ${actions}`);
        await Deno.writeTextFile(file, lines.join("\n") + "\n");
        await dummy.call("dpctl/add-flows", "dummy@ovs-dummy", file);
        const dump = await dummy.call("dpctl/dump-flows", "dummy@ovs-dummy");
        const dumped = new Map<number, string>();
        for (const line of dump.split("\n")) {
          const id = /recirc_id\((0x[0-9a-f]+|0)\)/.exec(line)?.[1];
          if (id !== undefined) dumped.set(Number(id), line);
        }
        for (const { recircId, text, actions } of batch) {
          const line = dumped.get(recircId);
          assert.ok(line !== undefined, `not in the dump: ${text}`);
          const [key = "", shown] = line.split(/, packets:.*actions:/);
          const theirs = attributes(key).filter((part) =>
            !part.startsWith("packet_type(")
          );
          assert.deepEqual(theirs, attributes(text));
          assert.equal(shown, actions);
          // What they print reads back as what they have.
          const parsed = parseKey(key);
          assert.deepEqual(attributes(formatKey(parsed)), attributes(key));
        }
        await dummy.call("dpctl/del-flows", "dummy@ovs-dummy");
      }
    } finally {
      await Deno.remove(file);
    }
  }),
);

Deno.test(
  "ovs-dpctl reads random actions and prints them unchanged",
  skippable(async () => {
    const { code } = await tryRun("ovs-dpctl", "--version").catch(() => ({ code: 1 }));
    if (code !== 0) throw new Unsupported("program ovs-dpctl", { requirement: "peer" });
    const lists = fc.sample(actions, { seed: SEED, numRuns: FLOWS });
    for (let from = 0; from < FLOWS; from += 500) {
      const batch = lists.slice(from, from + 500);
      const texts = batch.map((list) => formatActions(list));
      // recirc() is printed in hex but read in decimal (3.1): say it as it is read.
      const readable = texts.map((text) =>
        text.replaceAll(/recirc\((0x[0-9a-f]+)\)/g, (_, id) => `recirc(${Number(id)})`)
      );
      const output = await run("ovs-dpctl", "parse-actions", ...readable);
      assert.deepEqual(output.trimEnd().split("\n"), texts);
      for (const [i, text] of texts.entries()) {
        const parsed = parseActions(text);
        assert.deepEqual(encodeActions(parsed), encodeActions(batch[i] ?? []), text);
      }
    }
  }),
);
