// SPDX-License-Identifier: Apache-2.0
/**
 * The workflows of `.github`: well-formed, and every command of theirs one that is there and takes
 * the options that it is given.
 */
import assert from "node:assert/strict";
import { parse } from "npm:yaml@2.9.1";
import config from "../../deno.json" with { type: "json" };
import { tryRun } from "../support/command.ts";
import { root } from "../support/tree.ts";

interface Step {
  readonly name?: string;
  readonly run?: string;
  readonly uses?: string;
  readonly with?: Record<string, string>;
  readonly env?: Record<string, string>;
}
interface Job {
  readonly name?: string;
  readonly "runs-on": string;
  readonly strategy?: {
    readonly matrix: { readonly include: readonly Record<string, unknown>[] };
  };
  readonly container?: string | { readonly image: string };
  readonly steps: readonly Step[];
}
interface Workflow {
  readonly name: string;
  readonly on: Record<string, unknown>;
  readonly permissions: Record<string, string>;
  readonly jobs: Record<string, Job>;
}

const folder = `${root}.github/workflows`;
const workflows = [...Deno.readDirSync(folder)].map(({ name }) => ({
  name,
  text: Deno.readTextFileSync(`${folder}/${name}`),
})).map(({ name, text }) => ({
  name,
  text,
  // "on" is a word of its own here, and no yes.
  workflow: parse(text, { strict: true, version: "1.2" }) as Workflow,
}));
const jobs = workflows.flatMap(({ name, workflow }) =>
  Object.entries(workflow.jobs).map(([job, it]) => ({ at: `${name}: ${job}`, job: it }))
);
const commands = jobs.flatMap(({ at, job }) =>
  job.steps.flatMap(({ run }) => run === undefined ? [] : [{ at, run }])
);

const known = {
  workflow: ["name", "on", "permissions", "jobs"],
  job: [
    ...["name", "runs-on", "strategy", "continue-on-error", "timeout-minutes"],
    ...["container", "steps"],
  ],
  step: ["name", "run", "uses", "with", "env"],
};

Deno.test("workflows: keys are known, a step does one thing, actions have versions", () => {
  assert(jobs.length >= 4);
  for (const { name, workflow } of workflows) {
    assert.deepEqual(
      Object.keys(workflow).filter((k) => !known.workflow.includes(k)),
      [],
    );
    assert("push" in workflow.on && "pull_request" in workflow.on, name);
    assert.deepEqual(workflow.permissions, { contents: "read" }, name);
  }
  for (const { at, job } of jobs) {
    assert.deepEqual(Object.keys(job).filter((k) => !known.job.includes(k)), [], at);
    assert.match(job["runs-on"], /^ubuntu-\d\d\.\d\d$/);
    for (const step of job.steps) {
      assert.deepEqual(Object.keys(step).filter((k) => !known.step.includes(k)), [], at);
      assert((step.run === undefined) !== (step.uses === undefined), at);
      if (step.uses !== undefined) assert.match(step.uses, /^[\w-]+\/[\w-]+@v\d+$/);
    }
    // What is of the checkout comes behind it.
    const checkout = job.steps.findIndex(({ uses = "" }) =>
      uses.startsWith("actions/checkout@")
    );
    const first = job.steps.findIndex(({ run = "" }) =>
      /deno|\.ci\//.test(run) && !/npm install/.test(run)
    );
    assert(checkout >= 0 && checkout < first, at);
  }
});

Deno.test("workflows: what expressions name is in every line of the matrix", () => {
  let seen = 0;
  for (const { at, job } of jobs) {
    const lines = job.strategy?.matrix.include ?? [];
    const text = JSON.stringify({ ...job, strategy: undefined });
    for (const [, name = ""] of text.matchAll(/\bmatrix\.(\w+)/g)) {
      seen++;
      assert(lines.length > 0, at);
      for (const line of lines) assert(name in line, `${at}: matrix.${name}`);
    }
    for (const [, body = ""] of text.matchAll(/\$\{\{(.*?)\}\}/g)) {
      assert.match(body, /^ !?matrix\.\w+( && '[\w,]*' \|\| '[\w,]*')? $/, at);
    }
  }
  assert(seen >= 4);
});

Deno.test("workflows: the versions of DPDK and Debian are those that the page on installing has", () => {
  const page = Deno.readTextFileSync(`${root}docs/install.md`);
  const [, versions = ""] = /^\| DPDK +\| ([\d., ]+)/m.exec(page) ?? [];
  const tested = jobs.flatMap(({ job }) => job.strategy?.matrix.include ?? [])
    .map(({ dpdk }) => dpdk);
  assert.deepEqual(tested, versions.trim().split(", "));
  const containerfile = Deno.readTextFileSync(`${root}packaging/Containerfile`);
  const [, deno = ""] = /deno:bin-([\d.]+)/.exec(containerfile) ?? [];
  assert.match(page, new RegExp(`^\\| Deno .*\\| ${deno.replaceAll(".", "\\.")} `, "m"));
});

Deno.test("workflows: the shell takes every command", async () => {
  for (const { at, run } of commands) {
    const { code, stderr } = await tryRun("sh", "-nc", run);
    assert.equal(code, 0, `${at}: ${run}\n${stderr}`);
  }
});

Deno.test("workflows: files are there, tasks are there and have the options that they get", async () => {
  let seen = 0;
  for (const { at, run } of commands) {
    for (const line of run.split("&&").map((part) => part.trim())) {
      const [, words = ""] = /\bdeno (.*)$/.exec(line) ?? [];
      if (line.startsWith(".ci/")) {
        assert(((Deno.statSync(root + line).mode ?? 0) & 0o111) !== 0, line);
        seen++;
      } else if (/^(run|test) -A /.test(words)) {
        const [, , file = "", ...rest] = words.split(" ");
        assert(Deno.statSync(root + file).isFile, `${at}: ${line}`);
        if (words.startsWith("run")) {
          await takes(["run", "-A", file], rest, `${at}: ${line}`);
        }
        seen++;
      } else if (words.startsWith("task ")) {
        const [, task = "", ...rest] = words.split(" ");
        assert(Object.hasOwn(config.tasks, task), `${at}: ${line}`);
        await takes(["task", task], rest, `${at}: ${line}`);
        seen++;
      } else {
        // The others are of the system, or tried by package_test.ts.
        assert.match(
          line,
          /^apt-get (update|install) |^apt-get update$|^git config |^sudo npm install --global deno$|deno publish --dry-run --allow-dirty$/,
          at,
        );
      }
    }
  }
  assert(seen >= 8);
});

/** Its help names the options, and the words if there are any. */
async function takes(
  program: readonly string[],
  rest: readonly string[],
  at: string,
): Promise<void> {
  if (rest.length === 0) return;
  const { code, stdout, stderr } = await tryRun(
    ...["env", `-C${root}`, Deno.execPath(), ...program, "--help"],
  );
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^usage: /);
  // The value of an option is the user's.
  const isValue = (i: number): boolean => rest[i - 1]?.startsWith("--") === true;
  for (const [i, word] of rest.entries()) {
    if (!isValue(i)) assert(stdout.includes(word), `${at}: ${stdout}`);
  }
}
