// SPDX-License-Identifier: Apache-2.0
import {
  deepStrictEqual,
  match,
  notStrictEqual,
  rejects,
  strictEqual,
} from "node:assert/strict";
import { buildLibrary, type BuildOptions, findLibrary } from "./build.ts";
import { cacheDirectory } from "./build_cache.ts";
import type { Source } from "./source.ts";
import { LibraryError, openLibrary } from "./library.ts";
import { findToolchain } from "./toolchain.ts";
import { skippable, Unsupported } from "../tests/support/skip.ts";

async function source(name: string, text: string): Promise<Source> {
  const bytes = new TextEncoder().encode(text);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return { name, sha256: digest.toHex(), load: () => Promise.resolve({ default: text }) };
}

/** Two units and a header: enough for everything that a build does. */
async function toy(answer = 42): Promise<Source[]> {
  return await Promise.all([
    source("toy.h", `int toy_half(void);\n#define TOY ${answer}\n`),
    source("half.c", '#include "toy.h"\nint toy_half(void) { return TOY / 2; }\n'),
    source(
      "toy.c",
      '#include <rte_version.h>\n#include "toy.h"\n' +
        '__attribute__((visibility("default"))) int toy(void) { return 2 * toy_half(); }\n',
    ),
  ]);
}

const toySymbols = { toy: { parameters: [], result: "i32" } } as const;

/** A test with a cache folder of its own, where the machine can compile. */
function buildTest(name: string, body: (cacheDirectory: string) => Promise<void>): void {
  Deno.test(
    name,
    skippable(async () => {
      try {
        await findToolchain();
      } catch (error) {
        if (!(error instanceof LibraryError)) throw error;
        throw new Unsupported("C compiler with DPDK's headers", {
          requirement: "netdev",
        });
      }
      const directory = await Deno.makeTempDir({ prefix: "upcall-build-test-" });
      try {
        await body(directory);
      } finally {
        await Deno.remove(directory, { recursive: true });
      }
    }),
  );
}

const isCode = (code: string, message?: RegExp) => (error: unknown): boolean => {
  if (!(error instanceof LibraryError)) throw error;
  strictEqual(error.code, code, error.message);
  if (message !== undefined) match(error.message, message);
  return true;
};

