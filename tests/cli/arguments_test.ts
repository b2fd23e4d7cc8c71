// SPDX-License-Identifier: Apache-2.0
/**
 * Every verb of dpctl with arguments that are too many, missing, given twice, or nonsense, and
 * every file with a place that cannot be: a line that says what is wrong, perhaps one with what to
 * do, exit status 1, and nothing that only the system would say.
 */
import assert from "node:assert/strict";
import { dpctl } from "../../cli/dpctl.ts";
import { toolVerbs } from "../../cli/tool_verbs.ts";
import { serve } from "../../control/serve.ts";
import { verbs } from "../../control/verbs/verbs.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { runPolicy } from "../../policy/mod.ts";
import { openNetdev } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A datapath that is served, in a folder of its own, and a way to call dpctl there. */
interface Bench {
  readonly dp: Datapath;
  readonly folder: string;
  call(words: readonly string[]): Promise<Outcome>;
}

async function withBench(test: (bench: Bench) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "upcall-arguments-" });
  const before = Deno.env.get("UPCALL_RUNDIR");
  Deno.env.set("UPCALL_RUNDIR", folder);
  try {
    await using dp = await openNetdev(`arg${Deno.pid}`);
    for (const name of ["p1", "p2"]) await dp.ports.add({ name, type: "dummy" });
    await using _served = await serve(dp, { path: `${folder}/${dp.fullName}.ctl` });
    await test({ dp, folder, call });
  } finally {
    if (before === undefined) Deno.env.delete("UPCALL_RUNDIR");
    else Deno.env.set("UPCALL_RUNDIR", before);
    await Deno.remove(folder, { recursive: true });
  }
}

async function call(words: readonly string[]): Promise<Outcome> {
  let out = "";
  let err = "";
  const code = await dpctl(words, {
    print: (text) => out += text,
    complain: (text) => err += text,
    readText: (path) => Deno.readTextFile(path),
    signal: AbortSignal.timeout(0), // What should run on and on ends at once.
  });
  return { code, out, err };
}

/** Verbs of several interfaces or datapaths. */
const several = /^(?:(?:add|del|set)-if|show|add-dp) /;

