// SPDX-License-Identifier: Apache-2.0
/**
 * The commands of a control socket that serves a datapath: those of ovs-appctl(8) that make sense
 * for it.
 *
 * @module
 */
import type { BondFacet } from "../providers/contract/devices.ts";
import type { Datapath } from "../providers/datapath.ts";
import { type PolicyRun, policyRunOf } from "../policy/mod.ts";
import { CommandError } from "./command_error.ts";
import { captureOptions, capturePackets } from "./capture/capture.ts";
import { capturePiped, isPipe } from "./capture/pipe.ts";
import { parseEventChoice, sendConntrackEvents } from "./conntrack_events.ts";
import type { ControlCommand, ControlCommands } from "./socket.ts";
import { type DatapathSource, openableDatapaths } from "./datapath_source.ts";
import { dummyCommands } from "./dummy_commands.ts";
import type { Log } from "./log.ts";
import { metricsJson, metricsText } from "./metrics.ts";
import { OptionError, parseControlOptions } from "./options.ts";
import { statusOf } from "./status.ts";
import { policyText } from "./text/policy.ts";
import { threadCommands } from "./thread_commands.ts";
import { traceText } from "./trace/text.ts";
import { tunnelCommands } from "./tunnel_commands.ts";
import { runVerb, verbs } from "./verbs/verbs.ts";
import { toJson } from "./verbs/verb.ts";
import { version } from "./version.ts";

/** What commands work on. */
export interface Served {
  readonly dp: Datapath;
  readonly log: Log;
  /** What `exit` does. */
  readonly onExit: () => void;
}

/** Captures at once: each marks every flow, and holds its client's connection. */
const maxCaptures = 8;
/** Programs that are told of connections at once: the datapath has more streams for its own. */
const maxMonitors = 8;

/** The policy that runs on a datapath. */
function policyOf(dp: Datapath): PolicyRun {
  const run = policyRunOf(dp);
  if (run === undefined) throw new CommandError("no policy runs here");
  return run;
}

/** All commands for a datapath. */
export function controlCommands(served: Served): ControlCommands {
  const { dp, log } = served;
  const datapaths = openableDatapaths([dp.type]);
  const commands = new Map<string, ControlCommand>();
  for (const { name, usage } of verbs) {
    if (name === "help") continue;
    commands.set(`dpctl/${name}`, verbCommand(name, usage, datapaths));
  }
  const add = (
    name: string,
    usage: string,
    args: readonly [number, number],
    run: ControlCommand["run"],
  ): void => void commands.set(name, { usage, args, run });
  add("version", "", [0, 0], () => `upcall ${version}\n`);
  add("exit", "[--cleanup]", [0, 1], () => {
    // Once the answer is on its way.
    setTimeout(served.onExit, 10);
    return "";
  });
  add("coverage/show", "", [0, 0], () => coverageText(dp));
  add("coverage/read-counter", "counter", [1, 1], ([name = ""]) => {
    const counters = allCounters(dp);
    if (!Object.hasOwn(counters, name)) throw new CommandError("No such counter");
    return `${counters[name]}\n`;
  });
  add("vlog/list", "", [0, 0], () => log.list());
  add("vlog/set", "{spec | PATTERN:destination:pattern}", [1, Infinity], (specs) => {
    for (const spec of specs) log.set(spec);
    return "";
  });
  let captures = 0;
  const captureUsage =
    "file [port=P] [flow=F] [reason=drop|drop_NAME|miss] [count=N] [seconds=N]";
  add("upcall/capture", captureUsage, [1, 7], async (args, client) => {
    const { flags, rest: [path = "", ...words] } = options(args);
    const wanted = { ...captureOptions(dp, words), until: client.hungUp() };
    if (captures >= maxCaptures) {
      throw new CommandError(`${maxCaptures} captures are running already`);
    }
    captures++;
    if (await isPipe(path)) {
      const result = await capturePiped(dp, path, wanted).finally(() => captures--);
      return `${toJson({ verb: "capture", ok: true, result: [result], errors: [] })}\n`;
    }
    const { packets, lost } = await capturePackets(dp, path, wanted)
      .finally(() => captures--);
    const left = lost === 0 ? "" : `, ${lost} left out: they came too fast`;
    if (!flags.json) return `${packets} packets in ${path}${left}\n`;
    const result = [{ file: path, packets, ...(lost > 0 && { lost }) }];
    return `${toJson({ verb: "capture", ok: true, result, errors: [] })}\n`;
  });
  let monitors = 0;
  const monitorUsage = "[zone=N] [kind=new,update,destroy] [count=N] socket";
  add("upcall/monitor-conntrack", monitorUsage, [1, 8], async (args, client) => {
    const { flags, rest } = options(args);
    const choice = parseEventChoice(rest.slice(0, -1));
    if (monitors >= maxMonitors) {
      throw new CommandError(`${maxMonitors} programs are told of connections already`);
    }
    monitors++;
    await sendConntrackEvents(dp, rest.at(-1) ?? "", {
      choice,
      flags,
      until: client.hungUp(),
    }).finally(() => monitors--);
    return "";
  });
  add("upcall/status", "", [0, 0], () => `${toJson(statusOf(dp))}\n`);
  add("upcall/explain", "packet|flow", [1, 1], ([what = ""]) => {
    const frame = /^([0-9a-f]{2}){14,}$/i.test(what)
      ? Uint8Array.fromHex(what)
      : undefined;
    const asked = frame === undefined ? what : { frame, inPort: 0 };
    return `${policyOf(dp).explain(asked)}\n`;
  });
  add("upcall/policy-show", "[--json]", [0, 1], async (args) => {
    const { flags, rest } = options(args);
    if (rest.length > 0) {
      throw new CommandError('"upcall/policy-show" command takes no arguments');
    }
    const stats = await policyOf(dp).statistics();
    return flags.json ? `${toJson(stats)}\n` : policyText(stats);
  });
  add("upcall/policy-record", "", [0, 0], () => {
    const lines = policyOf(dp).record?.lines() ?? [];
    return lines.map((line) => `${line}\n`).join("");
  });
  add("upcall/trace", "[--json] packet|flow", [1, 2], (args) => {
    const { flags, rest } = options(args);
    return traceText(dp, rest.at(-1) ?? "", flags);
  });
  add("metrics/show", "[--json]", [0, 1], (args) => {
    const { flags, rest } = options(args);
    if (rest.length > 0) {
      throw new CommandError('"metrics/show" command takes no arguments');
    }
    return flags.json ? metricsJson([dp]) : metricsText([dp]);
  });
  const { bonds } = dp;
  if (bonds !== undefined) {
    add("dpif-netdev/bond-show", "[dp]", [0, 1], ([name]) => {
      if (name !== undefined && name !== dp.name && name !== dp.fullName) {
        throw new CommandError("please specify an existing datapath");
      }
      return bondText(bonds.list());
    });
  }
  for (const [name, command] of threadCommands(dp, log)) commands.set(name, command);
  for (const [name, command] of dummyCommands(dp)) commands.set(name, command);
  for (const [name, command] of tunnelCommands(dp)) commands.set(name, command);
  return logged(commands, log);
}

