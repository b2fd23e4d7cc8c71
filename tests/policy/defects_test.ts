// SPDX-License-Identifier: Apache-2.0
/**
 * Every defect of `defects.ts` is found by the oracle: the sources are copied, one line is made
 * wrong, and policies at random are checked with it until one is caught.
 */
import { deepStrictEqual, ok } from "node:assert/strict";
import { figure } from "../support/figure.ts";
import { readTree, root } from "../support/tree.ts";
import { type Defect, defects } from "./defects.ts";

const policyFolder = `${root}policy`;
/** Looked through where the seed that was written down finds nothing any more. */
const SEEDS = Number(Deno.env.get("POLICY_SEEDS") ?? 600);
/** Tried on the sources as they are. */
const CLEAN_SEEDS = 120;
const only = Deno.env.get("POLICY_DEFECT");
const sources = readTree((path) => /^policy\/.*\.ts$/.test(path))
  .map(({ path }) => path.slice("policy/".length));

/**
 * Runs the oracle over a copy of the sources with a defect; the number of seeds that it took, or
 * undefined.
 */
async function seedThatFinds(defect: Defect | undefined): Promise<number | undefined> {
  const folder = await Deno.makeTempDir({ prefix: "defect" });
  try {
    await Deno.mkdir(`${folder}/tests/policy`, { recursive: true });
    const elsewhere = (text: string): string =>
      text.replaceAll(/"(\.\.\/)+providers\//g, `"file://${root}providers/`);
    for (const name of sources) {
      let text = await Deno.readTextFile(`${policyFolder}/${name}`);
      if (defect?.file === name) {
        const parts = text.split(defect.find);
        deepStrictEqual(parts.length, 2, `${name} has this once: ${defect.find}`);
        text = parts.join(defect.replace);
      }
      const made = `${folder}/policy/${name}`;
      await Deno.mkdir(made.slice(0, made.lastIndexOf("/")), { recursive: true });
      await Deno.writeTextFile(made, elsewhere(text));
    }
    for (const name of ["random_policy.ts", "hostile_policy.ts"]) {
      const text = await Deno.readTextFile(`${root}tests/policy/${name}`);
      await Deno.writeTextFile(`${folder}/tests/policy/${name}`, elsewhere(text));
    }
    const { checkPolicy } = await import(`file://${folder}/policy/check/check.ts`);
    const { seeded } = await import(`file://${folder}/policy/check/random.ts`);
    const { hintsOf, randomPolicy, State } = await import(
      `file://${folder}/tests/policy/random_policy.ts`
    );
    const { hints, hostilePolicy, HostileState } = await import(
      `file://${folder}/tests/policy/hostile_policy.ts`
    );
    const isHostile = defect?.policies === "hostile";
    // The seed that found it when it was written down comes first.
    const others = Array.from({ length: defect ? SEEDS : CLEAN_SEEDS }, (_, i) => i + 1);
    for (const seed of defect?.seed === undefined ? others : [defect.seed, ...others]) {
      const random = seeded(seed * 7919);
      const state = isHostile ? new HostileState(random, 12) : new State(random);
      const policy = (isHostile ? hostilePolicy : randomPolicy)(random, state);
      const change = (next: unknown) => state.change(next);
      try {
        checkPolicy(policy, {
          runs: 60,
          seed,
          mutants: defect?.mutants ?? 24,
          hints: isHostile ? hints : hintsOf(seed),
          change,
        });
      } catch (error) {
        if ((error as Error).name === "PolicyUnsound") return seed;
        throw error;
      }
    }
    return undefined;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("oracle: finds each defect of the runtime", async () => {
  const missed: string[] = [];
  for (const defect of defects) {
    if (only !== undefined && !defect.what.includes(only)) continue;
    const seed = await seedThatFinds(defect);
    if (seed === undefined) missed.push(defect.what);
    else if (seed !== defect.seed) figure(`seed ${seed} finds: ${defect.what}`);
  }
  ok(defects.length >= 20);
  deepStrictEqual(missed, []);
});

Deno.test("oracle: the sources as they are pass where defects are found", async () => {
  deepStrictEqual(await seedThatFinds(undefined), undefined);
});
