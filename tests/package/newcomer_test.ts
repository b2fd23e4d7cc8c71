// SPDX-License-Identifier: Apache-2.0
/**
 * What a new user does, step by step, each timed: install, look at the machine, the first switch of
 * one's own, a test of it without root, the dashboard.  The package is made in `package_test.ts`,
 * the demo in `tests/demo/`.
 */
import assert from "node:assert/strict";
import { findToolchain } from "../../ffi/toolchain.ts";
import { run, tryRun } from "../support/command.ts";
import { figure } from "../support/figure.ts";
import { skippable, Unsupported } from "../support/skip.ts";
import { root } from "../support/tree.ts";
import { until } from "../support/wait.ts";
import { firstPrograms, steps, unheardOf } from "./newcomer_steps.ts";

const ownSwitch = `
import { drop, flood, forward, type Policy, StateMap } from "${root}policy/mod.ts";
const stations = new StateMap<string, number>({ name: "stations" });
export const policy: Policy = (packet, ports) => {
  if (!packet.ethernet) return drop("no Ethernet");
  packet.learn(stations, packet.ethernet.src, packet.inPort);
  const to = stations.lookup(packet, "ethernet.dst");
  return to === undefined ? flood(ports, packet.inPort) : forward(to);
};
`;

const ownTest = `
import { build, ethernet, ipv4, udp } from "${root}frames/mod.ts";
import { runPolicy } from "${root}policy/mod.ts";
import { openLab } from "${root}testing/mod.ts";
import { policy } from "./switch.ts";
Deno.test("what is known goes to one port", async () => {
  await using lab = await openLab({ ports: ["a", "b", "c"] });
  await using _run = await runPolicy(lab.dp, policy);
  const to = (src: string, dst: string) =>
    build([ethernet({ src, dst }), ipv4(), udp({ src: 1, dst: 2 })]);
  const [one, two] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];
  await lab.inject("a", to(one, two));
  await lab.expect("c", to(one, two));
  await lab.inject("b", to(two, one));
  await lab.expect("a", to(two, one));
  await lab.expect("c");
});
`;

Deno.test(
  "a newcomer installs, writes a switch, tests it without root, and sees it on a page",
  skippable(async (t) => {
    try {
      await findToolchain();
    } catch (error) {
      throw new Unsupported((error as Error).message, { requirement: "netdev" });
    }
    const folder = await Deno.makeTempDir({ prefix: "upcall-newcomer-" });
    const path = `${Deno.execPath().replace(/\/[^/]*$/, "")}:${folder}/bin:/usr/bin:/bin`;
    const dpctl = `${folder}/bin/dpctl`;
    const env = { PATH: path, UPCALL_RUNDIR: folder, NO_COLOR: "1" };
    const times: string[] = [];
    const step = async (name: string, body: () => Promise<void>): Promise<void> => {
      const started = performance.now();
      await t.step(name, body);
      times.push(`${name} ${((performance.now() - started) / 1000).toFixed(1)} s`);
    };
    try {
      await step("install", async () => {
        const words = ["--global", "--allow-all", "--name", "dpctl", "--root", folder];
        await run(Deno.execPath(), "install", ...words, `${root}dpctl.ts`);
      });
      await step("look at the machine", async () => {
        const { stdout } = await tryRun("env", `PATH=${path}`, dpctl, "doctor");
        assert.match(stdout, /\d+ of \d+ checks are well/);
      });
      await step("write a switch, and test it without root", async () => {
        await Deno.writeTextFile(`${folder}/switch.ts`, ownSwitch);
        await Deno.writeTextFile(`${folder}/switch_test.ts`, ownTest);
        const words = ["test", "-A", "--quiet", `${folder}/switch_test.ts`];
        const { code, stdout, stderr } = await tryRun(Deno.execPath(), ...words);
        assert.equal(code, 0, stdout + stderr);
        assert.match(stdout, /1 passed/);
      });
      await step("serve it, with a page", async () => {
        const child = new Deno.Command(dpctl, {
          args: ["serve", "netdev@first", "p1:dummy", "p2:dummy"]
            .concat("--policy", `${folder}/switch.ts`, "--web", "127.0.0.1:0"),
          env,
          stdin: "null",
          stdout: "null",
          stderr: "piped",
        }).spawn();
        let log = "";
        const reading = (async () => {
          for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
            log += text;
          }
        })();
        try {
          const [, url] = await until(
            "the page",
            () => /dashboard at (\S+)/.exec(log),
            { state: () => log },
          );
          assert.match(await (await fetch(url ?? "")).text(), /<title>Upcall/);
          const shown = await run(
            "env",
            ...Object.entries(env).map(([n, v]) => `${n}=${v}`),
            dpctl,
            "show",
          );
          assert.match(shown, /^netdev@first:\n[^]*port 2: p2 \(dummy\)/);
        } finally {
          child.kill("SIGTERM");
          await child.status;
          await reading;
        }
      });
      figure(`newcomer: ${times.join(", ")}`);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }),
);

Deno.test("what a newcomer does on a bare machine is in the pages, programs and commands", () => {
  assert.deepEqual(unheardOf(), []);
  const programs = [...firstPrograms().keys()];
  for (const { script } of steps) {
    for (const [, file = ""] of script.matchAll(/examples\/(\w+\.ts)/g)) {
      assert.ok(programs.includes(file), file);
    }
  }
  // One that no page has is found.
  const odd = {
    name: "odd",
    by: "user",
    script: "deno run -A odd.ts",
    says: /x/,
  } as const;
  assert.deepEqual(unheardOf([...steps, odd]), ["deno run -A odd.ts"]);
});
