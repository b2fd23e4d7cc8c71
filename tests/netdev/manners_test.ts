// SPDX-License-Identifier: Apache-2.0
/**
 * The manners of all examples: they say how they are called, when they are ready, answer dpctl, and end when they are told to.
 */
import assert from "node:assert/strict";
import { control } from "../../control/socket.ts";
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
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

for (const name of [...programs, "demo.ts"]) {
  Deno.test(`example: ${name} says how it is called`, async () => {
    const help = await outcome(name, "--help");
    assert.equal(help.code, 0, help.err);
    assert.match(help.out, new RegExp(`^usage: deno run -A examples/${name} [A-Z[]`));
    const usage = help.out.trim();
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

/** What a usage wants, besides devices, which need root. */
const given: Readonly<Record<string, string>> = { IPV4: "10.9.0.1", IPV6: "fd00::9" };

for (const name of programs) {
  // A file is no switch, and the others need their devices: examples_test.ts and gateways_test.ts have them.
  const others = [
    "counter.ts",
    "mirror.ts",
    "firewall.ts",
    "nat_gateway.ts",
    "load_balancer.ts",
  ];
  if (others.includes(name)) continue;
  Deno.test(
    `example: ${name} is ready without a port, answers dpctl, and ends by Ctrl-C`,
    skippable(async () => {
      {
        await using _ = await NetdevBench.open(); // Compiles the library, or skips.
      }
      const rundir = await Deno.makeTempDir({ prefix: "upcall-manners-" });
      const datapath = `netdev@man${Deno.pid}`;
      const words = [...textOf(name).matchAll(/"(IPV4|IPV6)"/g)]
        .map(([, word = ""]) => given[word] ?? "");
      const child = start(name, [datapath, ...words], rundir);
      const stdout = new Response(child.stdout).text();
      let said = "";
      const reading = (async () => {
        for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
          said += text;
        }
      })();
      try {
        await until("it to be ready", () => said.includes(" is ready with no ports; "));
        assert.match(said, /"deno run -A dpctl\.ts add-if netdev@man\d+ NAME" adds one/);
        const ask = (...args: string[]): Promise<string> =>
          control(`${rundir}/${datapath}.ctl`, args[0] ?? "", args.slice(1));
        await ask("dpctl/add-if", datapath, "p1,type=dummy");
        assert.match(await ask("dpctl/show", datapath), / {2}port 1: p1 \(dummy\)\n/);
        await ask("dpctl/dump-flows", datapath);
      } finally {
        try {
          child.kill("SIGINT");
        } catch {
          // It has ended: the status says why.
        }
        await reading;
      }
      assert.equal((await child.status).code, 0, said);
      assert.equal(await stdout, "");
      assert.deepEqual([...Deno.readDirSync(rundir)], [], "the socket is gone");
      await Deno.remove(rundir, { recursive: true });
    }),
  );
}

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
