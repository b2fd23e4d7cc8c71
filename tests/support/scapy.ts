// SPDX-License-Identifier: Apache-2.0
/**
 * Scapy as a judge of frames.
 *
 * @module
 */
import { run, tryRun } from "./command.ts";
import { Unsupported } from "./skip.ts";

/** Debian's, which has Debian's scapy: another one may come first in PATH. */
const PYTHON = "/usr/bin/python3";

/** Throws `Unsupported` where there is no scapy. */
export async function needScapy(): Promise<void> {
  const { code } = await tryRun(PYTHON, "-c", "import scapy").catch(() => ({ code: 1 }));
  if (code !== 0) throw new Unsupported("package python3-scapy", { requirement: "peer" });
}

/** What a script prints that has all of scapy; `before` are words before the command. */
export async function scapy(
  script: string,
  args: readonly string[] = [],
  before: readonly string[] = [],
): Promise<string> {
  await needScapy();
  const head = "from scapy.all import *\nconf.verb = 0\nconf.checkIPaddr = False\n";
  return (await run(...before, PYTHON, "-c", head + script, ...args)).trim();
}
