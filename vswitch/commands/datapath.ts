// SPDX-License-Identifier: Apache-2.0
/**
 * Commands about datapaths: the verbs of dpctl, which bridges are over which, dummy ports, and what
 * the policies under the bridges do.
 *
 * @module
 */
import { CommandError } from "../../control/command_error.ts";
import { controlCommands } from "../../control/commands.ts";
import type { ControlCommands } from "../../control/socket.ts";
import { Log } from "../../control/log.ts";
import { verbs } from "../../control/verbs/verbs.ts";
import type { Bridge, Face } from "../bridge.ts";
import { linesInTheirWords, withoutLayer } from "../flow_words.ts";
import { withHanded } from "../handed_text.ts";
import type { Backing } from "../datapaths.ts";
import { type Add, bridgeOf, type ServedDaemon, sortedBridges } from "./served.ts";

/** Datapaths of dummy ports are userspace ones: their names here, and to their users. */
const ours = (text: string): string => text.replaceAll(/\bdummy@/g, "netdev@");
const theirs = (text: string): string =>
  withHanded(text.replaceAll(/\bnetdev@ovs-dummy\b/g, "dummy@ovs-dummy"));

/** Commands of a userspace datapath: of its tunnels, and of its poll threads. */
const forwarded: readonly (readonly [name: string, usage: string])[] = [
  ["ovs/route/add", "ip_addr/prefix_len out_br_name [gw] [pkt_mark=mark]"],
  ["ovs/route/del", "ip_addr/prefix_len [pkt_mark=mark]"],
  ["ovs/route/show", ""],
  ["ovs/route/lookup", "ip_addr [pkt_mark=mark]"],
  ...["tnl/arp", "tnl/neigh"].flatMap((family) =>
    [
      [`${family}/show`, ""],
      [`${family}/set`, "bridge ip mac"],
      [`${family}/flush`, ""],
      [`${family}/aging`, "[seconds]"],
    ] as const
  ),
  ["tnl/ports/show", "[-v]"],
  ["tnl/egress_port_range", "[min max]"],
  ...["stats-show", "stats-clear", "rxq-show", "rxq-rebalance", "sleep-show", "perf-show"]
    .map((name) => [`dpif-netdev/pmd-${name}`, "[dp]"] as const),
];

/** Adds them. */
export function datapathCommands(add: Add, served: ServedDaemon): void {
  const { daemon } = served;
  const backings = (): Backing[] => [...daemon.datapaths.all()];
  const log = new Log(() => {});
  const onExit = (): void => {};
  /** Commands for a datapath, made once. */
  const known = new WeakMap<Backing, ControlCommands>();
  const commandsOf = (backing: Backing): ControlCommands => {
    let made = known.get(backing);
    if (made === undefined) {
      known.set(backing, made = controlCommands({ dp: backing.dp, log, onExit }));
    }
    return made;
  };
  for (const { name, usage } of verbs) {
    if (name === "help") continue;
    const full = `dpctl/${name}`;
    add(full, usage, [0, Infinity], async (args, client) => {
      const words = args.map(ours);
      const all = backings();
      const backing = all.find(({ dp }) =>
        words.some((word) =>
          word === dp.fullName || word === dp.name
        )
      ) ?? all[0];
      if (backing === undefined) throw new CommandError("no datapaths exist");
      const named = words.map((word) =>
        word === backing.dp.name ? backing.dp.fullName : word
      );
      const command = commandsOf(backing).get(full);
      if (command === undefined) {
        throw new CommandError(`${full} is not for this datapath`);
      }
      const text = theirs(await command.run(named, client));
      const isDump = name === "dump-flows" && backing.kind !== "system";
      if (!isDump) return text;
      // As in Open vSwitch: what a program puts into ports of memory is the main thread's.
      const isOfMain = backing.kind === "dummy" && /^(ufid|recirc_id)/.test(text);
      return (isOfMain ? "flow-dump from the main thread:\n" : "") +
        linesInTheirWords(text);
    });
  }
  for (const [name, usage] of forwarded) {
    add(name, usage, [0, Infinity], (args, client) => {
      const found = backings().flatMap((one) => commandsOf(one).get(name) ?? [])[0];
      // The kernel's datapath leaves these to Linux.
      if (found === undefined) throw new CommandError("no userspace datapath exists");
      if (args.length < found.args[0] || args.length > found.args[1]) {
        throw new CommandError(
          `"${name}" command takes ${found.usage || "no arguments"}`,
        );
      }
      return found.run(args.map(ours), client);
    });
  }
  add(
    "dpif/show",
    "",
    [0, 0],
    () => backings().map((one) => showText(served, one)).join(""),
  );
  add(
    "dpif/dump-dps",
    "",
    [0, 0],
    () =>
      sortedBridges(daemon).map(({ name, backing }) => `${backing.kind}@${name}\n`).join(
        "",
      ),
  );
  add(
    "dpif/dump-flows",
    "[-m] [--names | --no-names] bridge",
    [1, 4],
    async (args, client) => {
      const bridge = bridgeOf(daemon, args.at(-1) ?? "", "no such bridge");
      const flags = args.slice(0, -1);
      const isNamed = flags.some((flag) => flag.endsWith("names"));
      if (!isNamed) flags.push(flags.includes("-m") ? "--names" : "--no-names");
      const { fullName } = bridge.backing.dp;
      const command = commandsOf(bridge.backing).get("dpctl/dump-flows");
      const text = linesInTheirWords(
        await command?.run([...flags, fullName], client) ?? "",
      );
      return text.split("\n").filter((line) => isOf(bridge, line))
        .map((line) => `${withoutLayer(line)}\n`).join("");
    },
  );
  policies(add, served, backings);
}

