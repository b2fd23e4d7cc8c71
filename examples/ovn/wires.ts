// SPDX-License-Identifier: Apache-2.0
/**
 * Network namespaces, and cables between them.
 *
 * Names carry the number of the process, so that two runs do not meet, and what a killed one left
 * is found by the next.
 *
 * @module
 */
import { get, say } from "./programs.ts";

const PREFIX = "upovn";

/** One end of a cable. */
export interface End {
  readonly namespace: string;
  readonly device: string;
  readonly mac?: string;
  readonly mtu?: number;
  /** With the length of the prefix: `10.0.0.1/24`. */
  readonly addresses?: readonly string[];
  /** Where packets go that no other address leads to. */
  readonly gateways?: readonly string[];
}

/** Namespaces that are taken away together, with what is in them. */
export class Wires implements AsyncDisposable {
  readonly #namespaces: string[] = [];

  /** Makes a namespace; its whole name. */
  async namespace(name: string): Promise<string> {
    const whole = `${PREFIX}-${Deno.pid}-${name}`;
    await get(["ip", "netns", "add", whole]);
    this.#namespaces.push(whole);
    await get(["ip", "-n", whole, "link", "set", "lo", "up"]);
    return whole;
  }

  /** Lays a cable. */
  async cable(one: End, other: End): Promise<void> {
    const far = ["peer", "name", other.device, "netns", other.namespace];
    await get([
      ...["ip", "-n", one.namespace, "link", "add", one.device, "type", "veth"],
      ...far,
    ]);
    for (const end of [one, other]) await setUp(end);
  }

  /** Ends what runs in the namespaces, and takes them away. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#namespaces.splice(0)) await remove(name);
  }
}

async function setUp(end: End): Promise<void> {
  const { namespace, device, mac, mtu, addresses = [], gateways = [] } = end;
  const ip = (...words: string[]): Promise<string> =>
    get(["ip", "-n", namespace, ...words]);
  const own = [
    ...(mac === undefined ? [] : ["address", mac]),
    ...(mtu === undefined ? [] : ["mtu", `${mtu}`]),
  ];
  await ip("link", "set", device, ...own, "up");
  for (const address of addresses) {
    const more = address.includes(":") ? ["nodad"] : [];
    await ip("address", "add", address, "dev", device, ...more);
  }
  for (const gateway of gateways) await ip("route", "add", "default", "via", gateway);
}

async function remove(namespace: string): Promise<void> {
  for (const pid of (await say(["ip", "netns", "pids", namespace])).stdout.split("\n")) {
    if (pid !== "") kill(Number(pid));
  }
  // Its cables go with it, but at the kernel's leisure: these now.
  const { stdout } = await say(["ip", "-n", namespace, "-o", "link"]);
  for (const [, device = ""] of stdout.matchAll(/^\d+: ([^@:]+)@/gm)) {
    await say(["ip", "-n", namespace, "link", "delete", device]);
  }
  await say(["ip", "netns", "delete", namespace]);
}

/** Takes away what runs left that were killed. */
export async function sweep(): Promise<void> {
  const { stdout } = await say(["ip", "netns", "list"]);
  for (const [name, pid] of stdout.matchAll(new RegExp(`^${PREFIX}-(\\d+)-\\S+`, "gm"))) {
    if (!isRunning(Number(pid))) await remove(name);
  }
}

/** Whether a process is one of this program's kind that still runs. */
function isRunning(pid: number): boolean {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/cmdline`).includes("deno");
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
