// SPDX-License-Identifier: Apache-2.0
/**
 * Open vSwitch beside policies: its own userspace datapath on dummy ports, which are given packets
 * by its control socket.
 *
 * @module
 */
import { type Dummy, startDummy } from "../odp/ovs_dummy.ts";
import { tcpFrame } from "../support/frames.ts";
import { BenchError } from "./usage.ts";

/** A packet that both get. */
export interface Sent {
  readonly n: number;
  readonly src: string;
  readonly dst: string;
  readonly ipSrc: string;
  readonly ipDst: string;
  readonly srcPort: number;
  readonly dstPort: number;
}

/** A queue of a dummy port holds a hundred packets. */
const AT_ONCE = 64;
const PLENTY = 4_000_000;
/** A port without a file that packets are written to. */
const OUT = 10;

/** The frame of a packet. */
function hexOf({ src, dst, ipSrc, ipDst, srcPort, dstPort }: Sent): string {
  const link = [dst, src].join(":").replaceAll(":", "");
  const frame = tcpFrame({ src: ipSrc, dst: ipDst, srcPort, dstPort, flags: 2 });
  return link + frame.subarray(12).toHex();
}

/** A running Open vSwitch with OpenFlow rules, whose revalidators pause. */
export class PeerSwitch implements AsyncDisposable {
  readonly #dummy: Dummy;

  private constructor(dummy: Dummy) {
    this.#dummy = dummy;
  }

  /** Starts one with these rules; packets that leave by port 10 cost nothing more. */
  static async start(rules: readonly string[]): Promise<PeerSwitch> {
    const dummy = await startDummy();
    try {
      const peer = new PeerSwitch(dummy);
      await dummy.vsctl(
        ...[
          "add-port",
          "br0",
          `p${OUT}`,
          "--",
          "set",
          "Interface",
          `p${OUT}`,
          "type=dummy",
        ],
        `ofport_request=${OUT}`,
        ...["--", "set", "Bridge", "br0", "other-config:mac-table-size=1000000"],
        ...[
          "--",
          "set",
          "Open_vSwitch",
          ".",
          `other_config:flow-limit=${PLENTY}`,
          "other_config:max-idle=3600000",
        ],
      );
      await dummy.call("upcall/set-flow-limit", `${PLENTY}`);
      const file = await Deno.makeTempFile();
      await Deno.writeTextFile(file, rules.join("\n") + "\n");
      try {
        await dummy.ofctl("add-flows", "br0", file);
      } finally {
        await Deno.remove(file);
      }
      return peer;
    } catch (error) {
      await dummy[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Gives packets to a port, few at a time, and waits until they are through. */
  async send(sent: readonly Sent[], port: number): Promise<void> {
    let wanted = await this.#looked();
    for (let i = 0; i < sent.length; i += AT_ONCE) {
      const frames = sent.slice(i, i + AT_ONCE).map(hexOf);
      await this.#dummy.call("netdev-dummy/receive", `p${port}`, ...frames);
      wanted += frames.length;
      const end = performance.now() + 60_000;
      while (await this.#looked() < wanted) {
        if (performance.now() > end) {
          throw new BenchError("Open vSwitch did not look up every packet");
        }
      }
    }
  }

  async #looked(): Promise<number> {
    const { hits, misses } = await this.#lookups();
    return hits + misses;
  }

  /** What setting a flow up costs beyond a hit, us of CPU. */
  async costOfSetUps(sent: readonly Sent[]): Promise<number> {
    const { misses } = await this.#lookups();
    const start = this.cpu();
    await this.send(sent, 1);
    const first = this.cpu();
    const setUps = (await this.#lookups()).misses - misses;
    await this.send(sent, 1);
    return (first - start - (this.cpu() - first)) / setUps * 1e6;
  }

  async #lookups(): Promise<{ hits: number; misses: number }> {
    const text = await this.#dummy.call("dpctl/show");
    const [, hits, misses] = /hit:(\d+) missed:(\d+)/.exec(text) ?? [];
    return { hits: Number(hits), misses: Number(misses) };
  }

  /** Flows of its datapath. */
  async flows(): Promise<number> {
    const [, flows] = /flows: (\d+)/.exec(await this.#dummy.call("dpctl/show")) ?? [];
    return Number(flows);
  }

  /** Lets its revalidators work. */
  async revalidate(): Promise<void> {
    await this.#dummy.call("revalidator/resume");
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }

  /** What it says of its dumps. */
  async dumps(): Promise<string> {
    const text = await this.#dummy.call("upcall/show");
    return text.split("\n").map((line) => line.trim()).filter((line) =>
      /flows|dump/.test(line)
    ).join("; ");
  }

  /** Runs ovs-ofctl. */
  ofctl(...args: string[]): Promise<string> {
    return this.#dummy.ofctl(...args);
  }

  /** Its process. */
  get pid(): number {
    return this.#dummy.pid;
  }

  /** The socket at which its bridge listens for OpenFlow. */
  get socket(): string {
    return this.#dummy.socket;
  }

  /** CPU time that it took, s. */
  cpu(): number {
    const stat = Deno.readTextFileSync(`/proc/${this.#dummy.pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dummy[Symbol.asyncDispose]();
  }
}
