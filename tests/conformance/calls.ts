// SPDX-License-Identifier: Apache-2.0
/**
 * Every public call with odd arguments, and what comes of it: one outcome for all providers, or one
 * for each and the reason.
 *
 * An outcome is `ok`, with the value if it is a simple one, the code of a `DatapathError`, or the
 * name of another error. A facet that a provider lacks is `absent`, which every call of it may be.
 */
import assert from "node:assert/strict";
import type { Datapath } from "../../providers/datapath.ts";
import { DatapathError } from "../../providers/errors.ts";
import { openDatapath } from "../../providers/registry.ts";
import type { Suite } from "./environment.ts";
import { type Calls, flowCalls } from "./calls_flow.ts";

/** What a call that there is no facet for gives. */
export const absent = Symbol("absent");

async function outcomeOf(call: () => unknown): Promise<string> {
  try {
    const value = await call();
    if (value === absent) return "absent";
    if (value === undefined || typeof value === "object") return "ok";
    return `ok ${String(value)}`;
  } catch (error) {
    if (error instanceof DatapathError) return error.code;
    return error instanceof Error ? error.name : String(error);
  }
}

/** Numbers that no field of 32 bits holds. */
const noNumbers = {
  "-1": -1,
  "1.5": 1.5,
  "NaN": NaN,
  "2^32+1": 2 ** 32 + 1,
  "Infinity": Infinity,
};

/** The same call with each number that is none, and with text: `RangeError` and `TypeError`. */
function refused(
  name: string,
  call: (dp: Datapath, value: number) => unknown,
  isNumberOnly = true,
): Calls {
  const bad = Object.entries(noNumbers).map(([text, value]) =>
    [
      name.replace("_", text),
      [(dp: Datapath) => call(dp, value), "RangeError"],
    ] as const
  );
  return {
    ...Object.fromEntries(bad),
    ...(isNumberOnly && {
      [name.replace("_", '"1"')]: [
        (dp: Datapath) => call(dp, "1" as unknown as number),
        "TypeError",
      ],
    }),
  };
}

const noDevices = "The fake has ports without devices, of type dummy, and with any name.";