function logged(commands: ControlCommands, log: Log): ControlCommands {
  return new Map(
    [...commands].map(([name, command]): [string, ControlCommand] => [name, {
      ...command,
      run: async (args, client) => {
        log.say("control", "dbg", `received ${[name, ...args].join(" ")}`);
        try {
          return await command.run(args, client);
        } catch (error) {
          log.say("control", "dbg", `${name} failed: ${(error as Error).message.trim()}`);
          throw error;
        }
      },
    }]),
  );
}

/**
 * Options count as arguments in Open vSwitch, so that some commands cannot take all of theirs; here
 * they do not.
 */
function verbCommand(
  name: string,
  usage: string,
  datapaths: DatapathSource,
): ControlCommand {
  const run = async (args: readonly string[]): Promise<string> => {
    const { flags, rest } = options(args);
    const [min, max] = verbs.find((verb) => verb.name === name)?.args ?? [0, Infinity];
    const bound = rest.length < min
      ? `requires at least ${min}`
      : rest.length > max
      ? `takes at most ${max}`
      : undefined;
    if (bound !== undefined) {
      throw new CommandError(`"dpctl/${name}" command ${bound} arguments`);
    }
    let text = "";
    const put = (more: string): void => void (text += more);
    const ok = await runVerb([name, ...rest], {
      program: "upcall",
      isControl: true,
      flags,
      datapaths,
      output: { print: put, complain: put },
      readText: (path) => Deno.readTextFile(path),
    });
    if (ok) return text;
    throw new CommandError(text);
  };
  return { usage, args: [0, Infinity], run };
}

function options(args: readonly string[]): ReturnType<typeof parseControlOptions> {
  try {
    return parseControlOptions(args);
  } catch (error) {
    if (error instanceof OptionError) throw new CommandError(error.message);
    throw error;
  }
}

/** Counters of a datapath by name. */
export function allCounters(dp: Datapath): Readonly<Record<string, bigint>> {
  const { hit, missed, lost, maskHit, cacheHit, counters } = dp.stats();
  return {
    datapath_hit: hit,
    datapath_missed: missed,
    datapath_lost: lost,
    ...(maskHit !== undefined && { datapath_mask_hit: maskHit }),
    ...(cacheHit !== undefined && { datapath_cache_hit: cacheHit }),
    ...Object.fromEntries(
      Object.entries(counters ?? {}).map(([name, value]) => [`datapath_${name}`, value]),
    ),
  };
}

function coverageText(dp: Datapath): string {
  const counters = Object.entries(allCounters(dp));
  const happened = counters.filter(([, count]) => count !== 0n);
  const lines = happened.map(([name, count]) => `${name.padEnd(32)} total: ${count}\n`);
  return "Event coverage:\n" + lines.join("") +
    `${counters.length - happened.length} events never hit\n`;
}

/** `bond-show`: nothing at all where there are no bonds. */
function bondText(bonds: ReturnType<BondFacet["list"]>): string {
  const lines = bonds.map(({ id, members }) =>
    `  bond-id ${id}:\n` +
    members.map((port, bucket) => `    bucket ${bucket} - member ${port}\n`).join("")
  );
  return lines.length === 0 ? "" : `Bonds:\n${lines.join("")}`;
}
