// SPDX-License-Identifier: Apache-2.0
/** `deno task guest`: programs of people on the kernel's datapath, on a machine that has none. */
import assert from "node:assert/strict";
import { parseCall } from "./guest.ts";
import { family, runInGuest } from "./uml.ts";
import { needProgram, needRoot, skippable } from "./skip.ts";
import { root } from "./tree.ts";
import { tryRun } from "./command.ts";
import { until } from "./wait.ts";

const guest = (...words: string[]) =>
  tryRun(Deno.execPath(), "run", "-A", `${root}tests/support/guest.ts`, ...words);

Deno.test("a call of the guest is read, and a wrong one says how it is called", () => {
  assert.deepEqual(parseCall(["--timeout", "5", "--keep", "out", "x.ts", "--zones"]), {
    timeoutMs: 5000,
    keep: "out",
    zones: false,
    command: [Deno.execPath(), "run", "-A", "--no-check", "x.ts", "--zones"],
  });
  const plain = parseCall(["--", "ip", "link"]);
  assert.deepEqual(typeof plain === "object" && plain.command, ["ip", "link"]);
  for (const bad of [[], ["--nonsense", "x"], ["--timeout", "x", "y"], ["--keep"]]) {
    assert.match(
      String(parseCall(bad)),
      /^guest: .*\nusage: deno task guest/,
      bad.join(" "),
    );
  }
  assert.match(String(parseCall(["--help"])), /^usage: /);
});

Deno.test(
  "a program runs on the kernel's datapath of a guest, and its files and status come back",
  skippable(async () => {
    needRoot("system");
    needProgram("linux.uml", { requirement: "system" });
    const folder = await Deno.makeTempDir({ prefix: "upcall-guest-task-" });
    try {
      await Deno.writeTextFile(
        `${folder}/switch.ts`,
        `import { openDatapath } from "${root}mod.ts";
        await using dp = await openDatapath("system@lesson", { create: true });
        await dp.ports.add({ name: "p1", type: "internal" });
        dp.flows.put({ key: "in_port(1),eth(),eth_type(0x0806),arp()", actions: "0" });
        const show = await new Deno.Command("ovs-dpctl", { args: ["show"] }).output();
        const text = new TextDecoder().decode(show.stdout);
        Deno.writeTextFileSync(Deno.env.get("SHARED") + "/seen.txt", text);
        console.log(Deno.args.join("+"), [...dp.flows.dump()].length);
        Deno.exitCode = 7;`,
      );
      const words = ["--keep", `${folder}/out`, `${folder}/switch.ts`, "a", "b"];
      const { code, stdout, stderr } = await guest(...words);
      assert.deepEqual([stdout, code], ["a+b 1\n", 7], stderr);
      const seen = await Deno.readTextFile(`${folder}/out/seen.txt`);
      assert.match(seen, /^system@lesson:\n[^]*port 1: p1 \(internal\)\n/);
      assert.deepEqual([...Deno.readDirSync(`${folder}/out`)].map(({ name }) => name), [
        "seen.txt",
      ]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }),
);

Deno.test(
  "a guest whose kernel panics ends at once, and says why",
  skippable(async () => {
    needRoot("system");
    needProgram("linux.uml", { requirement: "system" });
    const panic = "echo c > /proc/sysrq-trigger; sleep 600";
    await assert.rejects(
      () => runInGuest(["/bin/sh", "-c", panic], { timeoutMs: 300_000 }),
      /^Error: The guest did not come up: [^]*Kernel panic - not syncing: sysrq/,
    );
  }),
);

Deno.test(
  "a guest ends with the program that runs it",
  skippable(async () => {
    needRoot("system");
    needProgram("linux.uml", { requirement: "system" });
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        `${root}tests/support/guest.ts`,
        "sh",
        "-c",
        "echo up; sleep 600",
      ],
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    assert.equal((await reader.read()).value, "up\n");
    const all = family(child.pid);
    assert.ok(all.length > 4, "the kernel, and what is above it");
    child.kill("SIGTERM");
    assert.equal((await child.status).code, 143);
    await reader.cancel();
    const isThere = (pid: number) => family(1).includes(pid);
    await until("all to end", () => !all.some(isThere));
  }),
);
