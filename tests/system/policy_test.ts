// SPDX-License-Identifier: Apache-2.0
/**
 * Policies on the kernel's datapath, between namespaces.
 *
 * `UPCALL_PINGS=1000000 deno run -A tests/system/in_guest.ts tests/system/policy_test.ts --filter
 * killed` pings for a quarter of an hour while the program is killed; without a number, for
 * seconds. `UPCALL_FLOWS=1000000 … in_guest.ts --memory 8G … --filter adopts` has so many flows.
 */
import { deepStrictEqual, ok, strictEqual as equal } from "node:assert/strict";
import { policy as firewall } from "../../examples/firewall_policy.ts";
import { policy as learning } from "../../examples/switch.ts";
import { type Datapath, type Op, openDatapath } from "../../mod.ts";
import { type PolicyRun, runPolicy } from "../../policy/mod.ts";
import { run as command, tryRun } from "../support/command.ts";
import { figure } from "../support/figure.ts";
import { answers, type Host, makeHosts, on, ping } from "../support/netns.ts";
import { needProgram } from "../support/skip.ts";
import { makeDatapath, systemTest, until } from "./system.ts";

async function attach(dp: Datapath, hosts: readonly Host[]): Promise<void> {
  for (const { device } of hosts) await dp.ports.add({ name: device });
}

/** The policy has not been refused anything. */
function isClean({ stats }: PolicyRun): void {
  equal(stats.failures.put_failed, undefined, JSON.stringify(stats.failures));
  equal(stats.failures.policy_error, undefined, JSON.stringify(stats.failures));
}

systemTest(
  "policy: a learning switch joins hosts, and its flows stay as they are",
  async () => {
    await using made = await makeDatapath();
    await using net = await makeHosts("pl", 3);
    const [a, b, c] = net.hosts;
    if (!a || !b || !c) throw new Error("no hosts");
    await attach(made.dp, net.hosts);
    const errors: string[] = [];
    await using run = await runPolicy(made.dp, learning, {
      onError: (error) => void errors.push(`${error.message} ${error.packet}`),
    });
    await until(() => answers(a, b.ipv4));
    await ping(b, c.ipv4);
    await ping(c, a.ipv6);
    await run.statistics();
    isClean(run);
    equal(errors.join("\n"), "");
    ok(run.stats.flows >= 4);
    equal(
      run.stats.gone.lost,
      0,
      "the kernel has the flows under the names that they were given",
    );
    // The kernel's masks are those that were derived: nothing was changed on the way.
    equal(made.dp.stats().flows, run.stats.flows);
  },
);

systemTest(
  "policy: flows are adopted by the next program, and no packet comes up",
  async () => {
    await using made = await makeDatapath();
    await using net = await makeHosts("pa", 2);
    const [a, b] = net.hosts;
    if (!a || !b) throw new Error("no hosts");
    await attach(made.dp, net.hosts);
    {
      await using run = await runPolicy(made.dp, learning);
      await until(() => answers(a, b.ipv4));
      await ping(a, b.ipv4);
      await run.settled();
      isClean(run);
    }
    const before = made.dp.stats().flows;
    await using dp = await openDatapath(made.dp.fullName);
    await using run = await runPolicy(dp, learning, { existing: "adopt" });
    ok(
      (run.stats.failures.stranger_adopted ?? 0) >= 0.9 * before,
      JSON.stringify(run.stats),
    );
    await ping(a, b.ipv4);
    isClean(run);
  },
);

systemTest("policy: a firewall tracks connections by a stage", async () => {
  await using made = await makeDatapath();
  await using net = await makeHosts("pf", 2);
  const [a, b] = net.hosts;
  if (!a || !b) throw new Error("no hosts");
  await attach(made.dp, net.hosts);
  await using run = await runPolicy(made.dp, firewall);
  await until(() => answers(a, b.ipv4));
  await ping(a, b.ipv4);
  equal(await answers(b, a.ipv4), false, "nobody inside asked for it");
  const iperf3 = needProgram("iperf3", { requirement: "peer" });
  const [program = "", ...args] = on(a, iperf3, "-s", "-p", "80");
  const server = new Deno.Command(program, { args, stdin: "null", stdout: "null" })
    .spawn();
  try {
    await until(async () =>
      (await tryRun(...on(a, "ss", "-ltn"))).stdout.includes(":80")
    );
    await command(
      ...on(b, "timeout", "5", "bash", "-c", `exec 3<>/dev/tcp/${a.ipv4}/80`),
    );
  } finally {
    try {
      server.kill("SIGKILL");
    } catch {
      // It ended with its one client.
    }
    await server.status;
  }
  isClean(run);
  ok([...run.flows()].some(({ stage }) => stage === "known"));
});

