// SPDX-License-Identifier: Apache-2.0
/**
 * Two hosts and the place between them where a switch can be put, as network namespaces
 * joined by veth pairs with the kernel's default offloads.
 *
 *     host A  a ==== p1  switch  p2 ==== b  host B
 *
 * @module
 */
import { Child, delay, run } from "./child.ts";
import { cleanedUp } from "./interrupt.ts";

const ADDRESS_A = "10.199.0.1";
const ADDRESS_B = "10.199.0.2";
const IPERF_PORT = "5201";
const GRACE_SECONDS = 5;
/** Payload of a UDP packet whose frame is the shortest: 64 bytes with its check sequence. */
const SMALL_PAYLOAD = "18";

/** What the hosts saw. */
export interface Traffic {
  /** TCP from A to B in one stream, bits a second as received. */
  readonly bitsPerSecond: number;
  readonly retransmits: number;
  /** The same in several streams at once, by their number. */
  readonly streams: Readonly<Record<string, number>>;
  /** UDP in frames of 64 bytes from A to B, packets a second as received. */
  readonly smallPerSecond: number;
  /** Median round trip, µs, and what one in a hundred takes longer than. */
  readonly rttUs: number;
  readonly rttP99Us: number;
  /** Share of pings without an answer. */
  readonly lossShare: number;
}

/** The parts of iperf3's report that are read. */
interface IperfEnd {
  readonly sum_received?: { readonly bits_per_second?: number };
  readonly sum_sent?: { readonly retransmits?: number };
  readonly sum?: {
    readonly packets?: number;
    readonly lost_packets?: number;
    readonly seconds?: number;
  };
}

/** The namespaces; dispose removes them with all that is in them. */
export class VethHosts implements AsyncDisposable {
  /** Namespace of the switch; its devices are `p1` and `p2`. */
  readonly between: string;
  readonly #a: string;
  readonly #b: string;
  readonly #folder: string;
  readonly #life: AsyncDisposable;
  #server: Child | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
    const prefix = `upb${Deno.pid}`;
    [this.#a, this.between, this.#b] = [`${prefix}a`, `${prefix}s`, `${prefix}b`];
    this.#life = cleanedUp(() => this.#remove());
  }

  static async create(folder: string): Promise<VethHosts> {
    const hosts = new VethHosts(folder);
    try {
      await hosts.#create();
    } catch (error) {
      await hosts[Symbol.asyncDispose]();
      throw error;
    }
    return hosts;
  }

  /** A command line that runs `command` in a namespace. */
  static inside(namespace: string, command: readonly string[]): string[] {
    return ["ip", "netns", "exec", namespace, ...command];
  }

