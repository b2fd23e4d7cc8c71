// SPDX-License-Identifier: Apache-2.0
/**
 * What the examples have in common, and what is not about packets: the words of the command line,
 * complaints without a stack, a line when a program is ready, and an end when it is told to.
 *
 * @module
 */
import { serve } from "../control/serve.ts";
import { type Datapath, DatapathError } from "../mod.ts";

/** Words of a usage as words of a command line: `["DATAPATH", "[DEVICE...]"]`. */
type Words<Usage extends readonly string[]> = Usage extends
  readonly [infer First extends string, ...infer Rest extends readonly string[]]
  ? First extends `${string}...${string}` ? string[]
  : First extends `[--${string}` ? Words<Rest>
  : First extends `[${string}` ? [string?, ...Words<Rest>]
  : [string, ...Words<Rest>]
  : [];

/** What words must look like, by their names in a usage. */
const looks: Readonly<Record<string, (word: string) => boolean>> = {
  IPV4: (word) => /^(\d{1,3}\.){3}\d{1,3}$/.test(word),
  IPV6: (word) => URL.canParse(`http://[${word}]`),
  PERCENT: (word) => Number(word) >= 0 && Number(word) <= 100,
  SECONDS: (word) => Number(word) > 0,
};

/**
 * The words of the command line, which must be those of a usage: `WORD`, `[WORD]` that may be
 * absent, `[WORD...]` for any number, `[--NAME=WORD]`, which `option()` reads. Otherwise, and for
 * `--help`, prints how the program is called, and ends it.
 */
export function words<const Usage extends readonly string[]>(
  ...usage: Usage
): Words<Usage> {
  const given = Deno.args.filter((word) => !word.startsWith("--"));
  const options = Deno.args.filter((word) => word.startsWith("--"));
  const positions = usage.filter((word) => !word.startsWith("[--"));
  const least = positions.filter((word) => !word.startsWith("[")).length;
  const isMany = positions.at(-1)?.includes("...") === true;
  const help = `usage: deno run -A ${shown(Deno.mainModule)} ${usage.join(" ")}`;
  if (options.includes("--help")) {
    console.log(purpose() + help);
    Deno.exit(0);
  }
  const end = (complaint: string): never => {
    console.error(`${complaint}\n${help}`);
    Deno.exit(1);
  };
  const nameOf = (word: string | undefined): string =>
    word?.match(/[A-Z]\w*$|[A-Z]\w*/)?.[0] ?? "";
  const check = (name: string, word: string): void => {
    if (looks[name]?.(word) === false) end(`"${word}" is no ${name}`);
  };
  if (given.length < least) end(`${nameOf(positions[given.length])} is missing`);
  if (!isMany && given.length > positions.length) {
    end(`"${given[positions.length]}" is a word too many`);
  }
  for (const [i, word] of given.entries()) check(nameOf(positions[i]), word);
  for (const option of options) {
    const [name = "", value = ""] = option.split("=", 2);
    const known = usage.find((word) => word.startsWith(`[${name}=`));
    if (known === undefined) end(`there is no option ${name}`);
    else check(nameOf(known.split("=")[1]), value);
  }
  addEventListener("unhandledrejection", (event) => {
    const { reason } = event;
    // What a datapath refuses is the user's to mend; the rest is a fault of the program.
    const isExpected = reason instanceof DatapathError ||
      (reason instanceof Error && reason.message.startsWith("Cannot "));
    if (!isExpected) return;
    event.preventDefault();
    console.error(reason.message);
    Deno.exit(1);
  });
  return given as Words<Usage>;
}

/** What an example is for, and a command that starts it, from the comment that it begins with. */
export function aboutExample(
  text: string,
): { readonly about: string; readonly command: string | undefined } {
  const block = /^(?:\/\/ SPDX[^\n]*\n)?\/\*\*([^]*?)\*\//.exec(text)?.[1];
  const lines = block === undefined
    ? /^(?:\/\/[^\n]*\n)+/.exec(text)?.[0].split("\n").map((line) => line.slice(3)) ?? []
    : block.split("\n").map((line) => line.replace(/^ ?\* ?/, ""));
  const comment = lines.filter((line) => !/^(SPDX|@module)/.test(line)).join("\n");
  const [, command] =
    /^(?:Try: | {4})((?:sudo )?deno (?:run|task) [^\n]+)/m.exec(comment) ??
      [];
  const about = comment.replace(/(Try: )?(sudo )?deno (run|task) [^\n]*/g, "")
    .replace(/[:,]\s*$/, ".").replaceAll(/\s+/g, " ").trim();
  return { about, command };
}

/** What the program is for, in a line, and an empty one; nothing where its text cannot be read. */
export function purpose(): string {
  try {
    return `${aboutExample(Deno.readTextFileSync(new URL(Deno.mainModule))).about}\n\n`;
  } catch {
    return "";
  }
}

/** The value of `--NAME=VALUE`, or what stands for it. */
export function option(name: string, otherwise: string): string {
  const prefix = `--${name}=`;
  return Deno.args.find((arg) => arg.startsWith(prefix))?.slice(prefix.length) ??
    otherwise;
}

/**
 * Says that a program is ready, lets `dpctl` ask it, and closes its datapath when it is told to
 * end: the loop over its upcalls is over then.
 */
export async function ready(dp: Datapath): Promise<void> {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => void dp.close());
  }
  const ports = [...dp.ports.dump()].filter(({ no }) => no !== 0);
  const list = ports.map(({ no, name }) => `${name} (${no})`).join(", ");
  const dpctl = `deno run -A ${shown(new URL("../dpctl.ts", import.meta.url).href)}`;
  let ask = `"${dpctl} show ${dp.fullName}" tells more`;
  if (ports.length === 0) ask = `"${dpctl} add-if ${dp.fullName} NAME" adds one`;
  try {
    await serve(dp);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    ask = `dpctl cannot ask it: ${error.message}`;
  }
  console.error(`${dp.fullName} is ready with ${list || "no ports"}; ${ask}.`);
}

/** For a program that ends by itself: Ctrl-C closes its datapath and ends it before, in order. */
export function endsByCtrlC(dp: Datapath): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => void dp.close().finally(() => Deno.exit(0)));
  }
}

/**
 * For a file that is a policy and no program: when it is run by itself, says how it is served, and
 * ends.
 */
export function toBeServed({ main, url }: ImportMeta): void {
  if (!main) return;
  const dpctl = shown(new URL("../dpctl.ts", import.meta.url).href);
  const file = shown(url);
  const isAsked = Deno.args.includes("--help");
  const say = isAsked ? console.log : console.error;
  say(
    `${
      isAsked ? purpose() : ""
    }${file} is a policy: dpctl serves it, and takes it anew when ` +
      `the file changes.\nusage: deno run -A ${dpctl} serve DATAPATH [DEVICE...] --policy ${file}\n` +
      `Without root: deno run -A ${dpctl} serve netdev@br0 p1:dummy p2:dummy --policy ${file}`,
  );
  Deno.exit(isAsked ? 0 : 1);
}

/** A module as it is written on a command line. */
function shown(url: string): string {
  const folder = `file://${Deno.cwd()}/`;
  return url.startsWith(folder)
    ? url.slice(folder.length)
    : url.replace(/^file:\/\//, "");
}
