// SPDX-License-Identifier: Apache-2.0
/**
 * Two hosts for the demo: network namespaces, each with one end of a veth pair, the other ends for
 * the switch.
 *
 * Names carry the number of the process, so that two demos do not meet, and so that what a killed
 * one left behind is found by the next.
 *
 * @module
 */

/** One host. */
export interface Host {
  /** Name of its namespace. */
  readonly namespace: string;
  /** Its address. */
  readonly address: string;
  /** The end of its cable that belongs to the switch. */
  readonly device: string;
}

const prefix = "updemo";

/** Runs a program and returns what it printed. Rejects with what it complained about. */
export async function run(program: string, ...args: string[]): Promise<string> {
  const command = new Deno.Command(program, {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
  const { success, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  if (success) return decoder.decode(stdout);
  const complaint = decoder.decode(stderr).trim() || decoder.decode(stdout).trim();
  throw new Error(`Cannot run "${program} ${args.join(" ")}": ${complaint}`);
}

/** The command line that runs `command` on a host. */
export function on(host: Host, ...command: string[]): string[] {
  return ["netns", "exec", host.namespace, ...command];
}

/** Makes `count` hosts. */
export async function makeHosts(count: number): Promise<Host[]> {
  const hosts: Host[] = [];
  for (let i = 1; i <= count; i++) {
    const host = {
      namespace: `${prefix}-${Deno.pid}-h${i}`,
      address: `10.77.0.${i}`,
      device: deviceName(Deno.pid, i),
    };
    await run("ip", "netns", "add", host.namespace);
    await run(
      "ip",
      "link",
      "add",
      host.device,
      "type",
      "veth",
      "peer",
      "name",
      "eth0",
      "netns",
      host.namespace,
    ); // deno-fmt-ignore
    await run("ip", "link", "set", host.device, "up");
    await run("ip", "-n", host.namespace, "link", "set", "lo", "up");
    await run("ip", "-n", host.namespace, "link", "set", "eth0", "up");
    await run(
      "ip",
      "-n",
      host.namespace,
      "address",
      "add",
      `${host.address}/24`,
      "dev",
      "eth0",
    );
    hosts.push(host);
  }
  return hosts;
}

/** A name of at most 15 characters for the switch's end of a cable. */
function deviceName(pid: number, host: number): string {
  return `ud${pid % 1_000_000}h${host}`;
}

/** Removes this demo's hosts, and those of demos that are no longer running. */
export async function removeHosts(): Promise<void> {
  const list = await run("ip", "netns", "list");
  for (
    const [name, pid, host] of list.matchAll(
      new RegExp(`^${prefix}-(\\d+)-h(\\d+)`, "gm"),
    )
  ) {
    if (Number(pid) !== Deno.pid && isDemo(Number(pid))) continue;
    for (const process of (await run("ip", "netns", "pids", name)).split("\n")) {
      if (process !== "") kill(Number(process));
    }
    // The kernel takes a namespace's devices down at its leisure; this one now.
    await run("ip", "link", "delete", deviceName(Number(pid), Number(host))).catch(
      () => {},
    );
    await run("ip", "netns", "delete", name);
  }
}

/** Whether a process is a demo that still runs. */
function isDemo(pid: number): boolean {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/cmdline`).includes("demo.ts");
  } catch {
    return false;
  }
}

function kill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
