// SPDX-License-Identifier: Apache-2.0
/**
 * Open vSwitch's own test suite with our daemon in the place of ovs-vswitchd.
 *
 * The tests are those of Debian's package openvswitch-source; the tools that they call are Debian's
 * too. `deno task test:ovs-suite [KEYWORD|NUMBER...]` runs some of them, `ofproto` if nothing is
 * said, and compares with the list of those that pass: `tests/ovsdb/suite_passes.txt`. `--write`
 * adds those to the list that pass now, and takes those off that do not; `--add` adds only;
 * `--jobs=N` runs N at a time; `--folder=FOLDER` makes the suite there, or uses what was made
 * there.
 *
 * @module
 */
import { root } from "../support/tree.ts";

const TARBALL = "/usr/src/openvswitch/openvswitch.tar.gz";
const LIST = `${root}tests/ovsdb/suite_passes.txt`;

const localSettings: Readonly<Record<string, string>> = {
  PYTHON3: "python3",
  EGREP: "grep -E",
  CFLAGS: "-O2",
  HAVE_OPENSSL: "no",
  OPENSSL_SUPPORTS_SNI: "no",
  HAVE_UNBOUND: "no",
};

async function run(
  program: string,
  args: readonly string[],
  cwd: string,
  env: Record<string, string> = {},
): Promise<number> {
  const { status } = new Deno.Command(program, {
    args: [...args],
    cwd,
    env,
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  return (await status).code;
}

/** Makes the suite in a folder: `tests/testsuite` in the folder that is returned. */
async function make(folder: string): Promise<string> {
  await Deno.mkdir(folder, { recursive: true });
  const made = `${folder}/openvswitch/tests/testsuite`;
  if (await Deno.stat(made).then(() => true, () => false)) return `${folder}/openvswitch`;
  const code = await run("tar", ["xf", TARBALL], folder);
  if (code !== 0) throw new Error(`cannot read ${TARBALL}: install openvswitch-source`);
  const top = `${folder}/openvswitch`;
  const args = ["--language=autotest", "-I", ".", "-o", "tests/testsuite"];
  if (await run("autom4te", [...args, "tests/testsuite.at"], top) !== 0) {
    throw new Error("autom4te failed: install autoconf");
  }
  await Deno.chmod(`${top}/tests/testsuite`, 0o755);
  const local = await Deno.readTextFile(`${top}/tests/atlocal.in`);
  await Deno.writeTextFile(
    `${top}/tests/atlocal`,
    // On a machine with other work a test may take longer than one of its commands may run.
    local.replace(/@(\w+)@/g, (_, name) => localSettings[name] ?? "")
      .replace(/OVS_CTL_TIMEOUT=\d+/, "OVS_CTL_TIMEOUT=60"),
  );
  const places = ["abs_top_srcdir", "abs_top_builddir"].map((name) => `${name}='${top}'`);
  await Deno.writeTextFile(
    `${top}/tests/atconfig`,
    [
      "at_testdir='tests'",
      `abs_builddir='${top}/tests'`,
      `at_srcdir='.'`,
      `abs_srcdir='${top}/tests'`,
      "at_top_srcdir='..'",
      ...places,
      "at_top_build_prefix='../'",
      `AUTOTEST_PATH='tests'`,
      "SHELL=${CONFIG_SHELL-'/bin/sh'}",
      "",
    ].join("\n"),
  );
  return top;
}

/** What became of a test, and the file that it is in. */
interface Outcome {
  readonly title: string;
  readonly what: string;
  readonly file: string;
}

/** What became of tests. */
async function outcomes(top: string): Promise<Outcome[]> {
  const found: Outcome[] = [];
  const text = await Deno.readTextFile(`${top}/tests/testsuite.log`);
  for (const line of text.split("\n")) {
    // Behind the number and the place of a test that failed its number is said again.
    const parts = /^(?:\d+\. \S+: +)?\d+\. (.*) \((\S+):\d+\): +(ok|FAILED|skipped)/.exec(
      line,
    );
    const [, title, file, what] = parts ?? [];
    if (title !== undefined && file !== undefined && what !== undefined) {
      found.push({ title, what, file });
    }
  }
  return found;
}

async function main(args: readonly string[]): Promise<number> {
  const words = args.filter((arg) => !arg.startsWith("--"));
  const folder = args.find((arg) => arg.startsWith("--folder="))?.slice(9) ??
    await Deno.makeTempDir({ prefix: "suite" });
  const top = await make(folder);
  const which = words.length === 0 ? ["ofproto"] : words;
  const chosen = which.flatMap((word) => /^[\d-]+$/.test(word) ? [word] : ["-k", word]);
  const path = `${root}packaging:/usr/sbin:/usr/bin:/sbin:/bin`;
  const jobs = args.find((arg) => arg.startsWith("--jobs="))?.slice(7) ?? "1";
  const tests = ["./testsuite", `-j${jobs}`, ...chosen, `AUTOTEST_PATH=${path}`];
  await run("sh", tests, `${top}/tests`, {
    PATH: `${root}packaging:${Deno.env.get("PATH") ?? ""}:/usr/sbin`,
  });
  const all = await outcomes(top);
  const good = (some: readonly Outcome[]): number =>
    some.filter(({ what }) => what === "ok").length;
  console.log(`${good(all)} of ${all.length} ok, in ${top}/tests/testsuite.dir`);
  for (const [file, some] of Map.groupBy(all, ({ file }) => file)) {
    console.log(`${file}: ${good(some)} of ${some.length}`);
  }
  // Of several with one title, all must pass.
  const became = new Map<string, string>();
  for (const { title, what } of all) {
    if ((became.get(title) ?? "ok") === "ok") became.set(title, what);
  }
  const ok = [...became].filter(([, what]) => what === "ok").map(([title]) => title);
  const list = await Deno.readTextFile(LIST).catch(() => "");
  const expected = new Set(list.split("\n").filter((line) => line !== ""));
  const adds = args.includes("--add");
  if (adds || args.includes("--write")) {
    const kept = [...expected].filter((title) => adds || !became.has(title));
    const listed = [...new Set([...kept, ...ok])].sort();
    await Deno.writeTextFile(LIST, listed.map((title) => `${title}\n`).join(""));
    if (!adds) return 0;
  }
  const lost = [...became].filter(([title, what]) =>
    expected.has(title) && what !== "ok"
  );
  for (const [title, what] of lost) console.error(`passed before, ${what} now: ${title}`);
  return lost.length === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
