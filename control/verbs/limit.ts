// SPDX-License-Identifier: Apache-2.0
/**
 * Verbs about limits of connections by zone, and about fragments.
 *
 * @module
 */
import type { ZoneLimit } from "../../providers/contract/conntrack.ts";
import type { FragmentCounters } from "../../providers/contract/fragments.ts";
import { readExact, readU16, readU32 } from "../text/scan.ts";
import { codeOf, reasonOf, type Verb, VerbFailure, type VerbRun } from "./verb.ts";
import { need } from "./conntrack.ts";

/** `zone=1,limit=10`. */
function parseZoneLimit(text: string): ZoneLimit {
  const invalid = (message: string): never => {
    throw new VerbFailure(message, "EINVAL");
  };
  let zone: number | undefined;
  let limit: number | undefined;
  for (const word of text.split(/[,\s]+/).filter((part) => part !== "")) {
    const [key = "", value = ""] = word.split("=");
    if (value === "") invalid(`field ${key} missing value`);
    if (key !== "zone" && key !== "limit") invalid(`invalid zone limit field: ${key}`);
    const number = readExact(value, key === "zone" ? 0xffff : 0xffffffff);
    if (number === undefined) return invalid(`failed to parse field ${key}`);
    if ((key === "zone" ? zone : limit) !== undefined) {
      invalid(`field ${key} given twice`);
    }
    if (key === "zone") zone = number;
    else limit = number;
  }
  if (zone === undefined || limit === undefined) {
    return invalid("failed to parse zone limit");
  }
  return { zone, limit };
}

async function setLimits(run: VerbRun, args: readonly string[]): Promise<void> {
  await run.withDatapath(args, Infinity, (dp, rest) => {
    const limits: ZoneLimit[] = [];
    const [first = ""] = rest;
    const hasDefault = first.startsWith("default=");
    if (hasDefault) {
      const limit = readU32(first.slice(8));
      if (limit === undefined) throw new VerbFailure("invalid default limit", "EINVAL");
      limits.push({ zone: "default", limit });
    }
    limits.push(...rest.slice(hasDefault ? 1 : 0).map(parseZoneLimit));
    if (new Set(limits.map(({ zone }) => zone)).size < limits.length) {
      throw new VerbFailure("a zone is given twice", "EINVAL");
    }
    const message = "failed to set conntrack limit";
    const facet = need(dp.conntrack?.limits, message);
    run.attempt(message, () => facet.set(limits));
    limits.forEach((limit) => run.result(limit));
  });
}

/** `zone=1,2,3`; where it is allowed, `default` too. */
function parseZones(text: string): number[] {
  if (!text.startsWith("zone=")) {
    throw new VerbFailure(`invalid argument ${text}`, "EINVAL");
  }
  return text.slice(5).split(",").map((part) => {
    const zone = readU16(part);
    if (zone === undefined) throw new VerbFailure("invalid zone", "EINVAL");
    return zone;
  });
}

async function deleteLimits(run: VerbRun, args: readonly string[]): Promise<void> {
  await run.withDatapath(args, 3, (dp, rest) => {
    const zones: (number | "default")[] = [];
    const words = [...rest];
    // Version 3.1 does not know it; version 3.3 and later do.
    if (words[0] === "default") {
      zones.push("default");
      words.shift();
    }
    const [text, ...more] = words;
    const [excess] = more;
    if (excess !== undefined) {
      throw new VerbFailure(`invalid argument ${excess}`, "EINVAL");
    }
    if (text !== undefined || zones.length === 0) zones.push(...parseZones(text ?? ""));
    const message = "failed to delete conntrack limit";
    const facet = need(dp.conntrack?.limits, message);
    run.attempt(message, () => facet.delete(zones));
    run.result({ deleted: zones });
  });
}

async function getLimits(run: VerbRun, args: readonly string[]): Promise<void> {
  await run.withDatapath(args, 2, (dp, rest) => {
    const [text] = rest;
    const zones = text === undefined ? undefined : parseZones(text);
    const fail = (code: ReturnType<typeof codeOf>): never => {
      throw new VerbFailure(
        `failed to get conntrack limit ${reasonOf(code)}`,
        code,
      );
    };
    const facet = dp.conntrack?.limits;
    if (facet === undefined) return fail("EOPNOTSUPP");
    let limits: ReturnType<typeof facet.get>;
    try {
      limits = facet.get(zones);
    } catch (error) {
      return fail(codeOf(error));
    }
    // Asked for some zones, the kernel does not tell the limit of all others.
    const all = zones === undefined ? limits : facet.get();
    const standard = all.find(({ zone }) => zone === "default")?.limit ?? 0;
    const lines = limits.filter(({ zone }) => zone !== "default")
      .map(({ zone, limit, count }) => `zone=${zone},limit=${limit},count=${count}`);
    run.print(`${[`default limit=${standard}`, ...lines].join("\n")}\n`);
    limits.forEach((limit) => run.result(limit));
  });
}

/** `v4` or `v6`, whatever follows; undefined for anything else. */
function ipVersion(text: string): 4 | 6 | undefined {
  const [, version] = /^\s*v([46])/.exec(text) ?? [];
  return version === undefined ? undefined : Number(version) as 4 | 6;
}

