// SPDX-License-Identifier: Apache-2.0
/**
 * The oracle at length: 1,000,000 packets with 64 mutants each for every one of five policies if
 * nothing else is said. It takes hours, so that it may be ended at any time and goes on where it
 * was: what was checked is a line in a file.
 *
 *     deno task policy:oracle [--packets N] [--mutants N] [--seed N] [--jobs N] [--log FILE] [POLICY…]
 *
 * What was checked of other sources counts for nothing: each line has a hash of them. Work comes in
 * slices of 10,000 packets, each with state of its own in a Worker of its own, so that a slice is
 * the same whatever ran before it. Ends with status 1 at the first counterexample.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { readTree } from "../support/tree.ts";
import { type Checked, policies, type Slice } from "./oracle_policies.ts";

/** Packets of a slice: many, for code to be compiled; few, for what is learned to stay small. */
const SLICE = 10_000;

const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    packets: { type: "string", default: "1000000" },
    mutants: { type: "string", default: "64" },
    seed: { type: "string", default: "1" },
    jobs: { type: "string", default: `${navigator.hardwareConcurrency}` },
    log: { type: "string", default: "policy_oracle.log" },
  },
});
const [packets, mutants, seed, jobs] = [
  values.packets,
  values.mutants,
  values.seed,
  values.jobs,
].map(Number) as [number, number, number, number];
const names = positionals.length > 0 ? positionals : Object.keys(policies);
for (const name of names) {
  if (name in policies) continue;
  console.error(`no policy ${name}: there are ${Object.keys(policies).join(", ")}`);
  Deno.exit(2);
}

/** What a slice is, as text: equal for equal work. */
const nameOf = ({ policy, runs, seed, mutants }: Slice): string =>
  `${policy} ${runs} ${mutants} ${seed}`;

/** A hash of all that a slice rests on. */
async function hashOfSources(): Promise<string> {
  const texts = readTree((path) =>
    /^policy\/.*(?<!_test)\.ts$/.test(path) ||
    /^providers\/(odp|codec)\/.*(?<!_test)\.ts$/.test(path) ||
    /^tests\/policy\/(oracle|random)_polic(y|ies)\.ts$/.test(path) ||
    /^examples\/(switch|firewall_policy|router|balancer)\.ts$/.test(path)
  ).map(({ text }) => text);
  const bytes = new TextEncoder().encode(texts.join("\n"));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return hash.subarray(0, 6).toHex();
}

const sources = await hashOfSources();
const done = new Map<string, Checked>();
let others = 0;
type Line = Checked & { readonly slice: string; readonly sources?: string };
try {
  for (const line of Deno.readTextFileSync(values.log).split("\n")) {
    if (line === "") continue;
    const { slice, sources: of, ...checked } = JSON.parse(line) as Line;
    if (of === sources) done.set(slice, checked);
    else others++;
  }
} catch (error) {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

// In turn over the policies: what is ended early has looked at all of them.
const slices: Slice[] = [];
for (let at = 0; at < packets; at += SLICE) {
  for (const policy of names) {
    const runs = Math.min(SLICE, packets - at);
    slices.push({ policy, runs, mutants, seed: seed * 1_000_003 + at });
  }
}
const waiting = slices.filter((slice) => !done.has(nameOf(slice)));
const before = slices.length - waiting.length;
console.log(`${slices.length} slices, ${before} done before, ${others} of other sources`);

/** Has a Worker check a slice. */
function check(slice: Slice): Promise<Checked> {
  const worker = new Worker(new URL("oracle_policies.ts", import.meta.url), {
    type: "module",
  });
  const { promise, resolve, reject } = Promise.withResolvers<Checked>();
  worker.onmessage = ({ data }: MessageEvent<Checked>) => resolve(data);
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(event.message));
  };
  worker.postMessage(slice);
  return promise.finally(() => worker.terminate());
}

async function work(): Promise<void> {
  for (let slice = waiting.shift(); slice !== undefined; slice = waiting.shift()) {
    const checked = await check(slice);
    if (checked.unsound !== undefined) {
      console.error(`${nameOf(slice)}: ${checked.unsound}`);
      Deno.exit(1);
    }
    done.set(nameOf(slice), checked);
    const line = JSON.stringify({ slice: nameOf(slice), sources, ...checked });
    Deno.writeTextFileSync(values.log, `${line}\n`, { append: true });
  }
}

await Promise.all(Array.from({ length: jobs }, work));

for (const name of names) {
  const all = slices.filter(({ policy }) => policy === name)
    .map((slice) => done.get(nameOf(slice)) as Checked);
  const sum = (of: (one: Checked) => number): number =>
    all.reduce((total, one) => total + of(one), 0);
  const masks = Math.max(...all.map((one) => one.masks));
  console.log(
    `${name}: ${sum((one) => one.runs)} packets with a flow, ${
      sum((one) => one.mutants)
    } others, ${sum((one) => one.changes)} changes of state, up to ${masks} masks, ` +
      `0 counterexamples, ${sum((one) => one.seconds).toFixed(0)} s`,
  );
}
