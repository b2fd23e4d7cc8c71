// SPDX-License-Identifier: Apache-2.0
/**
 * What ends while traffic runs between two hosts of OVN: ovn-controller, the database and the
 * daemon of a host, each by kill -9, and what becomes of pings, of a TCP connection, and of flows.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { refusals } from "../../examples/ovn/checks.ts";
import { addresses, Network } from "../../examples/ovn/network.ts";
import { say } from "../../examples/ovn/programs.ts";
import { figure } from "../support/figure.ts";
import { skippable } from "../support/skip.ts";
import { pause, until } from "../support/wait.ts";
import { needOvn, Pings } from "./ovn_lab.ts";

/** Traffic goes on for so long beside what ended, ms. */
const BESIDE_MS = 1500;
const limitMs = 60_000;
/** Pings that need nothing of what ended have no such gap, however busy the machine is, ms. */
const GAP_MS = 1200;

/** A TCP connection between hosts, byte after byte, that lasts. */
class Stream implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  #bytes = 0;
  readonly #read: Promise<void>;

  constructor(network: Network) {
    const url = `http://${addresses.b}/endless`;
    const [program = "", ...args] = network.on("a", "curl", "-sN", url);
    const streams = { stdin: "null", stdout: "piped", stderr: "null" } as const;
    this.#child = new Deno.Command(program, { args, ...streams }).spawn();
    this.#read = this.#follow();
  }

  async #follow(): Promise<void> {
    for await (const chunk of this.#child.stdout) this.#bytes += chunk.length;
  }

  /** Waits for more bytes than there are. */
  async goesOn(): Promise<void> {
    const before = this.#bytes;
    await until("more bytes of the connection", () => this.#bytes > before, { limitMs });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#child.status;
    await this.#read;
  }
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;

/** What is to hold after all of it: what is allowed passes, what is not does not. */
async function judge(network: Network): Promise<void> {
  const get = async (url: string, limit: string) => {
    const { code, stdout } = await say(network.on("a", "curl", "-s", "-m", limit, url));
    return code === 0 ? stdout.trim() : undefined;
  };
  strictEqual(await get(`http://${addresses.c}/`, "30"), "c 10.0.0.1");
  strictEqual(await get(`http://${addresses.b}:81/`, "2"), undefined, "an ACL drops it");
  strictEqual(
    await get(`http://${addresses.outside}/`, "30"),
    `outside ${addresses.router}`,
  );
}

Deno.test(
  "ovn: what ends comes back, and traffic that needs it not goes on",
  skippable(async (t) => {
    await needOvn();
    await using network = await Network.make();
    const { one } = network;
    await judge(network);
    const before = await one.flows();
    ok(before.length > 100, `${before.length} flows`);
    const same = async (): Promise<void> => {
      await until("the flows of before", async () => {
        const now = await one.flows().catch(() => []);
        return now.length === before.length;
      }, {
        limitMs,
        state: async () => `${(await one.flows()).length} of ${before.length}`,
      });
      deepStrictEqual(await one.flows(), before);
    };
    await using pings = new Pings(network, "a", addresses.b);
    await using stream = new Stream(network);
    await stream.goesOn();
    await until("answers", () => pings.count > 3);

    await t.step("ovn-controller", async () => {
      pings.restart();
      await one.stop("controller", "SIGKILL");
      await pause(BESIDE_MS);
      await stream.goesOn();
      const since = performance.now();
      await one.run("controller");
      await network.installed();
      figure(
        `ovn, kill -9 of ovn-controller: pings lost ${pings.lost}, longest gap ` +
          `${seconds(pings.gapMs)}, all in force ${
            seconds(performance.now() - since)
          } later`,
      );
      ok(pings.gapMs < GAP_MS, `a gap of ${pings.gapMs} ms`);
      await stream.goesOn();
      await same();
      await judge(network);
    });

    await t.step("the database", async () => {
      pings.restart();
      await one.stop("database", "SIGKILL");
      await pause(BESIDE_MS);
      await stream.goesOn();
      const since = performance.now();
      await one.run("database");
      // The switch follows it again: ovs-vsctl waits for that.
      await one.vs("set", "Bridge", "br-int", "other_config:again=1");
      await network.installed();
      figure(
        `ovn, kill -9 of the database: pings lost ${pings.lost}, longest gap ` +
          `${seconds(pings.gapMs)}, followed again ${
            seconds(performance.now() - since)
          } later`,
      );
      ok(pings.gapMs < GAP_MS, `a gap of ${pings.gapMs} ms`);
      await stream.goesOn();
      await same();
      await judge(network);
    });

    await t.step("the daemon", async () => {
      pings.restart();
      await one.stop("switch", "SIGKILL");
      await pause(BESIDE_MS);
      const since = performance.now();
      await one.run("switch");
      const ready = performance.now() - since;
      await until("pings again", () => pings.count > 3, { limitMs });
      const passes = performance.now() - since;
      pings.restart();
      await stream.goesOn();
      await network.installed();
      figure(
        `ovn, kill -9 of the daemon: ready after ${seconds(ready)}, pings again after ` +
          `${seconds(passes)}, all in force after ${seconds(performance.now() - since)}`,
      );
      await same();
      await judge(network);
    });
    deepStrictEqual(await refusals(network), []);
  }),
);