const portCalls: Calls = {
  'ports.add({ name: "" })': [(dp) => dp.ports.add({ name: "" }), "TypeError"],
  "ports.add({ name: undefined })": [
    (dp) => dp.ports.add({ name: undefined as unknown as string }),
    "TypeError",
  ],
  "ports.add: a name with a zero": [(dp) => dp.ports.add({ name: "a\0b" }), "TypeError"],
  "ports.add: a name of 100 letters": [
    (dp) => dp.ports.add({ name: "x".repeat(100), type: "internal" }),
    {
      system: "ENAMETOOLONG",
      netdev: "ENAMETOOLONG",
      fake: "EAFNOSUPPORT",
      why: noDevices,
    },
  ],
  "ports.add: no such device": [
    (dp) => dp.ports.add({ name: "no-such-dev" }),
    { system: "ENODEV", netdev: "ENODEV", fake: "ok", why: noDevices },
  ],
  "ports.add: no such type": [
    (dp) => dp.ports.add({ name: "q", type: "nonsense" }),
    "EAFNOSUPPORT",
  ],
  "ports.add: an empty type": [
    (dp) => dp.ports.add({ name: "q", type: "" }),
    "EAFNOSUPPORT",
  ],
  "ports.add: number 0": [
    (dp) => dp.ports.add({ name: "q0", type: "internal", no: 0 }),
    { system: "EBUSY", netdev: "EBUSY", fake: "EAFNOSUPPORT", why: noDevices },
  ],
  "ports.add: number 65535": [
    (dp) => dp.ports.add({ name: "q1", type: "internal", no: 65535 }),
    { system: "EFBIG", netdev: "EFBIG", fake: "EAFNOSUPPORT", why: noDevices },
  ],
  "ports.add: number 4294967294": [
    (dp) => dp.ports.add({ name: "q2", type: "internal", no: 4294967294 }),
    { system: "EFBIG", netdev: "EFBIG", fake: "EAFNOSUPPORT", why: noDevices },
  ],
  ...refused(
    "ports.add: number _",
    (dp, no) => dp.ports.add({ name: "q3", type: "internal", no }),
  ),
  "ports.add: an option that there is not": [
    (dp) => dp.ports.add({ name: "q4", type: "internal", options: { nonsense: 1 } }),
    { system: "EINVAL", netdev: "EINVAL", fake: "EAFNOSUPPORT", why: noDevices },
  ],
  "ports.delete(0)": [(dp) => dp.ports.delete(0), "EINVAL"],
  "ports.delete(999)": [(dp) => dp.ports.delete(999), "ENODEV"],
  "ports.delete(65535)": [(dp) => dp.ports.delete(65535), "ENODEV"],
  "ports.delete(70000)": [(dp) => dp.ports.delete(70000), "ENODEV"],
  "ports.delete(4294967294)": [(dp) => dp.ports.delete(4294967294), "ENODEV"],
  "ports.delete(4294967295)": [(dp) => dp.ports.delete(4294967295), "RangeError"],
  ...refused("ports.delete(_)", (dp, no) => dp.ports.delete(no), false),
  'ports.delete("nobody")': [(dp) => dp.ports.delete("nobody"), "ENODEV"],
  'ports.delete("")': [(dp) => dp.ports.delete(""), "TypeError"],
  "ports.delete: a name of 100 letters": [
    (dp) => dp.ports.delete("x".repeat(100)),
    "ENODEV",
  ],
  "ports.get(999)": [(dp) => dp.ports.get(999), "ok"],
  "ports.get(65535)": [(dp) => dp.ports.get(65535), "ok"],
  "ports.get(70000)": [(dp) => dp.ports.get(70000), "ok"],
  ...refused("ports.get(_)", (dp, no) => dp.ports.get(no), false),
  'ports.get("nobody")': [(dp) => dp.ports.get("nobody"), "ok"],
  'ports.get("lo")': [(dp) => dp.ports.get("lo"), "ok"],
  'ports.get("")': [(dp) => dp.ports.get(""), "TypeError"],
  "ports.get: a name with a zero": [(dp) => dp.ports.get("a\0"), "TypeError"],
  "ports.get: a name of 100 letters": [(dp) => dp.ports.get("x".repeat(100)), "ok"],
  "ports.get: 8 letters of two bytes": [(dp) => dp.ports.get("ä".repeat(8)), "ok"],
  "ports.stats(999)": [(dp) => dp.ports.stats(999), "ENODEV"],
  "ports.stats(65535)": [(dp) => dp.ports.stats(65535), "ENODEV"],
  "ports.stats(70000)": [(dp) => dp.ports.stats(70000), "ENODEV"],
  ...refused("ports.stats(_)", (dp, no) => dp.ports.stats(no)),
  ...refused("ports.upcallPortId(_)", (dp, no) => dp.ports.upcallPortId(no)),
  "ports.setConfig(999)": [
    (dp) => dp.ports.setConfig(999, { a: "b" }),
    {
      netdev: "ENODEV",
      system: "EOPNOTSUPP",
      fake: "EOPNOTSUPP",
      why: "Options of a port of the kernel are fixed when it is made.",
    },
  ],
  "ports.changes({ signal: {} })": [
    (dp) => dp.ports.changes({ signal: {} as AbortSignal }),
    "TypeError",
  ],
};

const upcallCalls: Calls = {
  "setHandlers(0)": [(dp) => dp.setHandlers(0), "RangeError"],
  "setHandlers(1)": [(dp) => dp.setHandlers(1), "ok"],
  "setHandlers(100000)": [(dp) => dp.setHandlers(100000), "EINVAL"],
  ...refused("setHandlers(_)", (dp, count) => dp.setHandlers(count)),
  "upcalls({ handler: 1 }), of one": [(dp) => dp.upcalls({ handler: 1 }), "EINVAL"],
  "upcalls({ handler: 100000 })": [(dp) => dp.upcalls({ handler: 100000 }), "EINVAL"],
  ...refused("upcalls({ handler: _ })", (dp, handler) => dp.upcalls({ handler })),
  "upcalls({ batch: 0 })": [(dp) => dp.upcalls({ batch: 0 }), "RangeError"],
  "upcalls({ batch: 257 })": [(dp) => dp.upcalls({ batch: 257 }), "RangeError"],
  "upcalls({ signal: {} })": [
    (dp) => dp.upcalls({ signal: {} as AbortSignal }),
    "TypeError",
  ],
  "upcalls: free after all that": [(dp) => dp.upcalls().close(), "ok"],
  "purgeUpcalls()": [(dp) => dp.purgeUpcalls(), "ok"],
  "answer([])": [(dp) => dp.answer([], () => undefined), "ok"],
};

