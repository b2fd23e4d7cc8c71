// SPDX-License-Identifier: Apache-2.0
/**
 * What tests of two hosts need, and traffic that goes on while things end.
 *
 * @module
 */
import type { HostName, Network } from "../../examples/ovn/network.ts";
import { openNetdev } from "../support/netdev.ts";
import { needProgram, needRoot } from "../support/skip.ts";

const programs = [
  ...["ovsdb-server", "ovs-vsctl", "ovn-northd", "ovn-controller", "ovn-nbctl", "ip"],
  ...["udhcpc", "curl", "iperf3", "ping", "ss"],
];

/** Skips a test where there is no OVN, no root, or no datapath. */
export async function needOvn(): Promise<void> {
  needRoot("netdev");
  for (const name of programs) needProgram(name, { requirement: "peer" });
  await (await openNetdev(`warm${Deno.pid}`)).close();
}

/** Between two pings, ms. */
export const PING_MS = 50;

/** Pings that go on until they are ended. */
export class Pings implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  /** When answers came, ms of `performance.now()`, by number. */
  readonly #answers = new Map<number, number>();
  readonly #read: Promise<void>;
  #sinceMs = performance.now();

  /** Begins. */
  constructor(network: Network, from: HostName, to: string) {
    const words = ["ping", "-n", "-i", `${PING_MS / 1000}`, to];
    const [program = "", ...args] = network.on(from, ...words);
    this.#child = new Deno.Command(program, {
      args,
      env: { LC_ALL: "C" },
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#read = this.#follow();
  }

  async #follow(): Promise<void> {
    let text = "";
    for await (const chunk of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (text + chunk).split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        const number = /bytes from .*icmp_seq=(\d+) .*time=/.exec(line)?.[1];
        if (number !== undefined) this.#answers.set(Number(number), performance.now());
      }
    }
  }

  /** Forgets what came so far. */
  restart(): void {
    this.#answers.clear();
    this.#sinceMs = performance.now();
  }

  /** How many answers came. */
  get count(): number {
    return this.#answers.size;
  }

  /** The longest time without an answer so far, ms. */
  get gapMs(): number {
    const times = [this.#sinceMs, ...this.#answers.values(), performance.now()];
    return Math.max(...times.slice(1).map((ms, i) => ms - (times[i] as number)));
  }

  /** Numbers between the first and the last answer that have none. */
  get lost(): number {
    const numbers = [...this.#answers.keys()];
    if (numbers.length === 0) return Infinity;
    const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
    return most - least + 1 - new Set(numbers).size;
  }

  /** Ends them. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#child.status;
    await this.#read;
  }
}
