// SPDX-License-Identifier: Apache-2.0
/**
 * The lines of Open vSwitch's own `tests/odp.at`, expanded when a test runs.
 *
 * They are read from Debian's package openvswitch-source; none of them is kept here.  The file
 * is m4 around shell around sed, so the shell does the expanding.
 *
 * @module
 */

import { shell, tryRun } from "../support/command.ts";
import { Unsupported } from "../support/skip.ts";

const TARBALL = "/usr/src/openvswitch/openvswitch.tar.gz";

/** The lines of odp.at by what they are for. */
export interface OdpAt {
  /** Keys without masks. */
  readonly keys: readonly string[];
  /** Keys with masks; each prints back unchanged. */
  readonly maskedKeys: readonly string[];
  /** Lists of actions; each prints back unchanged. */
  readonly actions: readonly string[];
  /** Lists of actions that are refused. */
  readonly badActions: readonly string[];
}

/** Expands odp.at. Throws `Unsupported` where the package is not installed. */
export async function expandOdpAt(): Promise<OdpAt> {
  try {
    await Deno.stat(TARBALL);
  } catch {
    throw new Unsupported("package openvswitch-source", { requirement: "tool" });
  }
  const at = await shell(`tar -xzOf ${TARBALL} openvswitch/tests/odp.at`);
  const groups = at.split(/^AT_SETUP\(/m);
  const group = (title: string) => {
    const text = groups.find((candidate) => candidate.startsWith(`[${title}`));
    if (text === undefined) throw new Error(`odp.at has no test "${title}"`);
    return text;
  };
  const keys = group("OVS datapath key parsing and formatting - valid");
  const maskedKeys = group("OVS datapath wildcarded key parsing and formatting - valid");
  const actions = group("OVS datapath actions parsing and formatting - valid");
  const overflow = group("OVS datapath actions parsing and formatting - userdata overflow");
  const tooLong = group("OVS datapath actions parsing and formatting - actions too long");
  const [fits, , fitsToo] = await generated(overflow);
  const [, tooMuch, , tooMuchToo] = await generated(overflow);
  const [longest, tooLongOne] = await generated(tooLong);
  return {
    keys: await expanded(keys, "odp-in.txt"),
    maskedKeys: await expanded(maskedKeys, "odp.txt"),
    actions: [...data(actions, "actions.txt"), ...strings(fits, fitsToo, longest)],
    badActions: ["encap_nsh@:{@", ...strings(tooMuch, tooMuchToo, tooLongOne)],
  };
}

function strings(...lines: readonly (string | undefined)[]): string[] {
  return lines.filter((line) => line !== undefined);
}

/** m4 quotes brackets by doubling them. */
function unquoted(text: string): string {
  return text.replaceAll("[[", "[").replaceAll("]]", "]");
}

/** Lines of a file that AT_DATA makes. */
function data(group: string, file: string): string[] {
  const start = group.indexOf(`AT_DATA([${file}]`);
  const from = group.indexOf("\n", start) + 1;
  return lines(unquoted(group.slice(from, group.indexOf("\n])", from))));
}

function lines(text: string): string[] {
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}

/** Runs the block of shell that fills `file` from the group's AT_DATA. */
async function expanded(group: string, file: string): Promise<string[]> {
  const start = group.indexOf("\n(echo");
  const end = group.indexOf(`) > ${file}`, start);
  const folder = await Deno.makeTempDir({ prefix: "upcall-odp-" });
  try {
    const base = `${folder}/odp-base.txt`;
    await Deno.writeTextFile(base, data(group, "odp-base.txt").join("\n") + "\n");
    // One of its sed commands is wrong (3.1) and yields nothing: not with `-e`.
    const script = `cd ${folder}\n${unquoted(group.slice(start, end))}\n)`;
    return lines((await tryRun("sh", "-c", script)).stdout);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs the shell of a group that writes its own actions.txt. */
async function generated(group: string): Promise<string[]> {
  const body = group.slice(group.indexOf("\n"), group.indexOf("AT_CHECK"))
    .split("\n").filter((line) => !line.startsWith("dnl")).join("\n");
  const folder = await Deno.makeTempDir({ prefix: "upcall-odp-" });
  try {
    return lines(await shell(`cd ${folder}\n${unquoted(body)}\ncat actions.txt`));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
