// SPDX-License-Identifier: Apache-2.0
/** ARM64: every unit compiles without a warning, and the tests in C pass under qemu-user. */
import assert from "node:assert/strict";
import { type Arm64, needArm64 } from "../support/arm64.ts";
import { tryRun } from "../support/command.ts";
import { figure } from "../support/figure.ts";
import { skippable } from "../support/skip.ts";
import { readTree, root } from "../support/tree.ts";

/**
 * Tests that emulation cannot judge: qemu-user has no AF_XDP sockets, and threads that wait for one
 * another are too slow in it for tests that begin poll threads or share time.
 */
const notUnderQemu = /^(afxdp|dp|rxq|segment_share|\w*threads)(_\w+)?_test$/;

async function inParallel<T>(
  items: readonly T[],
  task: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await task(item);
  };
  await Promise.all(Array.from({ length: navigator.hardwareConcurrency }, worker));
}

Deno.test(
  "the C side compiles for ARM64, and its tests pass there",
  skippable(async (t) => {
    const arm64 = await needArm64();
    const work = await Deno.makeTempDir({ prefix: "upcall-arm64-" });
    try {
      const complaints: string[] = [];
      const objects: string[] = [];
      await inParallel(readTree((path) => /^c\/.*\.c$/.test(path)), async ({ path }) => {
        const object = `${work}/${path.replaceAll("/", "-")}.o`;
        const isa = path.endsWith("cls_hot.c") ? ["-DUPCALL_ISA=0"] : [];
        const words = [...arm64.flags, ...isa, "-c", `${root}${path}`, "-o", object];
        const { code, stderr } = await tryRun(arm64.cc, ...words);
        if (code !== 0 || stderr !== "") complaints.push(`${path}: ${stderr}`);
        objects.push(object);
      });
      assert.equal(complaints.join("\n"), "");
      assert.ok(objects.length > 50);
      await t.step("the library links", () => linkLibrary(arm64, work, objects));
      const archive = `${work}/units.a`;
      assert.equal((await tryRun(arm64.ar, "rcs", archive, ...objects)).code, 0);
      let passed = 0;
      const tests = readTree((path) => /^tests\/c\/\w+_test\.c$/.test(path));
      await inParallel(tests, async ({ path }) => {
        const name = path.replace(/^.*\/|\.c$/g, "");
        if (notUnderQemu.test(name)) return;
        const program = `${work}/${name}`;
        const words = [...arm64.flags, `${root}${path}`, archive, "-o", program];
        const built = await tryRun(arm64.cc, ...words, ...arm64.link);
        if (built.code !== 0) {
          complaints.push(`${name}: ${built.stderr}`);
          return;
        }
        const ran = await tryRun("timeout", "120", arm64.qemu, "-L", arm64.root, program);
        if (ran.code === 0 || ran.code === 77) passed++;
        else complaints.push(`${name}: status ${ran.code}: ${ran.stderr.slice(-500)}`);
      });
      figure(
        `ARM64 under qemu-user: ${objects.length} units, ${passed} tests in C passed`,
      );
      assert.deepEqual(complaints, []);
    } finally {
      await Deno.remove(work, { recursive: true });
    }
  }),
);

async function linkLibrary(
  { cc, link }: Arm64,
  work: string,
  objects: readonly string[],
): Promise<void> {
  const output = `${work}/libupcall.so`;
  const words = ["-shared", "-Wl,-z,defs", ...objects, "-o", output, ...link];
  const { code, stderr } = await tryRun(cc, ...words);
  assert.equal(code, 0, stderr);
  const head = (await Deno.readFile(output)).subarray(0, 20);
  assert.equal(head[18], 0xb7, "EM_AARCH64");
}
