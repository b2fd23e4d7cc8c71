// SPDX-License-Identifier: Apache-2.0
/** Programs on the kernel's datapath, as people run them: examples, captures, few permissions. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { removeMarks } from "../../control/capture/marks.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { openDatapath } from "../../providers/registry.ts";
import { type Host, makeHosts, ping, pinged } from "../support/netns.ts";
import { needProgram } from "../support/skip.ts";
import { shell } from "../support/command.ts";
import { until } from "../support/wait.ts";
import { newName, systemTest } from "./system.ts";

const root = new URL("../../", import.meta.url).pathname;

/** Starts a program of this project. */
function start(...words: string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-check", ...words],
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
    env: { NO_COLOR: "1" },
  }).spawn();
}

async function end(child: Deno.ChildProcess, signal: Deno.Signal): Promise<void> {
  try {
    child.kill(signal);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // It has ended already.
  }
  await child.status;
}

/** The datapath, once a program has made it and given it ports. */
async function opened(name: string, ports: number): Promise<Datapath> {
  const dp = await until(
    "the datapath",
    () => openDatapath(`system@${name}`).catch(() => undefined),
    { limitMs: 60_000 },
  );
  await until("its ports", () => [...dp.ports.dump()].length > ports, {
    limitMs: 60_000,
  });
  return dp;
}

/** Whether some of several pings came back, tried until they do. */
async function reached(from: Host, to: string): Promise<void> {
  await until(
    `an answer of ${to}`,
    async () => (await pinged(from, to, { count: 1, seconds: 1 })).length > 0,
  );
}

/** Gives a host the addresses of another, which falls silent. */
async function takeOver(host: Host, from: Host): Promise<void> {
  const at = `ip -n ${host.namespace}`;
  await shell(
    [
      `ip -n ${from.namespace} link set ${from.inner} down`,
      `${at} link set ${host.inner} down`,
      `${at} addr flush dev ${host.inner}`,
      `${at} link set ${host.inner} address ${from.mac}`,
      `${at} addr add ${from.ipv4}/24 dev ${host.inner}`,
      `${at} link set ${host.inner} up`,
    ].join("\n"),
  );
}

for (const example of ["learning_switch.ts", "aging_switch.ts"]) {
  systemTest(`${example} follows a station that moves`, async () => {
    await using network = await makeHosts("psm", 3, { net: 91 });
    const [a, b, c] = network.hosts as [Host, Host, Host];
    const name = newName();
    const devices = network.hosts.map(({ device }) => device);
    const child = start(`${root}examples/${example}`, `system@${name}`, ...devices);
    const dp = await opened(name, 3);
    try {
      await reached(a, b.ipv4);
      await ping(a, b.ipv4, 3);
      await takeOver(c, b);
      // It is c that speaks: a still believes b where it was.
      await reached(c, a.ipv4);
      await ping(a, b.ipv4, 3);
    } finally {
      await end(child, "SIGKILL");
      await dp.destroy();
      await dp.close();
    }
  });
}

systemTest("aging_switch.ts forgets flows that are idle", async () => {
  await using network = await makeHosts("psa", 2, { net: 92 });
  const [a, b] = network.hosts as [Host, Host];
  const name = newName();
  const devices = network.hosts.map(({ device }) => device);
  const child = start(
    `${root}examples/aging_switch.ts`,
    `system@${name}`,
    ...devices,
    "--age=1",
  );
  const dp = await opened(name, 2);
  try {
    // Hosts talk of their own accord, but not to each other.
    const between = (): number =>
      [...dp.flows.dump()].filter(({ key }) => key?.ethernet?.dst === b.mac).length;
    await reached(a, b.ipv4);
    await until("the flow", async () => {
      await pinged(a, b.ipv4, { count: 1, seconds: 1 });
      return between() > 0;
    });
    await until("it to go", () => between() === 0);
  } finally {
    await end(child, "SIGKILL");
    await dp.destroy();
    await dp.close();
  }
});

