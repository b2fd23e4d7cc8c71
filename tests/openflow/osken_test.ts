// SPDX-License-Identifier: Apache-2.0
/** A controller of os-ken drives a switch on dummy ports. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { build, ethernet, ipv4, payload, udp } from "../../frames/mod.ts";
import { openSwitch } from "../../openflow/open.ts";
import { openLab, until } from "../../testing/mod.ts";
import { needProgram, skippable } from "../support/skip.ts";
import { root } from "../support/tree.ts";

function frame(from: number, to: number): Uint8Array {
  const mac = (n: number): string => `02:00:00:00:00:0${n}`;
  return build([
    ethernet({ src: mac(from), dst: mac(to) }),
    ipv4({ src: `10.0.0.${from}`, dst: `10.0.0.${to}` }),
    udp({ src: 1000, dst: 2000 }),
    payload("hello"),
  ]);
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

/** Ends a program that may have ended already. */
function stop(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGTERM");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

const app = Deno.env.get("OSKEN_APP") ?? `${root}examples/openflow/learning_switch.py`;

Deno.test(
  "openflow: a controller of os-ken learns, and packets come up no more",
  skippable(async () => {
    const manager = needProgram("osken-manager", { requirement: "peer" });
    const port = freePort();
    const child = new Deno.Command(manager, {
      args: ["--ofp-tcp-listen-port", `${port}`, "--ofp-listen-host", "127.0.0.1", app],
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      await using lab = await openLab({ ports: ["p1", "p2", "p3"] });
      const faults: string[] = [];
      await using of = await openSwitch(lab.dp, {
        controllers: [`tcp:127.0.0.1:${port}`],
        onError: (error) => void faults.push(error.message),
      });
      await until("the controller's first flow", () => of.flows().length === 1, {
        limitMs: 30_000,
      });
      strictEqual(of.flows()[0], "priority=0 actions=CONTROLLER:65535");
      // Nobody knows station 2: the packet goes everywhere.
      await lab.inject("p1", frame(1, 2));
      await lab.expect("p2", frame(1, 2));
      await lab.expect("p3", frame(1, 2));
      // Its answer goes to station 1 alone, and gets a flow.
      await lab.inject("p2", frame(2, 1));
      await lab.expect("p1", frame(2, 1));
      await until("a flow back", () => of.flows().length === 2);
      await lab.inject("p1", frame(1, 2));
      await lab.expect("p2", frame(1, 2));
      await until("a flow forth", () => of.flows().length === 3);
      await of.run.settled();
      deepStrictEqual(await lab.collect("p3"), []);
      // From now on the datapath forwards by itself.
      await lab.inject("p1", frame(1, 2));
      await lab.expect("p2", frame(1, 2));
      await lab.inject("p2", frame(2, 1));
      await lab.expect("p1", frame(2, 1));
      await of.run.settled();
      const { upcalls } = of.run.stats;
      for (let i = 0; i < 5; i++) {
        await lab.inject("p1", frame(1, 2));
        await lab.inject("p2", frame(2, 1));
      }
      await lab.collect("p2", 5);
      await lab.collect("p1", 5);
      strictEqual(of.run.stats.upcalls, upcalls);
      deepStrictEqual(faults, []);
    } finally {
      stop(child);
      await child.status;
    }
  }),
);
