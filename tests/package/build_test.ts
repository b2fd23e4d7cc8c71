// SPDX-License-Identifier: Apache-2.0
/** `dpctl build`: a library in a file, which another process uses without a compiler. */
import assert from "node:assert/strict";
import { findToolchain } from "../../ffi/toolchain.ts";
import { tryRun } from "../support/command.ts";
import { figure } from "../support/figure.ts";
import { findProgram, skippable, Unsupported } from "../support/skip.ts";
import { root } from "../support/tree.ts";

const dpctl = ["run", "-A", "--no-check", `${root}dpctl.ts`];

async function needToolchain(): Promise<void> {
  try {
    await findToolchain();
  } catch (error) {
    throw new Unsupported((error as Error).message, { requirement: "netdev" });
  }
}

/** Forwards a frame on dummy ports in another process, whose only way to a library is `path`. */
async function forwards(path: string): Promise<string> {
  const program = `
    import { openLab } from "${root}testing/mod.ts";
    await using lab = await openLab({ ports: ["a", "b"], open: { onNotice: () => {} } });
    lab.dp.flows.put({ key: "in_port(1),eth(),eth_type(0x1234)", actions: "2" });
    const frame = new Uint8Array(60).fill(2);
    frame.set([0x12, 0x34], 12);
    await lab.inject("a", frame);
    await lab.expect("b", frame);
    console.log("forwarded by", Deno.readTextFileSync("/proc/self/maps").includes(${
    JSON.stringify(path)
  }));`;
  const folder = await Deno.makeTempDir({ prefix: "upcall-use-" });
  try {
    await Deno.writeTextFile(`${folder}/use.ts`, program);
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", `${folder}/use.ts`],
      env: { UPCALL_LIBRARY: path, XDG_CACHE_HOME: "/nonexistent", NO_COLOR: "1" },
    });
    const { stdout, stderr } = await child.output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test(
  "dpctl build makes a library for other machines, and UPCALL_LIBRARY uses it",
  skippable(async () => {
    await needToolchain();
    const folder = await Deno.makeTempDir({ prefix: "upcall-build-" });
    try {
      const path = `${folder}/libupcall.so`;
      const started = performance.now();
      const words = ["build", "--output", path, "--portable", "--json"];
      const { code, stdout, stderr } = await tryRun(Deno.execPath(), ...dpctl, ...words);
      assert.equal(code, 0, stderr);
      figure(
        `dpctl build --portable: ${((performance.now() - started) / 1000).toFixed(1)} s`,
      );
      const { result: [built] } = JSON.parse(stdout);
      const { size, mode } = await Deno.stat(path);
      assert.deepEqual(built, { file: path, portable: true, bytes: size });
      assert.equal((mode ?? 0) & 0o777, 0o755);
      assert.deepEqual([...Deno.readDirSync(folder)].length, 1, "nothing else is left");
      assert.match(await forwards(path), /^forwarded by true\n$/);
      await onlyChosenVectors(path);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }),
);

/**
 * Outside the lookups that are chosen when the library runs, no instruction is newer than its base.
 */
async function onlyChosenVectors(path: string): Promise<void> {
  const objdump = findProgram("objdump");
  if (objdump === undefined || Deno.build.arch !== "x86_64") return;
  const { stdout } = await tryRun(objdump, "-d", "--no-show-raw-insn", path);
  const users = new Set<string>();
  const all = new Set<string>();
  let name = "";
  for (const line of stdout.split("\n")) {
    const [, begun] = /^[0-9a-f]+ <([^>]+)>:$/.exec(line) ?? [];
    if (begun !== undefined) name = begun;
    all.add(name);
    if (/%[yz]mm|\\tv[a-z]/.test(line)) users.add(name);
  }
  assert.ok(users.size >= 1, "the lookup has vector builds");
  assert.ok(all.size > 100);
  // Static functions of the lookup have no name of their build.
  const lookup = [...Deno.readDirSync(`${root}c/cls`)].map(({ name }) => name)
    .filter((name) => name.startsWith("cls_hot"))
    .map((name) => Deno.readTextFileSync(`${root}c/cls/${name}`)).join("\n");
  const others = [...users].filter((one) =>
    !/avx2|avx512/.test(one) && !lookup.includes(`${one.split(".")[0]}(`)
  );
  assert.deepEqual(others, []);
}

Deno.test("dpctl build says how it is called, and why it cannot write", async () => {
  const bare = await tryRun(Deno.execPath(), ...dpctl, "build");
  assert.equal(bare.code, 1);
  assert.match(
    bare.stderr,
    /'build' needs --output FILE\n.*usage: dpctl build --output/s,
  );
});