function setEnabled(on: boolean): Verb["perform"] {
  const doing = on ? "enabling" : "disabling";
  return async (run, args) => {
    await run.withDatapath(args, 2, (dp) => {
      const version = ipVersion(args.at(-1) ?? "");
      if (version === undefined) {
        const message = "parameter missing: 'v4' for IPv4 or 'v6' for IPv6";
        throw new VerbFailure(message, "EINVAL");
      }
      const failure = `${doing} fragmentation reassembly failed`;
      const fragments = need(dp.fragments, failure);
      run.attempt(failure, () => fragments.setEnabled(version, on));
      run.print(`${doing} fragmentation reassembly successful`);
      run.result({ version, enabled: on });
    });
  };
}

async function setMinFragment(run: VerbRun, args: readonly string[]): Promise<void> {
  await run.withDatapath(args, 3, (dp) => {
    const version = ipVersion(args.at(-2) ?? "");
    if (version === undefined) {
      const message = "parameter missing: v4 for IPv4 or v6 for IPv6";
      throw new VerbFailure(message, "EINVAL");
    }
    const size = readU32(args.at(-1) ?? "");
    if (size === undefined) {
      throw new VerbFailure("parameter missing for minimum fragment size", "EINVAL");
    }
    const failure = "requested minimum fragment size too small; see documentation";
    const fragments = need(dp.fragments, failure);
    run.attempt(failure, () => fragments.setMinSize(version, size));
    run.print("setting minimum fragment size successful");
    run.result({ version, minSize: size });
  });
}

async function setMaxFragments(run: VerbRun, args: readonly string[]): Promise<void> {
  await run.withDatapath(args, 2, (dp) => {
    const count = readU32(args.at(-1) ?? "");
    if (count === undefined) {
      throw new VerbFailure("parameter missing for maximum fragments", "EINVAL");
    }
    const failure = "setting maximum fragments failed";
    const fragments = need(dp.fragments, failure);
    run.attempt(failure, () => fragments.setMaxFragments(count));
    run.print("setting maximum fragments successful");
    run.result({ maxFragments: count });
  });
}

async function fragmentStatus(run: VerbRun, args: readonly string[]): Promise<void> {
  await run.withDatapath(args, 1, (dp) => {
    const failure = "ipf status could not be retrieved";
    const fragments = need(dp.fragments, failure);
    const status = run.attempt(failure, () => fragments.status());
    const { v4, v6 } = status;
    const lines = [
      "Fragmentation Module Status",
      "---------------------------",
      `v4 enabled: ${Number(v4.enabled)}`,
      `v6 enabled: ${Number(v6.enabled)}`,
      `max num frags (v4/v6): ${status.max}`,
      `num frag: ${status.count}`,
      ...counterLines("v4", v4),
      ...counterLines("v6", v6),
    ];
    run.print(lines.map((line) => `        ${line}\n`).join(""));
    run.result(status);
    if (run.flags.verbosity === 0) return;
    run.print("\n        Fragment Lists:\n\n");
    for (const list of fragments.dump()) run.print(`${list}\n`);
  });
}

function counterLines(version: "v4" | "v6", counters: FragmentCounters): string[] {
  return [
    `min ${version} frag size: ${counters.minSize}`,
    `${version} frags accepted: ${counters.accepted}`,
    `${version} frags completed: ${counters.completed}`,
    `${version} frags expired: ${counters.expired}`,
    `${version} frags too small: ${counters.tooSmall}`,
    `${version} frags overlapped: ${counters.overlapping}`,
    `${version} frags purged: ${counters.purged}`,
  ];
}

/** Verbs about limits and fragments, in the order of ovs-dpctl's list. */
export const limitVerbs: readonly Verb[] = [
  {
    name: "ct-set-limits",
    usage: "[dp] [default=L] [zone=N,limit=L]...",
    summary: "limit connections by zone",
    args: [1, Infinity],
    // It does write, but Open vSwitch (3.1) lets it pass with --read-only.
    writes: false,
    perform: setLimits,
  },
  {
    name: "ct-del-limits",
    usage: "[dp] zone=N1[,N2]...",
    summary: "remove limits of zones",
    args: [1, 3],
    writes: false,
    perform: deleteLimits,
  },
  {
    name: "ct-get-limits",
    usage: "[dp] [zone=N1[,N2]...]",
    summary: "show limits of zones, and how many connections they have",
    args: [0, 2],
    writes: false,
    perform: getLimits,
  },
  {
    name: "ipf-set-enabled",
    usage: "[dp] v4|v6",
    summary: "reassemble fragments",
    args: [1, 2],
    writes: true,
    perform: setEnabled(true),
  },
  {
    name: "ipf-set-disabled",
    usage: "[dp] v4|v6",
    summary: "do not reassemble fragments",
    args: [1, 2],
    writes: true,
    perform: setEnabled(false),
  },
  {
    name: "ipf-set-min-frag",
    usage: "[dp] v4|v6 minfragment",
    summary: "set the size of the smallest fragment but the last",
    args: [2, 3],
    writes: true,
    perform: setMinFragment,
  },
  {
    name: "ipf-set-max-nfrags",
    usage: "[dp] maxfrags",
    summary: "limit fragments that wait",
    args: [1, 2],
    writes: true,
    perform: setMaxFragments,
  },
  {
    name: "ipf-get-status",
    usage: "[dp]",
    summary: "show the state of reassembly",
    args: [0, 1],
    writes: false,
    perform: fragmentStatus,
  },
];