  /**
   * Pings, then sends TCP, also in as many streams at once as `streams` says, and small UDP, for
   * `seconds` each. Throws when no ping gets through.
   */
  async measure(seconds: number, streams: readonly number[] = []): Promise<Traffic> {
    const ping = await this.#onA([
      "ping",
      "-n",
      "-c",
      "300",
      "-i",
      "0.005",
      "-W",
      "1",
      ADDRESS_B,
    ]);
    const times = [...ping.matchAll(/time=([\d.]+) ms/g)].map(([, ms]) =>
      Number(ms) * 1000
    )
      .sort((a, b) => a - b);
    const sent = Number(/(\d+) packets transmitted/.exec(ping)?.[1] ?? 0);
    const tcp = await this.#tcp(seconds);
    const several: Record<string, number> = {};
    for (const count of streams) {
      several[count] = (await this.#tcp(seconds, count)).bitsPerSecond;
    }
    return {
      ...tcp,
      streams: several,
      smallPerSecond: await this.#small(seconds),
      rttUs: times[times.length >> 1] ?? NaN,
      rttP99Us: times[Math.floor(times.length * 0.99)] ?? NaN,
      lossShare: sent === 0 ? 1 : 1 - times.length / sent,
    };
  }

  /** Resolves when a ping is answered, or throws after `seconds`. */
  async reachable(seconds: number): Promise<void> {
    const deadline = performance.now() + seconds * 1000;
    while (true) {
      try {
        await this.#onA(["ping", "-n", "-c", "1", "-W", "1", ADDRESS_B]);
        return;
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await delay(50);
      }
    }
  }

  /** Has the hosts ask anew where the other one is: a gateway learns from that. */
  async forgetNeighbours(): Promise<void> {
    for (const host of [this.#a, this.#b]) {
      await run("ip", `-n ${host} neighbour flush dev eth0`.split(" "));
    }
  }

  /** Turns offloads of the hosts' devices on or off: `tx` checksums, `tso` segments. */
  async setOffloads(words: readonly string[]): Promise<void> {
    for (const host of [this.#a, this.#b]) {
      const [command = "", ...args] = VethHosts.inside(host, ["ethtool", "-K", "eth0"]);
      await run(command, [...args, ...words]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#life[Symbol.asyncDispose]();
  }

  async #remove(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    for (const namespace of [this.#a, this.between, this.#b]) {
      // One that was never made need not be removed.
      await run("ip", ["netns", "delete", namespace]).catch(() => {});
    }
  }

  async #create(): Promise<void> {
    for (const namespace of [this.#a, this.between, this.#b]) {
      await run("ip", ["netns", "add", namespace]);
      await run("ip", ["-n", namespace, "link", "set", "lo", "up"]);
    }
    await this.#connect(this.#a, "p1", ADDRESS_A);
    await this.#connect(this.#b, "p2", ADDRESS_B);
    const [command = "", ...args] = VethHosts.inside(this.#b, [
      "iperf3",
      "-s",
      "-p",
      IPERF_PORT,
    ]);
    this.#server = new Child(command, args, { log: `${this.#folder}/iperf3.log` });
    await this.#server.until(() => this.#server?.ended === false || undefined, 5);
  }

  async #connect(host: string, port: string, address: string): Promise<void> {
    const { between } = this;
    await run(
      "ip",
      `-n ${host} link add eth0 type veth peer ${port} netns ${between}`.split(" "),
    );
    await run("ip", ["-n", host, "address", "add", `${address}/24`, "dev", "eth0"]);
    await run("ip", ["-n", host, "link", "set", "eth0", "up"]);
    await run("ip", ["-n", between, "link", "set", port, "up"]);
  }

  /** A switch that breaks TCP, by checksums or segments that it cannot handle, gets 0. */
  async #tcp(
    seconds: number,
    streams = 1,
  ): Promise<Pick<Traffic, "bitsPerSecond" | "retransmits">> {
    const end = await this.#iperf(seconds, ["-P", String(streams)]);
    return {
      bitsPerSecond: Number(end?.sum_received?.bits_per_second ?? 0),
      retransmits: Number(end?.sum_sent?.retransmits ?? 0),
    };
  }

  /** Packets a second that arrive of those that A can send. */
  async #small(seconds: number): Promise<number> {
    const end = await this.#iperf(seconds, ["-u", "-b", "0", "-l", SMALL_PAYLOAD]);
    const { packets = 0, lost_packets = 0, seconds: took = seconds } = end?.sum ?? {};
    return (packets - lost_packets) / took;
  }

  /** What iperf3 says at its end; undefined if that was not a good one. */
  async #iperf(seconds: number, words: readonly string[]): Promise<IperfEnd | undefined> {
    const limit = String(seconds + GRACE_SECONDS);
    const client = ["iperf3", "-J", "-c", ADDRESS_B, "-p", IPERF_PORT];
    const rest = ["-t", String(seconds), "--connect-timeout", "2000", ...words];
    try {
      // It may also end well with a report of its trouble and without sums.
      return JSON.parse(await this.#onA(["timeout", limit, ...client, ...rest])).end;
    } catch {
      return undefined;
    }
  }

  #onA(command: readonly string[]): Promise<string> {
    const [first = "", ...rest] = VethHosts.inside(this.#a, command);
    return run(first, rest);
  }
}
