// SPDX-License-Identifier: Apache-2.0
/**
 * The switch daemon with arguments that are nonsense, missing or given twice, and files that cannot
 * be: a line that says what is wrong, how it is called, status 1.
 */
import assert from "node:assert/strict";
import { readArguments } from "../../switchd.ts";
import { readDaemonArguments } from "../../vswitch/arguments.ts";
import { root } from "../support/tree.ts";

const wrongDaemons: readonly (readonly [line: string, said: RegExp])[] = [
  ["nonsense", /"nonsense" is not unix:PATH or tcp:HOST/],
  ["tcp:", /"tcp:" is not unix:PATH or tcp:HOST/],
  ["unix:", /"unix:" is not unix:PATH/],
  ["tcp:h:99999", /is not unix:PATH or tcp:HOST/],
  ["unix:a unix:b", /one database at most/],
  ["--nonsense", /there is no option --nonsense/],
  ["--unixctl", /--unixctl needs a value/],
  ["--unixctl=", /--unixctl= has no value/],
  ["--pidfile=", /--pidfile= has no value/],
  ["--user", /--user needs a value/],
  ["--detach --detach", /--detach is given twice/],
  ["--pidfile=a --pidfile=b", /--pidfile is given twice/],
  ["--log-file --log-file", /--log-file is given twice/],
  ["--enable-dummy=nonsense", /is override or system: it is nonsense/],
];

const wrongBridges: readonly (readonly [line: string, said: RegExp])[] = [
  ["--bridge", /--bridge needs a value/],
  ["--bridge=", /--bridge needs a value/],
  ["--port p1", /--bridge is missing/],
  ["--bridge b --bridge c", /--bridge is given twice/],
  ["--bridge b --tight --tight", /--tight is given twice/],
  ["--bridge b eth1", /there is no place for "eth1"/],
  ["--bridge b --nonsense x", /there is no option --nonsense/],
  ["--bridge b --port p:dummy:x", /--port p:dummy:x: expected DEVICE\[:TYPE\]/],
  ["--bridge b --protocols 1.0,9", /9 is no version of OpenFlow/],
  ["--bridge b --datapath-id xyz", /xyz is not 64 bits in hexadecimal/],
  ["--bridge b --listen", /--listen needs a value/],
];

Deno.test("switchd: what is wrong in a command line is named", () => {
  for (const [line, said] of wrongDaemons) {
    assert.throws(() => readDaemonArguments(line.split(" "), {}), said, line);
  }
  for (const [line, said] of wrongBridges) {
    assert.throws(() => readArguments(line.split(" ")), said, line);
  }
});

Deno.test("switchd: files and names that cannot be are named, with the reason", async () => {
  const folder = await Deno.makeTempDir({ prefix: "upcall-switchd-" });
  try {
    const none = `${folder}/nosuch/x`;
    const calls: readonly (readonly [words: readonly string[], said: string])[] = [
      [[`--log-file=${none}`], `Cannot write ${none}: no such file or directory`],
      [[`--log-file=${folder}`], `Cannot write ${folder}: is a directory`],
      [[`--pidfile=${none}`], `Cannot write ${none}: no such file or directory`],
      [[`--unixctl=${none}`], `Cannot write ${none}: no such file or directory`],
      [["-vnonsense!"], 'no destination, level, or module "nonsense!"'],
      [["--bridge", "a/b"], 'Cannot use "netdev@a/b" as the name of a datapath'],
      [["--bridge", "nosuch@b"], "no provider of type"],
    ];
    for (const [words, said] of calls) {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--quiet", "--no-check", `${root}switchd.ts`, ...words],
        env: { OVS_RUNDIR: folder, OVS_LOGDIR: folder, NO_COLOR: "1" },
      }).output();
      const text = new TextDecoder().decode(stderr);
      const line = words.join(" ");
      assert.ok(text.startsWith(said) || text.includes(said), `${line}: ${text}`);
      assert.deepEqual([code, stdout.length], [1, 0], line);
      assert.equal(text.trimEnd().split("\n").length, 1, `${line}: ${text}`);
      assert.doesNotMatch(text, /os error|Uncaught/, line);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("switchd: --help is a page with all options, and --version the version", async () => {
  const call = async (word: string): Promise<string> => {
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--no-check", `${root}switchd.ts`, word],
    }).output();
    assert.equal(code, 0, word);
    return new TextDecoder().decode(stdout);
  };
  const page = await call("--help");
  for (const part of ["NAME", "SYNOPSIS", "DESCRIPTION", "FILES", "EXIT STATUS"]) {
    assert.match(page, new RegExp(`^${part}$`, "m"));
  }
  const options = page.match(/--[a-z-]+/g) ?? [];
  for (
    const option of [
      ...["--detach", "--pidfile", "--log-file", "--unixctl", "--enable-dummy"],
      ...["--bridge", "--port", "--controller", "--listen", "--protocols", "--tight"],
    ]
  ) {
    // Once in the synopsis, once with what it means.
    assert.ok(options.filter((one) => one === option).length >= 2, option);
  }
  assert.ok(page.split("\n").every((line) => line.length <= 100));
  assert.match(await call("--version"), /^upcall-switchd \(Upcall\) \d+\.\d+\.\d+\n$/);
});
