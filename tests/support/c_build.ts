// SPDX-License-Identifier: Apache-2.0
/**
 * Compiles the C units together with a test or a fuzzer, under sanitizers. Objects are kept
 * in the cache folder by a hash of all they depend on, so that only what changed is compiled
 * again.
 *
 * @module
 */
import { objectsOf, sourceNames } from "../../ffi/build.ts";
import { cacheDirectory } from "../../ffi/build_cache.ts";
import { compileFlags, machineFlags, warningFlags } from "../../ffi/flags.ts";
import { LibraryError } from "../../ffi/library.ts";
import { dpdkFlags, findToolchain } from "../../ffi/toolchain.ts";
import { Unsupported } from "./skip.ts";

/** Folder of the C sources. */
export const cDirectory = new URL("../../c/", import.meta.url).pathname;

/** Folder of the tests written in C. */
export const testDirectory = new URL("../c/", import.meta.url).pathname;

const checkout = cDirectory.slice(0, -"c/".length);

/** A set of sanitizers that go together, and the compiler that has them. */
export type Instrument = "address" | "thread" | "fuzzer" | "none" | "speed" | "count";

/** Compiles the checks of `c/base/invariant.h` in. */
const invariants = "-DUPCALL_INVARIANTS";

const instruments: Readonly<
  Record<Instrument, { cc: string; flags: readonly string[] }>
> = {
  none: { cc: "cc", flags: ["-O1", "-g1"] },
  speed: { cc: "cc", flags: ["-O3", "-g1"] }, // As users' builds: for benches.
  // For valgrind, which knows no AVX-512, and the same on every machine.
  count: { cc: "cc", flags: ["-O3", "-g1", "-march=haswell", "-maes"] },
  address: {
    cc: "cc",
    flags: [
      "-O1",
      "-g1",
      "-fno-omit-frame-pointer",
      "-fsanitize=address,undefined",
      "-fno-sanitize-recover=all",
      invariants,
    ],
  },
  thread: {
    cc: "cc",
    // DPDK's rings with atomics of C11: what they do otherwise cannot be seen to be ordered.
    flags: [
      "-O1",
      "-g1",
      "-fno-omit-frame-pointer",
      "-fsanitize=thread",
      "-DRTE_USE_C11_MEM_MODEL",
      invariants,
    ],
  },
  fuzzer: {
    cc: "clang",
    flags: [
      "-O1",
      "-g1",
      "-fno-omit-frame-pointer",
      "-fsanitize=fuzzer-no-link,address,undefined",
      "-fno-sanitize-recover=all",
      invariants,
    ],
  },
};

/**
 * What a unit, or a test of one, is held to where it is compiled as users' builds are: all warnings
 * but one, which guesses that a loop may not run.
 */
function strictFlags(instrument: Instrument): readonly string[] {
  return instrument === "speed" ? [...warningFlags, "-Wno-maybe-uninitialized"] : [];
}

/** Flags of the link that make the program a fuzzer or load the sanitizer's runtime. */
function linkFlags(instrument: Instrument): string[] {
  return instruments[instrument].flags.filter((flag) => flag.startsWith("-fsanitize="))
    .map((flag) => flag.replace("fuzzer-no-link", "fuzzer"));
}

/**
 * Compiles `main` with the units that it asks for into a program. Throws `Unsupported` when the
 * machine has no compiler, `LibraryError` with the compiler's words when it refuses.
 */
export async function buildProgram(
  main: string,
  options: { instrument: Instrument },
): Promise<string> {
  const { instrument } = options;
  const folder = main.slice(0, main.lastIndexOf("/") + 1);
  const { cc, common, headers, link: dpdkLink } = await compilation(instrument);
  const text = await Deno.readTextFile(main);
  const { link } = directives(text);
  const units = objectsOf(await linked(link));
  const strict = strictFlags(instrument);
  // Units include nothing of the tests: those of all folders share them.
  const objects = await compileAll(cc, [
    ...units.map(({ source, flags }) => ({
      path: cDirectory + source,
      flags: [...flags, ...strict],
      salt: headers,
    })),
    {
      path: main,
      flags: folder === testDirectory ? strict : [],
      salt: headers + await includesOf(text, folder),
    },
  ], common);
  const name = main.slice(main.lastIndexOf("/") + 1, -2);
  const key = (await sha256([cc, instrument, ...objects].join("\n"))).slice(0, 16);
  const program = `${await objectDirectory()}/${name}-${instrument}-${key}`;
  if (await exists(program)) return program;
  await into(
    program,
    (temporary) =>
      runCompiler(cc, [
        ...linkFlags(instrument),
        ...objects,
        ...dpdkLink,
        "-Wl,--gc-sections",
        "-lm",
        "-lpthread",
        "-o",
        temporary,
      ]),
  );
  return program;
}

/** Compiles a test as users' builds are, without a link: a warning is an error. */
export async function compileTest(name: string): Promise<void> {
  const { cc, common, headers } = await compilation("speed");
  const main = testDirectory + name;
  const salt = headers + await includesOf(await Deno.readTextFile(main), testDirectory);
  await cachedObject(cc, main, { flags: [...common, ...strictFlags("speed")], salt });
}