const PINGS = Number(Deno.env.get("UPCALL_PINGS") ?? 3000);
/** A program lives for so long, and the switch is without one for so long, ms. */
const [LIFE_MS, GAP_MS] = [1500, 300];

/** Starts a program, and waits until it has adopted. */
async function start(
  ...words: string[]
): Promise<{ adopted: number } & AsyncDisposable> {
  const file = new URL("policy_program.ts", import.meta.url);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", file.pathname, ...words],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const lines = child.stdout.getReader();
  let said = "";
  while (!said.includes("\n")) {
    const { value, done } = await lines.read();
    if (done) throw new Error(`the program ended: ${said}`);
    said += new TextDecoder().decode(value);
  }
  return {
    adopted: Number(/^ready (\d+)/.exec(said)?.[1]),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await lines.cancel();
      await child.status;
    },
  };
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

systemTest("policy: a killed program loses neither packets nor flows", async () => {
  await using made = await makeDatapath();
  await using net = await makeHosts("pk", 2);
  const [a, b] = net.hosts;
  if (!a || !b) throw new Error("no hosts");
  for (const { device } of net.hosts) await made.dp.ports.add({ name: device });
  // While there is no program nobody answers a miss: neighbours that ask each other again would
  // wait.
  for (const [host, other] of [[a, b], [b, a]] as const) {
    const words = ["neigh", "replace", other.ipv4, "lladdr", other.mac];
    await command(...on(host, "ip", ...words, "dev", host.inner, "nud", "permanent"));
  }
  {
    await using _ = await start(made.dp.fullName);
    await until(() => answers(a, b.ipv4));
    ok(await answers(a, b.ipv4));
  }
  const flows = (): string[] => [...made.dp.flows.dump()].map(({ ufid }) => `${ufid}`);
  const [program = "", ...args] = on(
    a,
    ...["ping", "-q", "-n", "-i", "0.001", "-c", `${PINGS}`, "-W", "5", b.ipv4],
  );
  const pinging = new Deno.Command(program, { args, stdin: "null", stdout: "piped" })
    .spawn();
  let isDone = false;
  const output = pinging.output().finally(() => isDone = true);
  let kills = 0;
  let most = 0;
  let kept = 0;
  while (!isDone) {
    const before = flows();
    {
      await using running = await start(made.dp.fullName);
      const after = new Set(flows());
      most += before.length;
      kept += before.filter((ufid) => after.has(ufid)).length;
      ok(running.adopted > 0, "nothing was adopted");
      await wait(LIFE_MS);
    }
    kills++;
    await wait(GAP_MS);
  }
  const text = new TextDecoder().decode((await output).stdout);
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(text) ?? [];
  figure(
    `${kills} kills, ${sent} pings, ${received} answers, ${kept} of ${most} flows kept`,
  );
  deepStrictEqual([sent, received], [`${PINGS}`, `${PINGS}`]);
  ok(kept >= 0.99 * most, `${kept} of ${most} flows were kept`);
  equal(kills > 0, true);
});

const FLOWS = Number(Deno.env.get("UPCALL_FLOWS") ?? 3000);

systemTest(
  "policy: a killed program's flows stay, and the next one adopts them",
  async () => {
    await using made = await makeDatapath();
    const { dp } = made;
    for (const no of [1, 2]) {
      await dp.ports.add({ name: `pm${no}`, type: "internal", no });
    }
    const station = (n: number): string =>
      `02:${n.toString(16).padStart(10, "0").replace(/(..)(?=.)/g, "$1:")}`;
    const began = performance.now();
    for (let at = 0; at < FLOWS; at += 256) {
      const some = Array.from({ length: Math.min(256, FLOWS - at) }, (_, i): Op => ({
        op: "put",
        actions: "2",
        ufid: crypto.getRandomValues(new Uint8Array(16)),
        key: {
          ...{ recircId: 0, inPort: 1, etherType: 0x1234 },
          ethernet: { src: station(at + i), dst: station(2 ** 32) },
        },
      }));
      for (const result of dp.operate(some)) ok(result.ok);
    }
    const putMs = performance.now() - began;
    equal(dp.stats().flows, FLOWS);
    const times: number[] = [];
    for (let round = 0; round < 2; round++) {
      const from = performance.now();
      await using running = await start(dp.fullName, "--many");
      times.push(performance.now() - from);
      equal(running.adopted, FLOWS, "each flow was adopted");
      equal(dp.stats().flows, FLOWS, "none went");
    }
    const seconds = (ms: number): string => (ms / 1000).toFixed(1);
    figure(
      `${FLOWS} flows were put in ${seconds(putMs)} s, and adopted in ${
        times.map(seconds).join(" and ")
      } s, the start of the program included`,
    );
  },
);