/** Whether a flow is of a bridge: it begins at one of its ports. */
function isOf({ faces }: Bridge, line: string): boolean {
  const port = /\bin_port\(([^)]+)\)/.exec(line)?.[1];
  return port !== undefined &&
    [...faces].some(([name, { dp }]) => port === name || port === `${dp}`);
}

function showText({ daemon }: ServedDaemon, backing: Backing): string {
  const { hit, missed } = backing.dp.stats();
  const head = theirs(`${backing.dp.fullName}: hit:${hit} missed:${missed}\n`);
  const line = (bridge: Bridge, name: string, face: Face): string => {
    const { config: { type, options }, dp, number } = face;
    const shown = backing.kind !== "dummy" || type === "patch"
      ? name === bridge.name ? "internal" : type
      : name === bridge.name || type === "internal"
      ? "dummy-internal"
      : type === "system"
      ? "dummy"
      : type;
    const queues = options.get("n_rxq") ?? "1";
    const own = shown === "dummy-pmd"
      ? ["configured_rx_queues", "configured_tx_queues"].map((key) =>
        [key, queues] as const
      )
      : [];
    const said = [...options, ...own].sort(([a], [b]) => a < b ? -1 : 1)
      .map(([key, value]) => `${key}=${value}`).join(", ");
    const how = said === "" ? "" : `: ${said}`;
    return `    ${name} ${number}/${dp ?? "none"}: (${shown}${how})\n`;
  };
  return head + sortedBridges(daemon).filter((one) => one.backing === backing)
    .map((bridge) => {
      const faces = [...bridge.faces].filter(([, { number }]) => number >= 0)
        .sort(([a], [b]) => a < b ? -1 : 1);
      return `  ${bridge.name}:\n` +
        faces.map(([name, face]) => line(bridge, name, face)).join("");
    }).join("");
}

function policies(add: Add, { daemon }: ServedDaemon, backings: () => Backing[]): void {
  const { datapaths } = daemon;
  add("revalidator/wait", "", [0, 0], async () => {
    for (const { switches: { run } } of backings()) {
      await run.settled();
      await run.statistics();
    }
    return "";
  });
  add("revalidator/purge", "", [0, 0], async () => {
    for (const { switches: { run }, dp } of backings()) {
      await run.settled();
      await run.statistics(); // What flows counted is not lost with them.
      dp.flows.flush();
      await run.statistics();
    }
    return "";
  });
  for (const isOn of [true, false]) {
    const verb = isOn ? "enable" : "disable";
    add(`upcall/${verb}-megaflows`, "", [0, 0], async () => {
      for (const { switches } of backings()) {
        switches.exact.value = !isOn;
        await switches.run.settled();
      }
      return `megaflows ${verb}d\n`;
    });
  }
  for (const isTerse of [true, false]) {
    const verb = isTerse ? "enable" : "disable";
    add(`upcall/${verb}-ufid`, "", [0, 0], () => {
      datapaths.isTerse = isTerse;
      return `Datapath dumping tersely using UFID ${verb}d\n`;
    });
  }
  add("upcall/show", "", [0, 0], () =>
    backings().map(({ dp, switches }) => {
      const { flows, limit, masks } = switches.run.stats;
      return theirs(`${dp.fullName}:\n`) +
        `  flows         : (current ${flows}) (limit ${limit})\n` +
        `  masks         : ${masks}\n` +
        `  ufid enabled : true\n`;
    }).join(""));
  add("upcall/explain", "bridge packet|flow", [2, 2], ([name = "", what = ""]) => {
    const { backing: { switches } } = bridgeOf(daemon, name);
    return `${switches.run.explain(what)}\n`;
  });
}