/** What people are told of a wrong call. */
function assertTold({ code, err }: Outcome, line: string): void {
  assert.ok(code === 1 || code === 2, `${line}: status ${code}: ${err}`);
  // What is logged before something is found to be wrong begins with the time.
  const said = err.trimEnd().split("\n").filter((one) => !/^\d{4}-\d\d-\d\dT/.test(one));
  assert.match(said[0] ?? "", /^dpctl: \S.+\S$/, `${line}: ${err}`);
  for (const [i, one] of said.entries()) {
    // Of several interfaces each may be complained of.
    const isMore = several.test(line) && one.startsWith("dpctl: ");
    const isAdvice = i > 0 && said[i - 1]?.startsWith("dpctl: ") &&
      /^ {2}(reason|hint): \S|^Perhaps you need to specify a UFID\?$/.test(one);
    assert.ok(i === 0 || isMore || isAdvice, `${line}: ${err}`);
  }
  assert.doesNotMatch(err, /os error|\bat file:| {4}at |undefined|NaN|\[object/, line);
}

const flow = "in_port(1),eth(),eth_type(0x0806)";
const ufid = "ufid:01234567-89ab-4def-8123-456789abcdef";

/**
 * A right call of each verb: words behind it, `DP` for the datapath, `FILE` for one that can be
 * written; or what is right of it where nothing is (`undefined`): the datapath does not have it.
 */
const right: Readonly<Record<string, readonly string[]>> = {
  "add-dp": ["DP"],
  "del-dp": ["DP"],
  "add-if": ["DP", "p9,type=dummy,mtu=1500"],
  "del-if": ["DP", "p2"],
  "set-if": ["DP", "p1,mtu=1500"],
  "dump-dps": [],
  show: ["DP"],
  "dump-flows": ["DP", "filter=arp", "pmd=-1"],
  "add-flow": ["DP", flow, "2"],
  "mod-flow": ["DP", flow, "2"],
  "get-flow": ["DP", ufid],
  "del-flow": ["DP", flow],
  "add-flows": ["DP", "FILE"],
  "mod-flows": ["DP", "FILE"],
  "del-flows": ["DP", "FILE"],
  "offload-stats-show": ["DP"],
  "dump-conntrack": ["DP", "zone=5"],
  "dump-conntrack-exp": ["DP", "zone=5"],
  "flush-conntrack": ["DP", "zone=5", "mark=1/1", "ct_nw_src=10.0.0.1"],
  "cache-get-size": ["DP"],
  "cache-set-size": ["DP", "cache", "5"],
  "ct-stats-show": ["DP", "zone=5", "verbose"],
  "ct-bkts": ["DP", "gt=5"],
  "ct-set-maxconns": ["DP", "1000"],
  "ct-get-maxconns": ["DP"],
  "ct-get-nconns": ["DP"],
  "ct-enable-tcp-seq-chk": ["DP"],
  "ct-disable-tcp-seq-chk": ["DP"],
  "ct-get-tcp-seq-chk": ["DP"],
  "ct-set-limits": ["DP", "default=5", "zone=1,limit=5"],
  "ct-del-limits": ["DP", "zone=1"],
  "ct-get-limits": ["DP", "zone=1"],
  "ct-get-sweep-interval": ["DP"],
  "ct-set-sweep-interval": ["DP", "1000"],
  "ipf-set-enabled": ["DP", "v4"],
  "ipf-set-disabled": ["DP", "v4"],
  "ipf-set-min-frag": ["DP", "v4", "1200"],
  "ipf-set-max-nfrags": ["DP", "500"],
  "ipf-get-status": ["DP"],
  "add-meter": ["DP", "meter=1", "pktps", "bands=type=drop", "rate=5"],
  "mod-meter": ["DP", "meter=1", "pktps", "bands=type=drop", "rate=5"],
  "del-meters": ["DP", "meter=1"],
  "dump-meters": ["DP", "meter=1"],
  "meter-stats": ["DP", "meter=1"],
  "meter-features": ["DP"],
  help: ["show"],
  "list-commands": [],
  "parse-actions": ["2"],
  "normalize-actions": ["in_port(1),eth()", "2"],
  serve: ["netdev@arguments", "p1:dummy,mtu=1500", "--miss", "flood"],
  build: ["--output", "FILE"],
  doctor: ["--verbose"],
  top: ["DP", "--interval", "1", "--count", "1"],
  trace: ["DP", "in_port(1),eth()"],
  explain: ["DP", "in_port(1),eth()"],
  policy: ["show", "DP"],
  capture: ["DP", "FILE", "port=p1", "reason=miss", "count=1", "seconds=1"],
  "monitor-conntrack": ["DP", "zone=5", "kind=new", "count=1"],
  metrics: ["DP"],
  completions: ["bash"],
};

/** Verbs behind whose words more of any kind may stand. */
const openEnded: readonly string[] = ["help", "list-commands"];
/** Words that may be anything: frames, names of files. */
const free: readonly string[] = ["FILE", "netdev@arguments"];

/** Wrong calls that are made of a right one. */
function* wrongOf(name: string, words: readonly string[]): Generator<string[]> {
  if (!openEnded.includes(name)) {
    yield [...words, "nonsense"];
  }
  yield [...words, "--nonsense"];
  yield [...words, "--flows", "--interval", "--nonsense"];
  const foreign = name === "top" ? ["--output", "x"] : ["--interval", "1"];
  yield [...words, ...foreign];
  for (const [i, word] of words.entries()) {
    const replaced = (other: string): string[] => words.with(i, other);
    if (word.startsWith("--")) {
      if (words[i + 1] !== undefined) yield [...words, word, words[i + 1] as string];
      continue;
    }
    if (free.includes(word)) continue;
    for (const nonsense of ["nonsense", "", "1x"]) {
      const prefix = /^([a-z]+=)/.exec(word)?.[1] ?? "";
      // Nothing is a list of no actions, a flow of all packets, a tuple of all connections.
      const isPlace = word === "DP" || prefix !== "" && !word.startsWith("filter=");
      if (nonsense === "" && !isPlace) continue;
      yield replaced(prefix + nonsense);
    }
    if (/^[a-z]+=/.test(word)) yield [...words, word];
  }
}

Deno.test("there is a right call of every verb", () => {
  const names = [...verbs, ...toolVerbs].map(({ name }) => name);
  assert.deepEqual(Object.keys(right).sort(), names.sort());
});

Deno.test(
  "a call that is wrong in any way is told so in a line",
  skippable(() =>
    withBench(async ({ dp, folder, call }) => {
      const fill = (words: readonly string[]): string[] =>
        words.map((word) =>
          word.replace(/^DP$/, dp.fullName).replace(/^FILE$/, `${folder}/file`)
        );
      await using _policy = await runPolicy(dp, () => []);
      let count = 0;
      const wrongly: string[] = [];
      for (const [name, words] of Object.entries(right)) {
        await Deno.writeTextFile(`${folder}/file`, "");
        for (const wrong of wrongOf(name, words)) {
          const line = [name, ...wrong].join(" ");
          const outcome = await call([name, ...fill(wrong)]);
          count++;
          if (outcome.code === 0) wrongly.push(`${line}: status 0, ${outcome.out}`);
          else {
            try {
              assertTold(outcome, line);
            } catch (error) {
              wrongly.push((error as Error).message);
            }
          }
        }
      }
      assert.deepEqual(wrongly.slice(0, 60), []);
      assert.ok(count > 300, `${count} calls`);
    })
  ),
);

Deno.test(
  "a file that cannot be read or written is named, with the reason",
  skippable(() =>
    withBench(async ({ dp, folder, call }) => {
      await Deno.writeTextFile(
        `${folder}/policy.ts`,
        "export const policy = () => [];\n",
      );
      await Deno.writeTextFile(`${folder}/nonsense`, "\0nonsense\n");
      await Deno.writeTextFile(`${folder}/empty`, "");
      const serving = ["serve", `netdev@arf${Deno.pid}`, "p1:dummy"];
      const here = dp.fullName;
      const missing = `${folder}/nosuch/x`;
      const inFile = `${folder}/empty/x`;
      for (const path of [missing, folder, inFile, `${folder}/${"x".repeat(300)}`]) {
        for (
          const words of [
            [...serving, "--flows", path],
            [...serving, "--policy", path],
            [...serving, "--web", "127.0.0.1:0", "--web-token", path],
            [...serving, "--socket", path],
            ["capture", here, path, "seconds=1"],
            ["build", "--output", path],
            ["policy", "replay", path, "--policy", `${folder}/policy.ts`],
            ["policy", "replay", `${folder}/empty`, "--policy", path],
            ["add-flows", here, path],
            ["mod-flows", here, path],
            ["del-flows", here, path],
            ["--socket", path, "show"],
            ...(path === folder ? [] : [["doctor", "--sysroot", path]]),
          ]
        ) {
          const outcome = await call(words);
          assertTold(outcome, words.join(" "));
          assert.ok(outcome.err.includes(path), `${words.join(" ")}: ${outcome.err}`);
          if (path !== missing || words.includes("--policy")) continue;
          const told = /no such file or directory|nobody serves|no folder|not found/i;
          assert.match(outcome.err, told, words.join(" "));
        }
      }
      for (
        const words of [
          [...serving, "--flows", `${folder}/nonsense`],
          [...serving, "--policy", `${folder}/nonsense`],
          [...serving, "--web", "127.0.0.1:0", "--web-token", `${folder}/empty`],
          ["policy", "replay", `${folder}/nonsense`, "--policy", `${folder}/policy.ts`],
        ]
      ) {
        const { code, err } = await call(words);
        assert.equal(code, 1, words.join(" "));
        assert.match(err, /nonsense|empty/, words.join(" "));
        assert.doesNotMatch(err, /os error| {4}at /, words.join(" "));
      }
      assert.equal((await Deno.lstat(folder)).isDirectory, true);
    })
  ),
);