/**
 * The object files of every unit of `c/`, as users have them, one for each of its builds. A warning
 * is an error.
 */
export async function unitObjects(): Promise<{ source: string; object: string }[]> {
  const { cc, common, headers } = await compilation("speed");
  const units = objectsOf((await filesOf(".c")).map((name) => ({ name })));
  const objects = await compileAll(
    cc,
    units.map(({ source, flags }) => ({
      path: cDirectory + source,
      flags: [...flags, ...strictFlags("speed")],
      salt: headers,
    })),
    common,
  );
  return units.map(({ source }, at) => ({ source, object: objects[at] ?? "" }));
}

/** The compiler, the flags, and the hash of the headers of `c/`, that go into an object. */
async function compilation(
  instrument: Instrument,
): Promise<{ cc: string; common: string[]; headers: string; link: string[] }> {
  const { cc, flags } = instruments[instrument];
  const dpdk = await toolchainFlags();
  const common = [
    ...compileFlags.filter((flag) => !flag.startsWith("-O") && flag !== "-g0"),
    ...dpdk.compile,
    ...machineFlags,
    `-I${cDirectory}`,
    // With --gc-sections: a unit may refer to others in functions that the test never needs.
    "-ffunction-sections",
    "-fdata-sections",
    ...flags,
  ];
  const headers = await digestOfHeaders();
  return { cc, common, headers, link: dpdk.link };
}

/** Objects that were asked for: hundreds of tests link the same, and nothing changes meanwhile. */
const compiled = new Map<string, Promise<string>>();

/** A hash of all headers of `c/`, read once. */
let headerDigest: Promise<string> | undefined;
const digestOfHeaders = (): Promise<string> =>
  headerDigest ??= filesOf(".h").then((names) => digestOf(cDirectory, names));

/** Compiles files side by side; the objects come in the files' order. */
async function compileAll(
  cc: string,
  jobs: readonly { path: string; flags: readonly string[]; salt: string }[],
  common: readonly string[],
): Promise<string[]> {
  const objects: string[] = [];
  await beside(jobs, async ({ path, flags, salt }, at) => {
    const all = [...common, ...flags];
    const asked = [cc, path, salt, ...all].join("\0");
    let made = compiled.get(asked);
    if (made === undefined) {
      made = cachedObject(cc, path, { flags: all, salt });
      compiled.set(asked, made);
    }
    objects[at] = await made;
  });
  return objects;
}

/**
 * Does something with each item, as many beside each other as there are processors, and throws
 * afterwards what went wrong: the first `Unsupported`, or all texts in one error.
 */
export async function beside<T>(
  items: readonly T[],
  work: (item: T, at: number) => Promise<void>,
): Promise<void> {
  const failures: unknown[] = [];
  const queue = items.entries();
  const worker = async (): Promise<void> => {
    for (const [at, item] of queue) {
      await work(item, at).catch((error) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: navigator.hardwareConcurrency }, worker));
  const missing = failures.find((error) => error instanceof Unsupported);
  if (missing !== undefined || failures.length === 1) throw missing ?? failures[0];
  if (failures.length > 0) throw new Error(failures.map(String).join("\n"));
}

/**
 * Checks one file with all warnings as errors. That it passed is kept as an object is, so that only
 * what changed is checked again.
 */
export async function checkWarnings(
  path: string,
  extra: readonly string[] = [],
): Promise<void> {
  const dpdk = await toolchainFlags();
  const flags = [
    ...compileFlags,
    ...dpdk.compile,
    ...machineFlags,
    ...warningFlags,
    ...extra,
    `-I${cDirectory}`,
    "-fsyntax-only",
    ...(path.endsWith(".h") ? ["-x", "c", "-Wno-unused-function"] : []),
  ];
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  const salt = await digestOfHeaders() +
    await includesOf(await Deno.readTextFile(path), folder);
  const passed = `${await objectDirectory()}/${await objectKey("cc", path, {
    flags,
    salt,
  })}.passed`;
  if (await exists(passed)) return;
  await runCompiler("cc", [...flags, path]);
  await into(passed, (temporary) => Deno.writeTextFile(temporary, ""));
}

async function toolchainFlags(): Promise<{ compile: string[]; link: string[] }> {
  try {
    await findToolchain();
    return await dpdkFlags();
  } catch (error) {
    if (!(error instanceof LibraryError) || error.code !== "tool") throw error;
    throw new Unsupported("C compiler with DPDK's headers", { requirement: "netdev" });
  }
}

/** Paths in `c/` that end so. */
export async function filesOf(ending: ".c" | ".h"): Promise<string[]> {
  const names = await sourceNames(new URL(`file://${cDirectory}`));
  return names.filter((name) => name.endsWith(ending));
}

