// SPDX-License-Identifier: Apache-2.0
/** Benches say how they are called, and complain without a stack. */
import assert from "node:assert/strict";

const folder = new URL(".", import.meta.url);

async function call(
  name: string,
  ...args: string[]
): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", new URL(name, folder).pathname, ...args],
    stdin: "null",
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

const benches = [...Deno.readDirSync(folder)].map(({ name }) => name)
  .filter((name) => name.endsWith(".ts"))
  .filter((name) =>
    Deno.readTextFileSync(new URL(name, folder)).includes("/bench/" + name) ||
    /^ \* {5}deno task bench:/m.test(Deno.readTextFileSync(new URL(name, folder)))
  )
  .sort();

Deno.test("every bench prints its opening comment for --help", async () => {
  assert(benches.includes("peers.ts") && benches.includes("cls_bench.ts"), `${benches}`);
  for (const name of benches) {
    const { code, out, err } = await call(name, "--help");
    assert.equal(code, 0, `${name}: ${err}`);
    assert.match(out, /deno (run -A tests|task) ?(\/?bench)?/, name);
    assert.doesNotMatch(out, /^ \*|@module/m, name);
  }
});

Deno.test("a bench that is called wrongly says what is wrong, without a stack", async () => {
  for (
    const [name, args, complaint] of [
      ["peers.ts", ["--scenario", "nope"], /^--scenario nope: expected one of one-flow /],
      ["peers.ts", ["--peer", "nope"], /^--peer nope: expected one of testpmd /],
      ["peers.ts", ["--rounds", "0"], /^--rounds must be a number above 0/],
      ["peers.ts", ["--nope"], /^Unknown option '--nope'/],
      ["iperf.ts", ["--switch", "nope"], /^--switch nope: expected one of /],
      ["iperf.ts", ["--seconds", "x"], /^--seconds must be a number above 0 up to 60/],
      ["tunnel_iperf.ts", ["--kind", "nope"], /^--kind nope: no such kind/],
      ["threads.ts", ["--rounds", "x"], /^--rounds must be a number/],
      ["upcall_stages.ts", ["--workers", "x"], /^--workers must be a number above 0/],
      ["flows_bench.ts", ["x"], /^FLOWS must be a number above 0/],
      ["policy_bench.ts", ["nope"], /^no bench nope: there are setups, /],
      ["chart.ts", [], /^usage: chart\.ts/],
    ] as const
  ) {
    const { code, err } = await call(name, ...args);
    assert.match(err, complaint, name);
    assert.doesNotMatch(err, /\n {4}at /, name);
    assert.notEqual(code, 0, name);
  }
});
