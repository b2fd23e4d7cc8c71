// SPDX-License-Identifier: Apache-2.0
/**
 * The commands of a daemon's control socket, for ovs-appctl(8).
 *
 * @module
 */
import { CommandError } from "../../control/command_error.ts";
import { allCounters } from "../../control/commands.ts";
import type { ControlCommand, ControlCommands } from "../../control/socket.ts";
import { version } from "../../control/version.ts";
import { bondCommands } from "./bond.ts";
import { bridgeCommands } from "./bridge.ts";
import { datapathCommands } from "./datapath.ts";
import { dummyPortCommands } from "./dummy.ts";
import { type Add, type ServedDaemon, sortedBridges } from "./served.ts";
import { timeCommands } from "./time.ts";
import { traceCommands } from "./trace/commands.ts";

/** All commands of a daemon. */
export function daemonCommands(served: ServedDaemon): ControlCommands {
  const commands = new Map<string, ControlCommand>();
  const add: Add = (name, usage, args, run) =>
    void commands.set(name, {
      usage,
      args,
      run: async (words, client) => ended(await run(words, client)),
    });
  generalCommands(add, served);
  bondCommands(add, served);
  bridgeCommands(add, served);
  datapathCommands(add, served);
  dummyPortCommands(add, served);
  timeCommands(add, served);
  traceCommands(add, served);
  return commands;
}

/** An answer as Open vSwitch gives it: with a line break at its end. */
function ended(text: string): string {
  return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}

function generalCommands(add: Add, { daemon, log, exit }: ServedDaemon): void {
  add("version", "", [0, 0], () => `ovs-vswitchd (Upcall) ${version}\n`);
  add("exit", "[--cleanup]", [0, 1], ([word]) => {
    // Once the answer is on its way.
    setTimeout(() => exit(word === "--cleanup"), 10);
    return "";
  });
  const specs = "{spec | PATTERN:destination:pattern}";
  add("vlog/set", specs, [1, Infinity], (words) => {
    for (const word of words) log.set(word);
    return "";
  });
  add("vlog/list", "", [0, 0], () => log.list());
  add("vlog/reopen", "", [0, 0], () => {
    try {
      log.reopen();
    } catch (error) {
      throw new CommandError((error as Error).message);
    }
    return "";
  });
  add("vlog/close", "", [0, 0], () => {
    log.close();
    return "";
  });
  const counters = (): Map<string, bigint> => {
    const sums = new Map<string, bigint>();
    for (const { dp } of daemon.datapaths.all()) {
      for (const [name, count] of Object.entries(allCounters(dp))) {
        sums.set(name, (sums.get(name) ?? 0n) + count);
      }
    }
    const strays = sortedBridges(daemon).reduce(
      (all, { of }) => all + of.stations.strays,
      0,
    );
    sums.set("mac_learning_static_none_move", BigInt(strays));
    return sums;
  };
  add("coverage/show", "", [0, 0], () => {
    const all = [...counters()];
    const happened = all.filter(([, count]) => count !== 0n);
    return "Event coverage:\n" +
      happened.map(([name, count]) => `${name.padEnd(32)} total: ${count}\n`).join("") +
      `${all.length - happened.length} events never hit\n`;
  });
  add("coverage/read-counter", "counter", [1, 1], ([name = ""]) => {
    const count = counters().get(name);
    if (count === undefined) throw new CommandError("No such counter");
    return `${count}\n`;
  });
  add("memory/show", "", [0, 0], () => {
    const bridges = sortedBridges(daemon);
    const sum = (of: (bridge: typeof bridges[number]) => number): number =>
      bridges.reduce((all, one) => all + of(one), 0);
    let keys = 0;
    for (const { switches } of daemon.datapaths.all()) keys += switches.run.stats.flows;
    const counts = {
      ofconns: sum(({ of }) => of.peers.size),
      ports: sum(({ of }) => of.ports.value.size),
      rules: sum(({ of }) => [...of.flows.rules()].length),
      "udpif keys": keys,
    };
    return Object.entries(counts).filter(([, count]) => count > 0)
      .map(([name, count]) => `${name}:${count}`).join(" ") + "\n";
  });
}
