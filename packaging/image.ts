// SPDX-License-Identifier: Apache-2.0
/**
 * Builds the image of `Containerfile`, for `deno task image`: by podman, buildah or docker,
 * whichever is there.
 *
 *     deno task image [--tag NAME] [--bases MIRROR]
 *
 * `--bases` first makes the two images that it begins with, for machines that reach a mirror of
 * Debian and no registry of images: the file system by mmdebstrap, and the Deno that runs this.
 * Needs buildah then, and root.
 *
 * @module
 */
import { parseArgs } from "node:util";

const root = new URL("../", import.meta.url).pathname;
const containerfile = `${root}packaging/Containerfile`;

/** Engines, in the order in which they are taken. */
const engines = ["podman", "buildah", "docker"] as const;

/** Runs a program with its output shown; throws where it fails. */
async function run(program: string, ...args: string[]): Promise<void> {
  const { success } = await new Deno.Command(program, {
    args,
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`Cannot make the image: ${program} ${args[0]} failed`);
}

async function isThere(program: string): Promise<boolean> {
  try {
    const quiet = { stdin: "null", stdout: "null", stderr: "null" } as const;
    return (await new Deno.Command(program, { args: ["--version"], ...quiet }).output())
      .success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** The images that the Containerfile begins with, by what they are for. */
async function baseNames(): Promise<{ readonly deno: string; readonly debian: string }> {
  const text = await Deno.readTextFile(containerfile);
  const names = [...text.matchAll(/^FROM (\S+)/gm)].map(([, name = ""]) => name);
  const deno = names.find((name) => name.includes("/denoland/deno:"));
  const debian = names.find((name) => name.includes("/debian:"));
  if (deno === undefined || debian === undefined) throw new Error(`no bases: ${names}`);
  return { deno, debian };
}

/** Makes them under their names, so that nothing is pulled. */
async function makeBases(mirror: string): Promise<void> {
  const { deno, debian } = await baseNames();
  const suite = { "12": "bookworm", "13": "trixie" }[/:(\d+)/.exec(debian)?.[1] ?? ""];
  if (suite === undefined) throw new Error(`no name of a suite of Debian for ${debian}`);
  const work = await Deno.makeTempDir({ prefix: "upcall-image-" });
  try {
    await run("mmdebstrap", "--variant=minbase", suite, `${work}/debian.tar`, mirror);
    await Deno.copyFile(Deno.execPath(), `${work}/deno`);
    await makeBase(debian, ["ADD debian.tar /"], work);
    await makeBase(deno, ["COPY deno /deno"], work);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

async function makeBase(
  name: string,
  lines: readonly string[],
  work: string,
): Promise<void> {
  await Deno.writeTextFile(
    `${work}/Containerfile`,
    ["FROM scratch", ...lines, ""].join("\n"),
  );
  await run("buildah", "bud", "-f", `${work}/Containerfile`, "-t", name, work);
}

/** Builds the image, and gives the engine that has it. */
export async function makeImage(
  { tag, bases }: { readonly tag: string; readonly bases?: string | undefined },
): Promise<string> {
  if (bases !== undefined) {
    await makeBases(bases);
    // A kernel whose control groups no runtime likes is enough for chroot(2).
    const words = ["bud", "--pull-never", "--isolation", "chroot", "-f", containerfile];
    await run("buildah", ...words, "-t", tag, root);
    return "buildah";
  }
  for (const engine of engines) {
    if (!await isThere(engine)) continue;
    await run(
      engine,
      engine === "buildah" ? "bud" : "build",
      "-f",
      containerfile,
      "-t",
      tag,
      root,
    );
    return engine;
  }
  throw new Error(`Cannot make the image: none of ${engines.join(", ")} is installed`);
}

if (import.meta.main) {
  const { values: { tag, bases, help } } = parseArgs({
    args: Deno.args,
    options: {
      tag: { type: "string", default: "localhost/upcall" },
      bases: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (help) console.log("usage: deno task image [--tag NAME] [--bases MIRROR]");
  else {
    try {
      console.log(`made ${tag} by ${await makeImage({ tag, bases })}`);
    } catch (error) {
      console.error((error as Error).message);
      Deno.exit(1);
    }
  }
}
