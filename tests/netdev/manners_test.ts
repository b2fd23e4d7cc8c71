// SPDX-License-Identifier: Apache-2.0
/**
 * The manners of all examples: they say how they are called, when they are ready, answer dpctl, and
 * end when they are told to.
 */
import assert from "node:assert/strict";
import { control } from "../../control/socket.ts";
import { run } from "../support/command.ts";
import { NetdevBench } from "../support/netdev.ts";
import { needRoot, skippable } from "../support/skip.ts";
import { root } from "../support/tree.ts";
import { until } from "../support/wait.ts";

const folder = `${root}examples/`;
const files = [...Deno.readDirSync(folder)].filter(({ isFile }) => isFile)
  .map(({ name }) => name).sort();
const textOf = (name: string): string => Deno.readTextFileSync(folder + name);
/** Those that a person runs; the others are policies, which dpctl runs. */
const programs = files.filter((name) => /\bwords\(/.test(textOf(name)))
  .filter((name) => name !== "start.ts");

function start(name: string, args: readonly string[], rundir: string): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", `${folder}${name}`, ...args],
    cwd: root,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1", UPCALL_RUNDIR: rundir },
  }).spawn();
}

async function outcome(
  name: string,
  ...args: string[]
): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await start(name, args, "/nonexistent").output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

Deno.test("every example is a program with usage, or a policy", () => {
  for (const name of files) {
    if (programs.includes(name) || ["start.ts", "demo.ts"].includes(name)) continue;
    assert.match(textOf(name), /export const policy: Policy/, name);
  }
  assert(programs.length >= 10);
});

for (
  const name of files.filter((name) => name !== "demo.ts" && !programs.includes(name))
) {
  if (name === "start.ts") continue;
  Deno.test(
    `example: ${name}, a policy, says who serves it`,
    skippable(async () => {
      const { code, out, err } = await outcome(name);
      assert.deepEqual([code, out], [1, ""]);
      const [what = "", usage = "", withoutRoot = "", ...rest] = err.trimEnd().split(
        "\n",
      );
      assert(what.startsWith(`examples/${name} is a policy`), err);
      assert(
        usage.endsWith(` serve DATAPATH [DEVICE...] --policy examples/${name}`),
        err,
      );
      assert.deepEqual(rest, []);
      assert.equal((await outcome(name, "--help")).code, 0);
      {
        await using _ = await NetdevBench.open(); // Compiles the library, or skips.
      }
      // What it advises is done as it says, but for the name.
      const [, command = ""] = /^Without root: deno (.*)$/.exec(withoutRoot) ?? [];
      const words = command.replace("netdev@br0", `netdev@man${Deno.pid}`).split(" ");
      await comesAndGoes(words, /\|serving /, async (ask) => {
        const shown = await ask("dpctl/show");
        assert.match(shown, /port 1: p1 \(dummy\)\n.*port 2: p2 \(dummy\)/);
      });
    }),
  );
}

/**
 * A program in a process of its own, which is ready, answers dpctl, and ends with status 0 by
 * Ctrl-C. `words` are those behind `deno`.
 */
async function comesAndGoes(
  words: readonly string[],
  ready: RegExp,
  body: (ask: (...args: string[]) => Promise<string>, said: string) => Promise<void>,
): Promise<void> {
  const datapath = `netdev@man${Deno.pid}`;
  const rundir = await Deno.makeTempDir({ prefix: "upcall-manners-" });
  const child = new Deno.Command(Deno.execPath(), {
    args: [...words],
    cwd: root,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1", UPCALL_RUNDIR: rundir },
  }).spawn();
  const stdout = new Response(child.stdout).text();
  let said = "";
  const reading = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      said += text;
    }
  })();
  let ended = false;
  const status = child.status.finally(() => ended = true);
  try {
    await until("it to be ready", () => ready.test(said) || ended, { state: () => said });
    assert(!ended, said);
    await body(
      (verb = "", ...args: string[]) =>
        control(`${rundir}/${datapath}.ctl`, verb, [datapath, ...args]),
      said,
    );
  } finally {
    if (!ended) child.kill("SIGINT");
    await reading;
  }
  assert.equal((await status).code, 0, said);
  assert.equal(await stdout, "");
  assert.deepEqual([...Deno.readDirSync(rundir)], [], "the socket is gone");
  await Deno.remove(rundir, { recursive: true });
}

for (const name of [...programs, "demo.ts"]) {
  Deno.test(`example: ${name} says how it is called`, async () => {
    const help = await outcome(name, "--help");
    assert.equal(help.code, 0, help.err);
    const [about = "", empty, usage = "", ...more] = help.out.trim().split("\n");
    assert.match(about, /^[A-Z].*\.$/, "what it is for");
    assert.deepEqual([empty, ...more], [""]);
    assert.match(usage, new RegExp(`^usage: deno run -A examples/${name} [A-Z[]`));
    const wrong = name === "demo.ts"
      ? [["--seconds", "x"], ["--provider", "x"], ["--x"], ["x"]]
      : [[], ["--x"], ...(usage.includes("...") ? [] : [Array(20).fill("x")])];
    for (const args of wrong) {
      const { code, out, err } = await outcome(name, ...args);
      assert.equal(code, 1, err);
      assert.equal(out, "");
      const [complaint = "", shown, ...rest] = err.trim().split("\n");
      assert.notEqual(complaint, "");
      assert.equal(shown, usage);
      assert.deepEqual(rest, []);
    }
  });
}

