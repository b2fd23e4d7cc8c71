// SPDX-License-Identifier: Apache-2.0
/**
 * Facets as users see them: what a provider offers, behind one check of the numbers that it is
 * given.
 *
 * Providers write numbers into fields of messages and structures. What a field cannot hold would
 * be another number there: 2^32 + 1 would delete meter 1, and a limit of 2^32 would be none.
 *
 * @module
 */
import { integer } from "./check.ts";
import type { ConnFilter, ConnTuple } from "./contract/conntrack.ts";
import type { ProviderDatapath } from "./contract/provider.ts";
import { ctZone, meterId, portNo } from "./ids.ts";

/** Facets that take numbers. */
export type FacetName =
  | "features"
  | "meters"
  | "conntrack"
  | "fragments"
  | "tunnels"
  | "bonds"
  | "caches"
  | "queues"
  | "pollThreads";

/** Checks of arguments by the names of members; a facet within a facet has checks of its own. */
type Checks<T> = {
  [Name in keyof T]?: NonNullable<T[Name]> extends (...args: infer Args) => unknown
    ? (...args: Args) => void
    : Checks<NonNullable<T[Name]>>;
};

const asyncFunction = (async () => {}).constructor;

/** Checked facets, for each is made once. */
const made = new WeakMap<object, object>();

/** `facet` with its arguments checked first. Members that it lacks stay absent. */
function checked<T extends object>(facet: T, checks: Checks<T>): T {
  const known = made.get(facet);
  if (known !== undefined) return known as T;
  const proxy = new Proxy(facet, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      const check = checks[name as keyof T] as unknown;
      if (typeof member === "function") {
        return (...args: unknown[]): unknown => {
          try {
            if (typeof check === "function") check(...args);
          } catch (error) {
            // A member that waits rejects, and does not throw.
            if (member.constructor === asyncFunction) return Promise.reject(error);
            throw error;
          }
          return member.apply(target, args);
        };
      }
      const isFacet = typeof member === "object" && member !== null;
      return isFacet && typeof check === "object" && check !== null
        ? checked(member, check as Checks<object>)
        : member;
    },
  });
  made.set(facet, proxy);
  return proxy;
}

function u8(what: string, value: number): void {
  integer(what, value, 0xff);
}

function u16(what: string, value: number): void {
  integer(what, value, 0xffff);
}

function u32(what: string, value: number): void {
  integer(what, value, 0xffffffff);
}

function flag(what: string, value: boolean): void {
  if (typeof value === "boolean") return;
  throw new TypeError(`${what} must be a boolean: current value is ${String(value)}`);
}

function zoneOrDefault(zone: number | "default"): void {
  if (zone !== "default") ctZone(zone);
}

/** What a flush is asked for. */
function checkFilter({ tuple, orig, reply, mark, labels }: ConnFilter): void {
  const parts = [orig, reply, mark, labels];
  if (tuple !== undefined) {
    if (parts.some((part) => part !== undefined)) {
      throw new TypeError("a flush takes a whole tuple, or parts, marks and labels");
    }
    u8("proto", tuple.proto);
    checkTuple(tuple);
  }
  for (const part of [orig, reply]) {
    if (part !== undefined) checkTuple(part);
  }
  for (const bits of [mark?.value, mark?.mask]) {
    if (bits !== undefined) u32("mark", bits);
  }
  for (const bits of [labels?.value, labels?.mask]) {
    if (bits !== undefined && (bits < 0n || bits >> 128n !== 0n)) {
      throw new RangeError(`labels must have 128 bits: they are ${bits}`);
    }
  }
}

function checkTuple(tuple: Partial<ConnTuple>): void {
  if (tuple.proto !== undefined) u8("proto", tuple.proto);
  for (const name of ["srcPort", "dstPort", "icmpId"] as const) {
    if (tuple[name] !== undefined) u16(name, tuple[name]);
  }
  for (const name of ["icmpType", "icmpCode"] as const) {
    if (tuple[name] !== undefined) u8(name, tuple[name]);
  }
}

