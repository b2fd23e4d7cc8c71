// SPDX-License-Identifier: Apache-2.0
/**
 * Verbs about meters. Open vSwitch has them in ovs-ofctl(8) only, where they go by way of OpenFlow;
 * here they set the datapath's own, with the same words.
 *
 * @module
 */
import type { MeterFacet } from "../../providers/contract/meters.ts";
import type { Datapath } from "../../providers/datapath.ts";
import {
  meterFeaturesText,
  meterStatsText,
  meterText,
  parseMeter,
  parseMeterId,
} from "../text/meter.ts";
import { need } from "./conntrack.ts";
import { codeOf, type Verb, VerbFailure, type VerbRun } from "./verb.ts";

/** What is wrong with an argument is the failure. */
function parsed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof SyntaxError) throw new VerbFailure(error.message, "EINVAL");
    throw error;
  }
}

/** The text that is cut into words: an empty one of them was meant to be something. */
function textOf(words: readonly string[]): string {
  if (words.includes("")) throw new SyntaxError('invalid argument ""');
  return words.join(" ");
}

function metersOf(dp: Datapath): MeterFacet {
  return need(dp.meters, "this datapath has no meters");
}

function isThere(meters: MeterFacet, id: number): boolean {
  try {
    meters.get(id);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
}

function setMeter(isNew: boolean): Verb["perform"] {
  return async (run, args) => {
    await run.withDatapath(args, Infinity, (dp, rest) => {
      const { id, ...config } = parsed(() => parseMeter(textOf(rest)));
      const message = `${isNew ? "adding" : "changing"} meter ${id}`;
      const meters = metersOf(dp);
      run.attempt(message, () => {
        if (isThere(meters, id) === isNew) {
          throw new VerbFailure(message, isNew ? "EEXIST" : "ENOENT");
        }
        meters.set(id, config);
      });
      run.result({ id, ...config });
    });
  };
}

/** The meters that an argument names, or all; a datapath that does not list wants to be told. */
function chosen(run: VerbRun, meters: MeterFacet, rest: readonly string[]): number[] {
  if (rest.length > 0) return [parsed(() => parseMeterId(textOf(rest)))];
  const list = meters.list?.bind(meters);
  if (list === undefined) {
    throw new VerbFailure(
      "this datapath does not list its meters: name one by meter=N",
      "EOPNOTSUPP",
    );
  }
  return run.attempt("listing meters", () => list().map(({ id }) => id));
}

async function deleteMeters(run: VerbRun, args: readonly string[]): Promise<void> {
  await run.withDatapath(args, Infinity, (dp, rest) => {
    const meters = metersOf(dp);
    for (const id of chosen(run, meters, rest)) {
      const stats = run.attempt(`deleting meter ${id}`, () => meters.delete(id));
      run.result({ id, ...stats });
    }
  });
}

async function dumpMeters(run: VerbRun, args: readonly string[]): Promise<void> {
  await run.withDatapath(args, 2, (dp, rest) => {
    const message = "listing meters";
    const meters = metersOf(dp);
    const all = run.attempt(message, () => need(meters.list?.bind(meters), message)());
    const ids = chosen(run, meters, rest);
    for (const id of ids) {
      const meter = all.find((one) => one.id === id);
      if (meter === undefined) throw new VerbFailure(`reading meter ${id}`, "ENOENT");
      run.print(`${meterText(meter)}\n`);
      run.result(meter);
    }
  });
}

async function meterStats(run: VerbRun, args: readonly string[]): Promise<void> {
  await run.withDatapath(args, 2, (dp, rest) => {
    const meters = metersOf(dp);
    for (const id of chosen(run, meters, rest)) {
      const stats = run.attempt(`reading meter ${id}`, () => meters.get(id));
      run.print(`${meterStatsText(id, stats)}\n`);
      run.result({ id, ...stats });
    }
  });
}

async function meterFeatures(run: VerbRun, args: readonly string[]): Promise<void> {
  await run.withDatapath(args, 1, (dp) => {
    const meters = metersOf(dp);
    const features = run.attempt("reading meter features", () => meters.features());
    run.print(`${meterFeaturesText(features)}\n`);
    run.result(features);
  });
}

const meter = "meter=N kbps|pktps [burst] bands=type=drop rate=R [burst_size=B]...";

/** Verbs about meters, which ovs-dpctl does not have. */
export const meterVerbs: readonly Verb[] = [
  {
    name: "add-meter",
    usage: `[dp] ${meter}`,
    summary: "add a meter",
    args: [1, Infinity],
    writes: true,
    perform: setMeter(true),
  },
  {
    name: "mod-meter",
    usage: `[dp] ${meter}`,
    summary: "replace a meter; its counters start anew",
    args: [1, Infinity],
    writes: true,
    perform: setMeter(false),
  },
  {
    name: "del-meters",
    usage: "[dp] [meter=N]",
    summary: "delete a meter, or all",
    args: [0, 2],
    writes: true,
    perform: deleteMeters,
  },
  {
    name: "dump-meters",
    usage: "[dp] [meter=N]",
    summary: "show a meter, or all",
    args: [0, 2],
    writes: false,
    perform: dumpMeters,
  },
  {
    name: "meter-stats",
    usage: "[dp] [meter=N]",
    summary: "show what a meter, or each, has counted and dropped",
    args: [0, 2],
    writes: false,
    perform: meterStats,
  },
  {
    name: "meter-features",
    usage: "[dp]",
    summary: "show what meters can do",
    args: [0, 1],
    writes: false,
    perform: meterFeatures,
  },
];