/** Calls a facet's member, or says that there is none. */
function of<T>(facet: T | undefined, call: (facet: T) => unknown): unknown {
  return facet === undefined ? absent : call(facet);
}

const band = { rate: 1000, burst: 10 };

const facetCalls: Calls = {
  ...refused("meters.get(_)", (dp, id) => of(dp.meters, (meters) => meters.get(id))),
  ...refused("meters.delete(_)", (dp, id) => of(dp.meters, (m) => m.delete(id))),
  ...refused(
    "meters.set(_)",
    (dp, id) => of(dp.meters, (m) => m.set(id, { unit: "pktps", bands: [band] })),
  ),
  ...refused(
    "meters.set: rate _",
    (dp, rate) => of(dp.meters, (m) => m.set(1, { unit: "pktps", bands: [{ rate }] })),
  ),
  ...refused(
    "meters.set: burst _",
    (dp, burst) =>
      of(dp.meters, (m) => m.set(1, { unit: "kbps", bands: [{ rate: 1, burst }] })),
  ),
  "meters.set: no band": [
    (dp) => of(dp.meters, (m) => m.set(1, { unit: "pktps", bands: [] })),
    "EINVAL",
  ],
  "meters.set: a rate of 0": [
    (dp) => of(dp.meters, (m) => m.set(1, { unit: "pktps", bands: [{ rate: 0 }] })),
    "EDOM",
  ],
  "meters.set: no such unit": [
    (dp) => of(dp.meters, (m) => m.set(1, { unit: "x" as "kbps", bands: [band] })),
    "TypeError",
  ],
  "meters.get: none": [(dp) => of(dp.meters, (m) => m.get(77)), "ENOENT"],
  "meters.delete: none": [(dp) => of(dp.meters, (m) => m.delete(77)), "ENOENT"],
  "meters.get: id too large": [
    (dp) => of(dp.meters, (m) => m.get(0xffffffff)),
    "ENOENT",
  ],
  ...refused(
    "conntrack.limits.set: limit _",
    (dp, limit) => of(dp.conntrack?.limits, (limits) => limits.set([{ zone: 1, limit }])),
  ),
  ...refused(
    "conntrack.limits.set: zone _",
    (dp, zone) => of(dp.conntrack?.limits, (limits) => limits.set([{ zone, limit: 1 }])),
  ),
  "conntrack.limits.get([65536])": [
    (dp) => of(dp.conntrack?.limits, (limits) => limits.get([65536])),
    "RangeError",
  ],
  "conntrack.limits.delete([65536])": [
    (dp) => of(dp.conntrack?.limits, (limits) => limits.delete([65536])),
    "RangeError",
  ],
  ...refused(
    "conntrack.dump({ zone: _ })",
    (dp, zone) => of(dp.conntrack, (conntrack) => [...conntrack.dump({ zone })]),
  ),
  "conntrack.dump({ zone: 65536 })": [
    (dp) => of(dp.conntrack, (conntrack) => [...conntrack.dump({ zone: 65536 })]),
    "RangeError",
  ],
  "conntrack.flush({ zone: 65536 })": [
    (dp) => of(dp.conntrack, (conntrack) => conntrack.flush({ zone: 65536 })),
    "RangeError",
  ],
  "conntrack.flush: protocol 256": [
    (dp) =>
      of(
        dp.conntrack,
        (conntrack) =>
          conntrack.flush({ tuple: { src: "1.1.1.1", dst: "2.2.2.2", proto: 256 } }),
      ),
    "RangeError",
  ],
  ...refused(
    "conntrack.timeoutPolicies.get(_)",
    (dp, id) => of(dp.conntrack?.timeoutPolicies, (policies) => policies.get(id)),
  ),
  ...refused(
    "conntrack.timeoutPolicies.set: seconds _",
    (dp, seconds) =>
      of(
        dp.conntrack?.timeoutPolicies,
        (policies) => policies.set({ id: 1, timeouts: { tcpEstablished: seconds } }),
      ),
  ),
  "conntrack.timeoutPolicies.name: protocol 256": [
    (dp) => of(dp.conntrack?.timeoutPolicies, (p) => p.name(1, 0x0800, 256)),
    "RangeError",
  ],
  ...refused("caches.size(_)", (dp, level) => of(dp.caches, (c) => c.size(level))),
  ...refused(
    "caches.setSize(0, _)",
    (dp, size) => of(dp.caches, (c) => c.setSize(0, size)),
  ),
  "caches.size(1)": [(dp) => of(dp.caches, (caches) => caches.size(1)), "EINVAL"],
  "caches.setSize(0, 2^32-1)": [
    (dp) => of(dp.caches, (caches) => caches.setSize(0, 0xffffffff)),
    "EINVAL",
  ],
  "caches.size(0): as it was": [(dp) => of(dp.caches, (c) => c.size(0)), "ok 256"],
  ...refused(
    "queues.toPriority(_)",
    (dp, queue) => of(dp.queues, (queues) => queues.toPriority(queue)),
  ),
  "queues.toPriority(0)": [
    (dp) => of(dp.queues, (queues) => queues.toPriority(0)),
    {
      system: "ok 65537",
      netdev: "ok 0",
      why:
        "A priority of the kernel is a handle of tc, and Open vSwitch's in userspace the queue.",
    },
  ],
  "queues.toPriority(61440)": [
    (dp) => of(dp.queues, (queues) => queues.toPriority(61440)),
    {
      system: "EINVAL",
      netdev: "ok 61440",
      why: "Handles of tc from f000 on are its own.",
    },
  ],
  ...refused("features.set(_)", (dp, bits) => of(dp.features, (f) => f.set(bits))),
  "features.set(0x80000000)": [
    (dp) => of(dp.features, (features) => features.set(0x80000000)),
    "EOPNOTSUPP",
  ],
  ...refused(
    "pollThreads.set: maxSleepUs _",
    (dp, maxSleepUs) => of(dp.pollThreads, (threads) => threads.set("0", { maxSleepUs })),
  ),
  'pollThreads.set("x")': [(dp) => of(dp.pollThreads, (t) => t.set("x")), "EINVAL"],
};