function checkVersion(version: 4 | 6): void {
  if (version !== 4 && version !== 6) {
    throw new RangeError(`IP version must be 4 or 6: current value is ${version}`);
  }
}

function checkZone({ zone }: { readonly zone?: number } = {}): void {
  if (zone !== undefined) ctZone(zone);
}

/** What is checked of each facet's arguments. */
const facetChecks: { [Name in FacetName]: Checks<NonNullable<ProviderDatapath[Name]>> } =
  {
    features: { set: (bits) => u32("feature bits", bits) },
    meters: {
      set: (id, { unit, bands }) => {
        meterId(id);
        if (unit !== "kbps" && unit !== "pktps") {
          throw new TypeError(`unit must be "kbps" or "pktps": current value is ${unit}`);
        }
        for (const { rate, burst } of bands) {
          u32("rate", rate);
          if (burst !== undefined) u32("burst", burst);
        }
      },
      get: (id) => void meterId(id),
      delete: (id) => void meterId(id),
    },
    conntrack: {
      dump: checkZone,
      flush: (options = {}) => {
        checkZone(options);
        checkFilter(options);
      },
      connections: checkZone,
      expectations: checkZone,
      events: (options = {}) => {
        checkZone(options);
        for (const kind of options.kinds ?? []) {
          if (kind === "new" || kind === "update" || kind === "destroy") continue;
          throw new TypeError(
            `kinds must be "new", "update" or "destroy": one is ${String(kind)}`,
          );
        }
      },
      maxConnections: { set: (count) => u32("number of connections", count) },
      tcpSequenceCheck: { set: (on) => flag("check of TCP sequence numbers", on) },
      sweepInterval: { set: (ms) => u32("sweep interval", ms) },
      limits: {
        set: (limits) => {
          for (const { zone, limit } of limits) {
            zoneOrDefault(zone);
            u32("limit", limit);
          }
        },
        get: (zones = []) => zones.forEach(zoneOrDefault),
        delete: (zones) => zones.forEach(zoneOrDefault),
      },
      timeoutPolicies: {
        set: ({ id, timeouts }) => {
          u32("timeout policy", id);
          for (const [name, seconds] of Object.entries(timeouts)) {
            if (seconds !== undefined) u32(name, seconds);
          }
        },
        get: (id) => u32("timeout policy", id),
        delete: (id) => u32("timeout policy", id),
        name: (id, etherType, proto) => {
          u32("timeout policy", id);
          u16("Ethernet type", etherType);
          u8("IP protocol", proto);
        },
      },
    },
    fragments: {
      setEnabled: (version, on) => {
        checkVersion(version);
        flag("whether fragments are put together", on);
      },
      setMinSize: (version, bytes) => {
        checkVersion(version);
        u32("bytes", bytes);
      },
      setMaxFragments: (count) => u32("number of fragments", count),
    },
    tunnels: {
      addRoute: ({ mark }) => {
        if (mark !== undefined) u32("mark", mark);
      },
      deleteRoute: (_destination, mark = 0) => u32("mark", mark),
      lookUp: (_destination, mark = 0) => u32("mark", mark),
    },
    bonds: {
      add: (id, members) => {
        u32("bond", id);
        members.forEach(portNo);
      },
      delete: (id) => u32("bond", id),
      stats: (id) => u32("bond", id),
    },
    caches: {
      size: (level) => u32("cache level", level),
      setSize: (level, entries) => {
        u32("cache level", level);
        u32("number of entries", entries);
      },
    },
    queues: { toPriority: (queue) => u32("queue", queue) },
    pollThreads: {
      set: (_mask, { maxSleepUs } = {}) => {
        if (maxSleepUs !== undefined) u32("maxSleepUs", maxSleepUs);
      },
    },
  };

/** A provider's facet `name` behind its checks; undefined where the provider lacks it. */
export function checkedFacet<Name extends FacetName>(
  provider: ProviderDatapath,
  name: Name,
): ProviderDatapath[Name] {
  const facet: object | undefined = provider[name];
  if (facet === undefined) return provider[name];
  return checked(facet, facetChecks[name] as Checks<object>) as ProviderDatapath[Name];
}
