// SPDX-License-Identifier: Apache-2.0
/** Opening a userspace datapath: settings, and what is said when it cannot be. */
import assert from "node:assert/strict";
import { DatapathError } from "../../providers/errors.ts";
import type { ErrnoName } from "../../providers/errno.ts";
import { openDatapath } from "../../providers/registry.ts";
import { tryRun } from "../support/command.ts";
import { NetdevBench, openNetdev } from "../support/netdev.ts";
import { runScript } from "../support/script.ts";
import { needRoot, skippable, Unsupported } from "../support/skip.ts";

const mod = new URL("../../mod.ts", import.meta.url).href;
const name = () => `o${crypto.randomUUID().slice(0, 12)}`;

async function fails(
  run: Promise<unknown>,
  code: ErrnoName,
  text: RegExp,
): Promise<void> {
  await assert.rejects(run, (error: unknown) => {
    assert.ok(error instanceof DatapathError, `${error}`);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, text);
    return true;
  });
}

Deno.test(
  "open: settings that are not there, or of another type, are EINVAL and named",
  skippable(async () => {
    await using _ = await NetdevBench.open();
    const open = (config: Record<string, string | number | boolean>) =>
      openDatapath(`netdev@${name()}`, { create: true, config });
    await fails(
      open({ colour: "red" }),
      "EINVAL",
      /no setting "colour".*local, pollThreads/,
    );
    await fails(open({ local: 5 }), "EINVAL", /setting "local" must be a string/);
    await fails(open({ local: "carrier-pigeon" }), "EAFNOSUPPORT", /add port/);
    await fails(open({ pollThreads: "zzz" }), "EINVAL", /hexadecimal/);
    await fails(
      openDatapath(`netdev@${"n".repeat(80)}`, { create: true }),
      "ENAMETOOLONG",
      /nnn/,
    );
  }),
);

Deno.test(
  "open: one that failed leaves nothing behind",
  skippable(async () => {
    await using _ = await NetdevBench.open();
    const mine = name();
    const config = { local: "carrier-pigeon" };
    await fails(
      openDatapath(`netdev@${mine}`, { create: true, config }),
      "EAFNOSUPPORT",
      /./,
    );
    await fails(openDatapath(`netdev@${mine}`), "ENODEV", /./);
  }),
);

Deno.test(
  "open: the local port is what the settings say",
  skippable(async () => {
    for (const local of ["dummy", "null"]) {
      await using dp = await openNetdev(name(), { config: { local } });
      const ports = [...dp.ports.dump()].map(({ no, name, type }) => ({
        no,
        name,
        type,
      }));
      assert.deepEqual(ports, [{ no: 0, name: dp.name, type: local }]);
    }
    await using dp = await openNetdev(name(), { config: { local: "none" } });
    assert.deepEqual([...dp.ports.dump()], []);
  }),
);

Deno.test(
  "open: a local port of type tap is a device named like the datapath",
  skippable(async () => {
    needRoot("netdev");
    const mine = `ot${Deno.pid % 100000}`;
    await using dp = await openNetdev(mine, { config: { local: "tap" } });
    assert.equal(dp.ports.get(0)?.name, mine);
    assert.equal((await tryRun("ip", "link", "show", mine)).code, 0);
  }),
);

Deno.test("open: a library that is not there is ENOENT, and its path is told", async () => {
  const script = `
    import { openDatapath } from ${JSON.stringify(mod)};
    try {
      await openDatapath("netdev@x", { create: true, config: { library: "/proc/nothing/lib.so" } });
    } catch (error) {
      console.log(error.name, error.code, error.message.includes("/proc/nothing/lib.so"), error.cause?.name);
    }`;
  const { stdout, stderr } = await runScript(script, { flags: ["-A"] });
  assert.equal(stdout.trim(), "DatapathError ENOENT true LibraryError", stderr);
});

Deno.test("open: without the permission it is EACCES, and the flag is told", async () => {
  const script = `
    import { openDatapath } from ${JSON.stringify(mod)};
    try {
      await openDatapath("netdev@x", { create: true, config: { library: "/proc/nothing/lib.so" } });
    } catch (error) {
      console.log(error.code, error.message.includes("--allow-ffi"));
    }`;
  const { stdout, stderr } = await runScript(script, { flags: ["--allow-read"] });
  assert.equal(stdout.trim(), "EACCES true", stderr);
});

Deno.test(
  "open: without /sys, and with arguments that EAL does not know, the reason is told in a line",
  skippable(async () => {
    await using _ = await NetdevBench.open();
    const script = (eal?: string): string => `
      import { openDatapath } from ${JSON.stringify(mod)};
      const config = ${JSON.stringify(eal === undefined ? {} : { eal })};
      try {
        await openDatapath("netdev@x", { create: true, config, onNotice: () => {} });
      } catch (error) {
        console.log(error.code, error.message);
      }`;
    const said = await runScript(script("--lcores=nonsense"), { flags: ["-A"] });
    assert.match(said.stdout, /^EINVAL .*invalid parameter for --lcores.*\n$/);
    needRoot("netdev");
    const path = await Deno.makeTempFile({ suffix: ".ts" });
    await Deno.writeTextFile(path, script());
    const words =
      `umount -l /sys && exec ${Deno.execPath()} run -A --quiet --no-lock ${path}`;
    const { code, stdout, stderr } = await tryRun("unshare", "-m", "sh", "-c", words);
    await Deno.remove(path);
    if (code !== 0) {
      throw new Unsupported(`mount namespace: ${stderr}`, { requirement: "netdev" });
    }
    assert.match(stdout, /^ENOENT .*there is no \/sys, .*\n$/);
    assert.equal(stderr, "");
  }),
);

Deno.test("open: listing datapaths opens no library and builds nothing", async () => {
  const script = `
    import { enumerateDatapaths } from ${JSON.stringify(mod)};
    console.log(JSON.stringify(await enumerateDatapaths({ type: "netdev" })));`;
  // Without leave to run a compiler or to load a library.
  const { stdout, stderr } = await runScript(script, { flags: ["--allow-read"] });
  assert.equal(stdout.trim(), "[]", stderr);
});

Deno.test(
  "open: what people should know is told once, and to whom the program says",
  skippable(async () => {
    await using _ = await NetdevBench.open();
    const script = `
      import { openDatapath } from ${JSON.stringify(mod)};
      const heard = [];
      const onNotice = (message) => heard.push(message);
      for (const name of ["a", "b"]) {
        const dp = await openDatapath("netdev@" + name, { create: true, onNotice });
        await dp.close();
      }
      console.log(JSON.stringify(heard.filter((message) => !message.includes("compil"))));`;
    const { stdout, stderr } = await runScript(script, { flags: ["-A"] });
    const heard = JSON.parse(stdout) as string[];
    assert.equal(stderr, "");
    assert.ok(heard.length <= 1, stdout);
    for (const message of heard) assert.match(message, /^upcall: .*hugepages/);
  }),
);