function entries(directory: string): string[] {
  return [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
}

buildTest("findLibrary() compiles once and finds it again", async (cacheDirectory) => {
  const options = { cacheDirectory, sources: await toy() };
  const path = await findLibrary(options);
  using library = openLibrary(path, { symbols: toySymbols });
  strictEqual(library.symbols.toy(), 42);

  const { ino } = await Deno.stat(path);
  strictEqual(await findLibrary(options), path);
  strictEqual((await Deno.stat(path)).ino, ino);
  deepStrictEqual(entries(cacheDirectory), [
    path.slice(path.lastIndexOf("/") + 1),
    "lock",
  ]);
});

buildTest("findLibrary() builds anew when a source changes", async (cacheDirectory) => {
  const first = await findLibrary({ cacheDirectory, sources: await toy(42) });
  const second = await findLibrary({ cacheDirectory, sources: await toy(44) });
  notStrictEqual(first, second);
  using library = openLibrary(second, { symbols: toySymbols });
  strictEqual(library.symbols.toy(), 44);
});

buildTest(
  "findLibrary() in several processes at once builds one",
  async (cacheDirectory) => {
    const sources = await toy();
    const script = `
    import { findLibrary } from ${JSON.stringify(import.meta.resolve("./build.ts"))};
    const sources = ${
      JSON.stringify(
        await Promise.all(
          sources.map(async (one) => ({ ...one, text: (await one.load()).default })),
        ),
      )
    }.map((one) => ({ ...one, load: () => Promise.resolve({ default: one.text }) }));
    const path = await findLibrary({ cacheDirectory: ${
      JSON.stringify(cacheDirectory)
    }, sources });
    console.log(path, (await Deno.stat(path)).ino);`;
    const main = `${cacheDirectory}/main.ts`;
    await Deno.writeTextFile(main, script);
    const runs = await Promise.all(
      Array.from({ length: 4 }, () =>
        new Deno.Command(Deno.execPath(), {
          args: ["run", "-A", "--quiet", "--no-check", main],
          stderr: "inherit",
        }).output()),
    );
    const said = new Set(runs.map(({ stdout }) => new TextDecoder().decode(stdout)));
    strictEqual(said.size, 1, "all found the same file");
    match([...said][0] ?? "", /libupcall-\w+\.so \d+/);
    strictEqual(entries(cacheDirectory).length, 3); // library, lock, main.ts
  },
);

buildTest(
  "findLibrary() shows what the compiler said, and leaves nothing",
  async (cacheDirectory) => {
    const bad = await source("bad.c", "int broken(void) { return no_such_name; }\n");
    const sources = [...await toy(), bad];
    await rejects(
      findLibrary({ cacheDirectory, sources }),
      isCode("compile", /no_such_name/),
    );
    deepStrictEqual(entries(cacheDirectory), ["lock"]);
  },
);

buildTest("findLibrary() refuses to link what is not defined", async (cacheDirectory) => {
  const [header, , main] = await toy();
  if (header === undefined || main === undefined) {
    throw new Error("the toy has three files");
  }
  const sources = [header, main];
  await rejects(findLibrary({ cacheDirectory, sources }), isCode("compile", /toy_half/));
});

buildTest(
  "findLibrary() refuses a source that is not the pinned one",
  async (cacheDirectory) => {
    const sources = (await toy()).map((one) =>
      one.name === "half.c"
        ? {
          ...one,
          load: () => Promise.resolve({ default: "int toy_half(void){return 0;}" }),
        }
        : one
    );
    await rejects(
      findLibrary({ cacheDirectory, sources }),
      isCode("integrity", /half\.c/),
    );
    deepStrictEqual(entries(cacheDirectory), ["lock"]);
  },
);

buildTest(
  "findLibrary() names a wrong source though others are still on their way",
  async (cacheDirectory) => {
    const sources = (await toy()).map((one) => ({
      ...one,
      sha256: one.name === "half.c" ? "0" : one.sha256,
      load: async () => {
        if (one.name !== "half.c") await new Promise((done) => setTimeout(done, 50));
        return await one.load();
      },
    }));
    await rejects(
      findLibrary({ cacheDirectory, sources }),
      isCode("integrity", /half\.c/),
    );
    deepStrictEqual(entries(cacheDirectory), ["lock"]);
  },
);

buildTest("buildLibrary() copies what was built before", async (cacheDirectory) => {
  const outputs = await Deno.makeTempDir({ prefix: "upcall-output-" });
  try {
    const options = { cacheDirectory, sources: await toy() };
    const output = `${outputs}/libtoy.so`;
    await buildLibrary(output, { ...options, portable: true });
    const [name = ""] = entries(cacheDirectory);
    const { mtime } = await Deno.stat(`${cacheDirectory}/${name}`);
    await buildLibrary(output, { ...options, portable: true });
    deepStrictEqual(entries(cacheDirectory), [name, "lock"], "nothing new was compiled");
    deepStrictEqual((await Deno.stat(`${cacheDirectory}/${name}`)).mtime, mtime);
    // Another machine's is not this one's.
    await findLibrary(options);
    strictEqual(entries(cacheDirectory).length, 3);
    deepStrictEqual(entries(outputs), ["libtoy.so"]);
    strictEqual(((await Deno.stat(output)).mode ?? 0) & 0o777, 0o755);
    using library = openLibrary(output, { symbols: toySymbols });
    strictEqual(library.symbols.toy(), 42);
    // Where the folder may not be used, the output's own does.
    await Deno.chmod(cacheDirectory, 0o777);
    await buildLibrary(`${outputs}/second.so`, { ...options, portable: true });
    deepStrictEqual(entries(outputs), ["libtoy.so", "second.so"]);
  } finally {
    await Deno.remove(outputs, { recursive: true });
  }
});

buildTest("findLibrary() removes what a killed build left", async (cacheDirectory) => {
  await Deno.mkdir(`${cacheDirectory}/build-abandoned`);
  await findLibrary({ cacheDirectory, sources: await toy() });
  strictEqual(entries(cacheDirectory).includes("build-abandoned"), false);
});

buildTest("findLibrary() names the packages that are missing", async (cacheDirectory) => {
  const tools = await Deno.makeTempDir();
  const find = (): Promise<string> =>
    findLibrary({ cacheDirectory, toolPath: tools, sources: [] });
  const link = (name: string): Promise<void> =>
    Deno.symlink(`/usr/bin/${name}`, `${tools}/${name}`);
  const write = (name: string, body: string): Promise<void> =>
    Deno.writeTextFile(`${tools}/${name}`, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  try {
    const all = /apt-get install gcc libc6-dev pkg-config libdpdk-dev$/;
    await rejects(find(), isCode("tool", all));
    await link("cc");
    await rejects(
      find(),
      isCode("tool", /: pkg-config not .*install pkg-config libdpdk-dev$/),
    );
    await write("pkg-config", "echo no libdpdk >&2; exit 1");
    await rejects(
      find(),
      isCode("tool", /libdpdk\.pc.* not found.*install libdpdk-dev$/),
    );
    await Deno.remove(`${tools}/cc`);
    await rejects(find(), isCode("tool", /apt-get install gcc libc6-dev libdpdk-dev$/));
  } finally {
    await Deno.remove(tools, { recursive: true });
  }
});

buildTest("findLibrary() tells about a slow build only", async (cacheDirectory) => {
  const tools = await Deno.makeTempDir();
  const told: string[] = [];
  const options = async (answer: number): Promise<BuildOptions> => ({
    cacheDirectory,
    sources: await toy(answer),
    onProgress: (message) => void told.push(message),
  });
  try {
    await Deno.symlink("/usr/bin/pkg-config", `${tools}/pkg-config`);
    await Deno.writeTextFile(
      `${tools}/cc`,
      '#!/bin/sh\nPATH=/usr/bin:/bin\ncase "$*" in *-shared*) sleep 1.1;; esac\nexec cc "$@"\n',
      { mode: 0o755 },
    );
    await findLibrary({ ...await options(1), toolPath: tools });
    strictEqual(told.length, 2);
    match(told[0] ?? "", /^upcall: compiling the datapath .*2 of 3 files done/);
    match(told[1] ?? "", /^upcall: compiled in \d+\.\d s$/);
  } finally {
    await Deno.remove(tools, { recursive: true });
  }
});

Deno.test("findLibrary() takes the option before UPCALL_LIBRARY before all else", async () => {
  const before = Deno.env.get("UPCALL_LIBRARY");
  try {
    Deno.env.set("UPCALL_LIBRARY", "/named/by/variable.so");
    strictEqual(
      await findLibrary({ path: "/named/by/option.so" }),
      "/named/by/option.so",
    );
    strictEqual(await findLibrary(), "/named/by/variable.so");
    strictEqual(await findLibrary({ path: "relative.so" }), `${Deno.cwd()}/relative.so`);
  } finally {
    if (before === undefined) Deno.env.delete("UPCALL_LIBRARY");
    else Deno.env.set("UPCALL_LIBRARY", before);
  }
});

Deno.test(
  "cacheDirectory() of root is not in another user's home",
  skippable(async () => {
    if (Deno.uid() !== 0) throw new Unsupported("root", { requirement: "netdev" });
    const saved = ["HOME", "XDG_CACHE_HOME"].map((name) =>
      [name, Deno.env.get(name)] as const
    );
    const home = await Deno.makeTempDir();
    try {
      Deno.env.delete("XDG_CACHE_HOME");
      Deno.env.set("HOME", home);
      strictEqual(cacheDirectory(), `${home}/.cache/upcall`);
      await Deno.chown(home, 65534, 65534);
      strictEqual(cacheDirectory(), "/var/cache/upcall");
      Deno.env.set("XDG_CACHE_HOME", "relative/is/ignored");
      strictEqual(cacheDirectory(), "/var/cache/upcall");
      Deno.env.delete("HOME");
      strictEqual(cacheDirectory(), "/var/cache/upcall");
    } finally {
      for (const [name, value] of saved) {
        if (value === undefined) Deno.env.delete(name);
        else Deno.env.set(name, value);
      }
      await Deno.remove(home, { recursive: true });
    }
  }),
);

buildTest("findLibrary() takes no library from a folder of others", async (base) => {
  const sources = await toy();
  const outer = `${base}/outer`;
  const cacheDirectory = `${outer}/cache`;
  const find = (): Promise<string> => findLibrary({ cacheDirectory, sources });
  const path = await find();

  await Deno.chmod(cacheDirectory, 0o770);
  await rejects(find(), isCode("permission", /others may write to it \(mode 0770\)/));
  await Deno.chmod(cacheDirectory, 0o700);
  await Deno.chmod(outer, 0o777);
  await rejects(find(), isCode("permission", /everybody may write to \S+outer,/));
  await Deno.chmod(outer, 0o1777);
  strictEqual(await find(), path, "nobody can replace it in a sticky folder");
  await Deno.chmod(outer, 0o700);

  // A library that others may write to is made anew.
  const { ino } = await Deno.stat(path);
  await Deno.chmod(path, 0o775);
  strictEqual(await find(), path);
  const made = await Deno.stat(path);
  notStrictEqual(made.ino, ino);
  strictEqual((made.mode ?? 0) & 0o777, 0o700);
});

buildTest("findLibrary() of root takes no library of another user", async (base) => {
  if (Deno.uid() !== 0) throw new Unsupported("root", { requirement: "netdev" });
  const sources = await toy();
  const cacheDirectory = `${base}/cache`;
  const find = (at = cacheDirectory): Promise<string> =>
    findLibrary({ cacheDirectory: at, sources });
  const path = await find();
  await Deno.chown(path, 12345, 12345);
  const { ino } = await Deno.stat(path);
  strictEqual(await find(), path);
  notStrictEqual((await Deno.stat(path)).ino, ino, "made anew");
  await Deno.chown(cacheDirectory, 12345, 12345);
  await rejects(find(), isCode("permission", /it belongs to user 12345/));
  await Deno.chown(cacheDirectory, 0, 0);
  await Deno.symlink(cacheDirectory, `${base}/link`);
  strictEqual(await find(`${base}/link`), path.replace("/cache/", "/link/"));
  await new Deno.Command("chown", { args: ["-h", "12345", `${base}/link`] }).output();
  await rejects(find(`${base}/link`), isCode("permission", /is a link of user 12345/));
});

Deno.test(
  "cacheDirectory() of root is root's own without --allow-sys, too",
  skippable(async () => {
    if (Deno.uid() !== 0) throw new Unsupported("root", { requirement: "netdev" });
    const home = await Deno.makeTempDir();
    try {
      await Deno.chown(home, 65534, 65534);
      const script = `import { cacheDirectory } from ${
        JSON.stringify(import.meta.resolve("./build_cache.ts"))
      }; console.log(cacheDirectory());`;
      const main = `${home}/main.ts`;
      await Deno.writeTextFile(main, script);
      const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "--quiet", "--no-check", "--no-prompt", "--no-lock"]
          .concat("--allow-ffi", "--allow-env", `--allow-read=${home}`, main),
        env: { HOME: home, XDG_CACHE_HOME: "", DENO_DIR: `${home}/deno` },
      }).output();
      const text = new TextDecoder();
      strictEqual(text.decode(stdout).trim(), "/var/cache/upcall", text.decode(stderr));
    } finally {
      await Deno.remove(home, { recursive: true });
    }
  }),
);