const lifeCalls: Calls = {
  "openDatapath: no such datapath": [
    (dp) => openDatapath(`${dp.type}@no-such-dp`),
    "ENODEV",
  ],
  "openDatapath: exclusively": [
    (dp) => openDatapath(dp.fullName, { create: "exclusive" }),
    "EEXIST",
  ],
  "openDatapath: no such setting": [
    (dp) => openDatapath(`${dp.type}@new1`, { create: true, config: { nonsense: 1 } }),
    {
      system: "EINVAL",
      netdev: "EINVAL",
      fake: "ok",
      why: "The fake has no settings, and looks at none.",
    },
  ],
  "openDatapath: a name of 100 letters": [
    (dp) => openDatapath(`${dp.type}@${"x".repeat(100)}`),
    { system: "ENAMETOOLONG", netdev: "ENAMETOOLONG", fake: "ENODEV", why: noDevices },
  ],
  "openDatapath: a name with a zero": [
    (dp) => openDatapath(`${dp.type}@a\0b`),
    "TypeError",
  ],
  "openDatapath: an empty name": [(dp) => openDatapath(`${dp.type}@`), "TypeError"],
  "setConfig: no such setting": [
    (dp) => dp.setConfig({ nonsense: "1" }),
    {
      netdev: "EINVAL",
      system: "EOPNOTSUPP",
      fake: "EOPNOTSUPP",
      why: "The kernel's datapath has no settings.",
    },
  ],
  "run()": [(dp) => dp.run(), "ok false"],
  "wait: aborted": [
    (dp) => dp.wait({ signal: AbortSignal.abort() }),
    "AbortError",
  ],
  "onClose()": [(dp) => dp.onClose({ [Symbol.dispose]() {} }), "ok"],
};

/** Calls in groups, each on a datapath of its own. */
export const groups: Readonly<Record<string, Calls>> = {
  life: lifeCalls,
  ports: portCalls,
  flows: flowCalls,
  upcalls: upcallCalls,
  facets: facetCalls,
};

export const callSuite: Suite = Object.fromEntries(
  Object.entries(groups).map(([group, calls]) => [
    `odd arguments: ${group}`,
    async ({ env, dp }) => {
      const wrong: string[] = [];
      for (const [name, [call, outcome]] of Object.entries(calls)) {
        const found = await outcomeOf(() => call(dp));
        const wanted = typeof outcome === "string" ? outcome : outcome[env.type];
        if (found !== wanted && found !== "absent") {
          wrong.push(`${name}: ${found}, wanted ${wanted}`);
        }
      }
      assert.deepEqual(wrong, []);
    },
  ]),
);