Deno.test("example: words are checked by what they are", async () => {
  for (
    const [name, args, complaint] of [
      ["arp_responder.ts", ["netdev@x", "10.0.0"], /"10\.0\.0" is no IPV4/],
      ["ping_responder.ts", ["netdev@x", "10.0.0.1", "fe80"], /"fe80" is no IPV6/],
      ["mirror.ts", ["netdev@x", "a", "b", "c", "101"], /"101" is no PERCENT/],
      ["aging_switch.ts", ["netdev@x", "--age=0"], /"0" is no SECONDS/],
      ["firewall.ts", ["netdev@x", "a"], /OUTSIDE is missing/],
      ["hub.ts", ["no/name"], /^Cannot use "no\/name" as the name of a datapath/],
      [
        "hub.ts",
        ["netdv@x"],
        /^Cannot open datapath "netdv@x": .*\(there are: system, netd/,
      ],
    ] as const
  ) {
    const { code, err } = await outcome(name, ...args);
    assert.match(err, complaint);
    assert.doesNotMatch(err, /\n {4}at /, "no stack");
    assert.equal(code, 1);
  }
});

/** What a usage wants, besides devices. */
const given: Readonly<Record<string, string>> = { IPV4: "10.9.0.1", IPV6: "fd00::9" };

/** Words that name devices, by example. The others are ready without any, and need no root. */
const devices: Readonly<Record<string, (device: string) => string[]>> = {
  "mirror.ts": (device) => [`${device}1`, `${device}2`, `${device}3`],
  "firewall.ts": (device) => [`${device}1`, `${device}2`],
  "nat_gateway.ts": (device) => [`${device}1`, `${device}2`, "10.9.0.1"],
  "overlay.ts": (device) => [`${device}1`, "192.0.2.2"],
  "load_balancer.ts": (device) => ["10.9.0.1", `${device}1`, `${device}2=10.9.0.2`],
};

for (const name of programs.filter((name) => name !== "counter.ts")) {
  Deno.test(
    `example: ${name} is ready, answers dpctl, and ends by Ctrl-C`,
    skippable(async () => {
      {
        await using _ = await NetdevBench.open(); // Compiles the library, or skips.
      }
      const datapath = `netdev@man${Deno.pid}`;
      const device = `um${Deno.pid % 10_000_000}d`;
      const wanted = devices[name]?.(device);
      const links: string[] = [];
      try {
        if (wanted !== undefined) needRoot("netdev");
        for (const at of wanted === undefined ? [] : [1, 2, 3]) {
          await run("ip", "link", "add", `${device}${at}`, "type", "veth");
          links.push(`${device}${at}`);
        }
        const words = wanted ??
          [...textOf(name).matchAll(/"(IPV4|IPV6)"/g)]
            .map(([, word = ""]) => given[word] ?? "");
        const program = ["run", "-A", "--quiet", `examples/${name}`, datapath, ...words];
        await comesAndGoes(program, / is ready with .*; /, async (ask, said) => {
          if (wanted === undefined) {
            assert.match(
              said,
              /with no ports; "deno run -A dpctl\.ts add-if netdev@man\d+ NAME" adds/,
            );
          }
          await ask("dpctl/add-if", "p9,type=dummy");
          const shown = await ask("dpctl/show");
          assert.match(shown, / {2}port \d+: p9 \(dummy\)\n/);
          for (const word of wanted ?? []) {
            if (word.startsWith(device)) assert(shown.includes(word.split("=")[0] ?? ""));
          }
          await ask("dpctl/dump-flows");
        });
      } finally {
        for (const link of links) await run("ip", "link", "delete", link);
      }
    }),
  );
}

Deno.test(
  "example: counter.ts, which ends by itself, ends by Ctrl-C before",
  skippable(async () => {
    {
      await using _ = await NetdevBench.open();
    }
    // A capture that never ends, for it is a pipe that nobody closes.
    const work = await Deno.makeTempDir({ prefix: "upcall-manners-" });
    const pipe = `${work}/endless.pcap`;
    await run("mkfifo", pipe);
    const child = start("counter.ts", [pipe], "/nonexistent");
    const said = new Response(child.stderr).text();
    try {
      using _file = await Deno.open(pipe, { write: true });
      child.kill("SIGINT");
      assert.equal((await child.status).code, 0, await said);
      assert.equal(await new Response(child.stdout).text(), "");
    } finally {
      await said;
      await Deno.remove(work, { recursive: true });
    }
  }),
);

Deno.test(
  "example: a device that is not there is a sentence, and no stack",
  skippable(async () => {
    {
      await using _ = await NetdevBench.open();
    }
    const { code, err } = await outcome(
      "hub.ts",
      `netdev@man${Deno.pid}`,
      "nosuchdevice",
    );
    assert.equal(code, 1);
    assert.match(err, /^Cannot add port "nosuchdevice" \(netdev@man\d+\): /m);
    assert.doesNotMatch(err, /\n {4}at /);
  }),
);