systemTest("a capture whose program is killed leaves no marks for long", async () => {
  await using network = await makeHosts("psk", 2, { net: 93 });
  const [a, b] = network.hosts as [Host, Host];
  const name = newName();
  const folder = await Deno.makeTempDir();
  Deno.env.set("UPCALL_RUNDIR", `${folder}/run`);
  const devices = network.hosts.map(({ device }) => device);
  const serving = (): Deno.ChildProcess =>
    start(`${root}dpctl.ts`, "serve", `system@${name}`, ...devices, "--miss", "learn");
  const capturing = (): Deno.ChildProcess =>
    start(`${root}dpctl.ts`, "capture", `system@${name}`, `${folder}/f`, "seconds=60");
  let server = serving();
  const dp = await opened(name, 2);
  const actions = (): string[] => [...dp.flows.dump()].map((flow) => `${flow}`);
  const isMarked = (): boolean => actions().some((flow) => flow.includes("userspace("));
  const isServed = (): Promise<boolean> =>
    Deno.stat(`${folder}/run/system@${name}.ctl`).then(() => true, () => false);
  try {
    await until("the server", isServed, { limitMs: 60_000 });
    await reached(a, b.ipv4);
    await ping(a, b.ipv4, 3);
    const before = actions().length;
    ok(before > 0);

    // The client sees that the server has gone, and takes the marks away.
    let client = capturing();
    await until("marks", isMarked, { limitMs: 60_000 });
    await end(server, "SIGKILL");
    strictEqual((await client.status).code, 1);
    ok(!isMarked(), actions().join("\n"));
    strictEqual(actions().length, before, "the flows are there");

    // Both are killed: the next server does.
    server = serving();
    await until("the next server", async () =>
      await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", `${root}dpctl.ts`, "--socket"]
          .concat(`${folder}/run/system@${name}.ctl`, "version/"),
        stderr: "piped",
      }).output().then(({ stderr }) =>
        new TextDecoder().decode(stderr).includes("not a valid command")
      ), { limitMs: 60_000 });
    client = capturing();
    await until("marks", isMarked, { limitMs: 60_000 });
    server.kill("SIGSTOP"); // It must not see that its client has gone.
    await end(client, "SIGKILL");
    await end(server, "SIGKILL");
    ok(isMarked(), "as long as nobody came");
    server = serving();
    await until("it to remove them", () => !isMarked(), { limitMs: 60_000 });
    const back = await pinged(a, b.ipv4, { count: 3 });
    strictEqual(back.length, 3, "each once");
  } finally {
    Deno.env.delete("UPCALL_RUNDIR");
    await end(server, "SIGKILL");
    removeMarks(dp);
    await dp.destroy();
    await dp.close();
    await Deno.remove(folder, { recursive: true });
  }
});

systemTest("README's permissions are enough to open a datapath", async () => {
  const readme = await Deno.readTextFile(`${root}README.md`);
  const rows = readme.split("\n").filter((line) => /^\|.*`--allow-(ffi|read)/.test(line));
  const flags = rows.join(" ").match(/--allow-(ffi|run|env|read|write)[^\s`]*/g) ?? [];
  strictEqual(flags.length, 5, flags.join(" "));
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      `${folder}/open.ts`,
      `import { openDatapath } from ${JSON.stringify(`${root}mod.ts`)};
       const dp = await openDatapath("system@${newName()}", { create: true });
       await dp.upcalls().close();
       const said = [dp.stats().flows, dp.version(), dp.meters?.features().maxMeters];
       await dp.destroy();
       await dp.close();
       console.log("opened", said.length);`,
    );
    const { stdout, stderr } = await new Deno.Command("sh", {
      args: [
        "-c",
        `exec ${Deno.execPath()} run --quiet --no-lock --no-check --no-prompt ` +
        `${flags.join(" ")} ${folder}/open.ts`,
      ],
      env: { NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder();
    deepStrictEqual([text.decode(stdout), text.decode(stderr)], ["opened 3\n", ""]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

systemTest("dump-flows takes as much memory for many flows as for few", async () => {
  needProgram("python3", { requirement: "peer" });
  const name = newName();
  const dp = await openDatapath(`system@${name}`, { create: "exclusive" });
  try {
    const measure = async (): Promise<number> => {
      const script = `
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)`;
      const words = [Deno.execPath(), "run", "-A", "--no-check", `${root}dpctl.ts`];
      const { stdout } = await new Deno.Command("python3", {
        args: ["-c", script, ...words, "dump-flows", `system@${name}`],
      }).output();
      const text = new TextDecoder().decode(stdout);
      match(text, /^\d+\n$/);
      return Number(text);
    };
    const few = await measure();
    const flows = 60_000;
    for (let i = 0; i < flows; i += 1000) {
      dp.operate(Array.from({ length: 1000 }, (_, j) => ({
        op: "put",
        key: `in_port(1),eth(),eth_type(0x0800),ipv4(src=10.${i + j >> 16}.` +
          `${i + j >> 8 & 255}.${i + j & 255})`,
        actions: "2",
      })));
    }
    strictEqual(dp.stats().flows, flows);
    const many = await measure();
    // All of it as JSON took 75 MB more.
    ok(many - few < 40, `${few} MB for none, ${many} MB for ${flows} flows`);
  } finally {
    await dp.destroy();
    await dp.close();
  }
});
