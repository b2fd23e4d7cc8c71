// SPDX-License-Identifier: Apache-2.0
/**
 * A policy on a datapath with dummy ports, in tests: on a fake one, and on the userspace datapath
 * where this machine can.
 *
 * @module
 */
import { registerProvider } from "../../providers/registry.ts";
import { openDatapath } from "../../providers/registry.ts";
import type { Datapath } from "../../providers/datapath.ts";
import type { PortNo } from "../../providers/ids.ts";
import { fakeProvider } from "../support/fake_provider.ts";
import { collectAll, NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import { pause, until } from "../support/wait.ts";

/** A datapath whose ports are queues of the test. */
export interface PolicyBench extends AsyncDisposable {
  readonly dp: Datapath;
  /** Puts a frame into a port, and waits until nothing more happens. */
  send(port: PortNo, ...frames: Uint8Array[]): Promise<void>;
  /** Puts many frames into ports, and waits until nothing more happens. */
  sendAll(frames: readonly (readonly [port: PortNo, frame: Uint8Array])[]): Promise<void>;
  /** Frames that left by a port since the last time. */
  collect(port: PortNo): Uint8Array[];
  /** Ports that a frame left by since the last time, with how many. */
  where(): Record<number, number>;
}

let registered = false;

async function openFake(): Promise<PolicyBench> {
  if (!registered) {
    registerProvider(fakeProvider({ type: "fake-policy", ringSize: 4096 }));
  }
  registered = true;
  const dp = await openDatapath(`fake-policy@${crypto.randomUUID().slice(0, 8)}`, {
    create: true,
  });
  const quiet = async (): Promise<void> => {
    for (let i = 0; i < 4; i++) await pause(0);
  };
  const inject = (port: PortNo, frame: Uint8Array) => dp.ports.inject?.(port, frame);
  return bench(dp, inject, quiet, () => dp.close());
}

async function openReal(): Promise<PolicyBench> {
  const real = await NetdevBench.open();
  const { dp } = real;
  const quiet = async (): Promise<void> => {
    // What came up may be executed, and what is executed may come up again.
    // Three looks in a row must be alike: a burst is sent port by port.
    for (let before = "", alike = 0; alike < 3;) {
      const now = textOf(dp);
      alike = before === now ? alike + 1 : 0;
      before = now;
      await real.settle();
      await until("upcalls to be handled", () => {
        const { missed, lost, counters = {} } = dp.stats();
        return (counters.upcalls_handled ?? 0n) >= missed - lost;
      }, { state: () => textOf(dp) });
      await pause(3);
    }
  };
  const inject = (port: PortNo, frame: Uint8Array) => real.inject(port, frame);
  return bench(dp, inject, quiet, () => real[Symbol.asyncDispose]());
}

/** Counters as text; poll threads count on while nothing happens. */
function textOf(dp: Datapath): string {
  const { hit, missed, lost, counters = {} } = dp.stats();
  const sent = [...dp.ports.dump()].map(({ no }) => dp.ports.stats(no).txPackets);
  return `${hit} ${missed} ${lost} ${sent.join(" ")} ${
    Object.entries(counters).join(" ")
  }`;
}

function bench(
  dp: Datapath,
  inject: (port: PortNo, frame: Uint8Array) => void,
  quiet: () => Promise<void>,
  dispose: () => Promise<void>,
): PolicyBench {
  return {
    dp,
    async send(port, ...frames) {
      for (const frame of frames) {
        inject(port, frame);
        await quiet();
      }
    },
    async sendAll(frames) {
      for (const [port, frame] of frames) inject(port, frame);
      await quiet();
    },
    collect: (port) => collectAll(dp, port),
    where() {
      const found: Record<number, number> = {};
      for (const { no, type } of dp.ports.dump()) {
        if (type !== "dummy" || no === 0) continue;
        const { length } = collectAll(dp, no);
        if (length > 0) found[no] = length;
      }
      return found;
    },
    [Symbol.asyncDispose]: dispose,
  };
}

const openers = { fake: openFake, netdev: openReal } as const;

/** Declares a test that runs on each kind of datapath. `ports` dummy ports are numbered from 1. */
export function onEach(
  name: string,
  test: (bench: PolicyBench) => Promise<void>,
  ports = 3,
  kinds: readonly (keyof typeof openers)[] = ["fake", "netdev"],
): void {
  for (const kind of kinds) {
    const open = openers[kind];
    Deno.test(
      `${kind}: ${name}`,
      skippable(async () => {
        await using made = await open();
        for (let no = 1; no <= ports; no++) {
          await made.dp.ports.add({ name: `p${no}`, type: "dummy", no });
        }
        await test(made);
      }),
    );
  }
}
