// SPDX-License-Identifier: Apache-2.0
/** Calls about flows and packets with odd arguments, as `calls.ts` has them. */
import type { Datapath } from "../../providers/datapath.ts";
import type { Op } from "../../providers/operations.ts";

/** An outcome, or those of providers that differ, by their types, and why. */
export type Outcome = string | {
  readonly why: string;
  readonly [type: string]: string;
};

/** A call by what it is written as: what to do, and what comes of it. */
export type Calls = Readonly<
  Record<string, readonly [call: (dp: Datapath) => unknown, outcome: Outcome]>
>;

const key = "recirc_id(0),in_port(1),eth(),eth_type(0x0806),arp()";
const ufid = "01234567-89ab-4def-8123-456789abcdef";
const packet = new Uint8Array(60);
const bytes = Uint8Array.of(1, 2, 3);

/** Calls about flows and packets. */
export const flowCalls: Calls = {
  "flows.get({})": [(dp) => dp.flows.get({}), "TypeError"],
  "flows.delete({})": [(dp) => dp.flows.delete({}), "TypeError"],
  'flows.get({ key: "" })': [(dp) => dp.flows.get({ key: "" }), "ENOENT"],
  'flows.get({ key: "nonsense" })': [
    (dp) => dp.flows.get({ key: "nonsense" }),
    "SyntaxError",
  ],
  "flows.get: bytes that are no key": [(dp) => dp.flows.get({ key: bytes }), "EINVAL"],
  "flows.delete: bytes that are no key": [
    (dp) => dp.flows.delete({ key: bytes }),
    "EINVAL",
  ],
  "flows.get: none": [(dp) => dp.flows.get({ key }), "ENOENT"],
  "flows.delete: none": [(dp) => dp.flows.delete({ key }), "ENOENT"],
  "flows.get: no such ufid": [(dp) => dp.flows.get({ ufid }), "ENOENT"],
  "flows.delete: no such ufid": [(dp) => dp.flows.delete({ ufid }), "ENOENT"],
  'flows.get({ ufid: "x" })': [(dp) => dp.flows.get({ ufid: "x" }), "SyntaxError"],
  "flows.put: no actions": [
    (dp) => dp.flows.put({ key, actions: undefined as unknown as string }),
    "TypeError",
  ],
  "flows.put: neither create nor modify": [
    (dp) => dp.flows.put({ key, actions: "2", create: false }),
    "ENOENT",
  ],
  "flows.put: modify alone, none there": [
    (dp) => dp.flows.put({ key, actions: "2", create: false, modify: true }),
    "ENOENT",
  ],
  "flows.put: bytes that are no actions": [
    (dp) => dp.flows.put({ key, actions: bytes }),
    "EINVAL",
  ],
  "flows.put: bytes that are no mask": [
    (dp) => dp.flows.put({ key: { inPort: 1 }, mask: bytes, actions: "2" }),
    "EINVAL",
  ],
  "flows.put: output to 65535": [
    (dp) => dp.flows.put({ key, actions: [{ type: "output", port: 65535 }] }),
    "EINVAL",
  ],
  "flows.put: output to 65534": [
    (dp) => {
      dp.flows.put({ key, actions: [{ type: "output", port: 65534 }] });
      dp.flows.delete({ key });
    },
    "ok",
  ],
  "flows.put: output to 70000": [
    (dp) => dp.flows.put({ key, actions: [{ type: "output", port: 70000 }] }),
    "EINVAL",
  ],
  "flows.put: output to -1": [
    (dp) => dp.flows.put({ key, actions: [{ type: "output", port: -1 }] }),
    "RangeError",
  ],
  "flows.put: output to NaN": [
    (dp) => dp.flows.put({ key, actions: [{ type: "output", port: NaN }] }),
    "RangeError",
  ],
  "flows.put: in_port 2^32": [
    (dp) => dp.flows.put({ key: { inPort: 2 ** 32 }, actions: "2" }),
    "RangeError",
  ],
  "flows.put: create": [(dp) => dp.flows.put({ key, actions: "2" }), "ok"],
  "flows.put: create again": [(dp) => dp.flows.put({ key, actions: "2" }), "EEXIST"],
  "flows.put: modify": [
    (dp) => dp.flows.put({ key, actions: "3", modify: true }),
    "ok",
  ],
  "flows.put: zeroStats without modify": [
    (dp) => dp.flows.put({ key, actions: "3", zeroStats: true }),
    "EEXIST",
  ],
  "flows.put: modify by a ufid that there is not, and a key that there is": [
    (dp) => dp.flows.put({ key, actions: "3", modify: true, create: false, ufid }),
    "ok",
  ],
  "flows.put: probe": [
    (dp) => {
      dp.flows.put({ key, actions: "2", probe: true, modify: true });
      dp.flows.delete({ key });
    },
    "ok",
  ],
  "flows.dump()": [(dp) => [...dp.flows.dump()].length, "ok 0"],
  "flows.dump({ terse: true })": [(dp) => [...dp.flows.dump({ terse: true })], "ok"],
  "flows.readers(0)": [(dp) => dp.flows.readers(0), "RangeError"],
  "flows.readers(NaN)": [(dp) => dp.flows.readers(NaN), "RangeError"],
  "flows.flush()": [(dp) => dp.flows.flush(), "ok"],
  "operate([])": [(dp) => dp.operate([]).length, "ok 0"],
  "operate: no such operation": [
    (dp) => dp.operate([{ op: "nonsense" } as unknown as Op]),
    "TypeError",
  ],
  "execute: no actions": [(dp) => dp.execute({ packet, actions: "" }), "ok"],
  "execute: no packet": [
    (dp) => dp.execute({ packet: undefined as unknown as Uint8Array, actions: "" }),
    "TypeError",
  ],
  "execute: 13 bytes": [
    (dp) => dp.execute({ packet: packet.subarray(0, 13), actions: "" }),
    "EINVAL",
  ],
  "execute: an empty packet": [
    (dp) => dp.execute({ packet: new Uint8Array(), actions: "" }),
    "EINVAL",
  ],
  "execute: 65536 bytes": [
    (dp) => dp.execute({ packet: new Uint8Array(65536), actions: "" }),
    "EINVAL",
  ],
  "execute: bytes that are no key": [
    (dp) => dp.execute({ packet, key: bytes, actions: "" }),
    "EINVAL",
  ],
  "execute: output to 65535": [
    (dp) => dp.execute({ packet, actions: [{ type: "output", port: 65535 }] }),
    "EINVAL",
  ],
  "execute: output to a port that there is not": [
    (dp) => dp.execute({ packet, actions: "999" }),
    "ok",
  ],
  "execute: from a port that there is not": [
    (dp) => dp.execute({ packet, key: "in_port(999)", actions: "" }),
    "ok",
  ],
  "execute: an mru of 65536": [
    (dp) => dp.execute({ packet, actions: "", mru: 65536 }),
    "RangeError",
  ],
  "execute: a hash of 65 bits": [
    (dp) => dp.execute({ packet, actions: "", hash: 1n << 64n }),
    "RangeError",
  ],
  "execute: recirculates for ever": [
    (dp) => dp.execute({ packet, actions: "recirc(4294967295)" }),
    "ok",
  ],
  "put: a packet of 13 bytes": [
    (dp) => {
      dp.flows.put({ key, actions: "2", packet: packet.subarray(0, 13) });
    },
    "EINVAL",
  ],
};