/** What the first comment of a test or fuzzer asks for. */
export interface Directives {
  /** `link: cls/*.c base/hash.c`: the units to link; all if absent or `link: everything`. */
  readonly link: readonly string[] | undefined;
  /** `sanitize: address thread`: one program for each; `address` (with UBSan) if absent. */
  readonly sanitize: readonly ("address" | "thread")[];
}

/** Reads the lines `word: values` of the first comment. Commas separate as blanks do. */
export function directives(text: string): Directives {
  const comment = text.slice(0, Math.max(0, text.indexOf("*/")));
  const values = (word: string): string[] | undefined =>
    new RegExp(`^[ /*]*${word}: *(.*)$`, "m").exec(comment)?.[1]
      ?.split(/[\s,]+/).filter((value) => value !== "");
  const asked = new Set(values("sanitize") ?? ["address"]);
  for (const value of asked) {
    if (!["address", "undefined", "thread"].includes(value)) {
      throw new SyntaxError(`Cannot sanitize "${value}"`);
    }
  }
  const sanitize: ("address" | "thread")[] = [];
  if (asked.has("address") || asked.has("undefined")) sanitize.push("address");
  if (asked.has("thread")) sanitize.push("thread");
  const link = values("link");
  return { link: link?.includes("everything") ? undefined : link, sanitize };
}

/** The units that patterns such as `cls/*.c` name; a name that fits none is an error. */
async function linked(link: readonly string[] | undefined): Promise<{ name: string }[]> {
  const names = await filesOf(".c");
  if (link === undefined) return names.map((name) => ({ name }));
  const chosen = new Set<string>();
  for (const pattern of link) {
    const fits = new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", ".*")}$`);
    const found = names.filter((name) => fits.test(name));
    if (found.length === 0 && !pattern.includes("*")) {
      throw new Error(`Cannot link ${pattern}: there is no such unit`);
    }
    for (const name of found) chosen.add(name);
  }
  return [...chosen].map((name) => ({ name }));
}

/**
 * A hash of what a test in `folder` may include beside the headers of `c/`: headers beside it,
 * units, and headers of other folders of tests (`../c/…`), which fuzzers and benches share.
 */
export async function includesOf(text: string, folder: string): Promise<string> {
  const headers = headersOf(folder);
  const texts = await Promise.all(
    headers.map((name) => Deno.readTextFile(folder + name)),
  );
  const included = [text, ...texts].flatMap((source) =>
    [...source.matchAll(/^#include "(.*)"/gm)].map(([, name = ""]) => name)
  );
  const units = included.filter((name) => /^[^.].*\.c$/.test(name));
  const others = included.flatMap((name) =>
    /^(\.\.\/.*\/)[^/]+$/.exec(name)?.slice(1) ?? []
  );
  const hashes = await Promise.all(
    [...new Set(others)].map((other) =>
      digestOf(folder + other, headersOf(folder + other))
    ),
  );
  return await sha256(JSON.stringify([headers, texts])) +
    await digestOf(cDirectory, units) + hashes.join("");
}

function headersOf(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => name.endsWith(".h")).sort();
}

async function digestOf(folder: string, names: readonly string[]): Promise<string> {
  const texts = await Promise.all(names.map((name) => Deno.readTextFile(folder + name)));
  return await sha256(JSON.stringify([names, texts]));
}

async function cachedObject(
  cc: string,
  source: string,
  { flags, salt }: { flags: readonly string[]; salt: string },
): Promise<string> {
  const key = await objectKey(cc, source, { flags, salt });
  const object = `${await objectDirectory()}/${key}.o`;
  if (!await exists(object)) {
    await into(object, (path) => runCompiler(cc, [...flags, "-c", source, "-o", path]));
  }
  return object;
}

/** What tells apart all that comes of a source. */
async function objectKey(
  cc: string,
  source: string,
  { flags, salt }: { flags: readonly string[]; salt: string },
): Promise<string> {
  const text = await Deno.readTextFile(source);
  // Without the place of the checkout: two checkouts of the same sources share their objects.
  const parts = JSON.stringify([cc, flags, salt, source, text]).replaceAll(checkout, "");
  return (await sha256(parts)).slice(0, 24);
}

/** Writes `path` by way of another name, so that it is whole or not there. */
async function into(
  path: string,
  write: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    await write(temporary);
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}

async function runCompiler(cc: string, args: readonly string[]): Promise<void> {
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(cc, {
      args: [...args],
      env: { LC_ALL: "C" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).output();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Unsupported(cc, { requirement: "tool" });
  }
  if (output.success) return;
  const said = new TextDecoder().decode(output.stderr);
  const what = args.find((arg) => /\.[ch]$/.test(arg)) ?? "to link";
  throw new Error(`${cc} refused ${what}:\n${said}`);
}

async function objectDirectory(): Promise<string> {
  const directory = `${cacheDirectory()}/objects`;
  await Deno.mkdir(directory, { recursive: true, mode: 0o700 });
  return directory;
}

async function sha256(text: string): Promise<string> {
  const bytes = new TextEncoder().encode(text);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
