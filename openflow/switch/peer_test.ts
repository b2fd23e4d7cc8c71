// SPDX-License-Identifier: Apache-2.0
/** What peers are told by their configuration. */
import { deepStrictEqual } from "node:assert/strict";
import type { Version } from "../wire/error.ts";
import { PacketInReason } from "../wire/message.ts";
import { Peer } from "./peer.ts";

Deno.test("before OpenFlow 1.3 a flag has packets told of whose TTL ended, and comes back", () => {
  const after = (version: Version, ...flags: number[]): readonly unknown[] => {
    const peer = new Peer(version, true, () => {});
    for (const one of flags) {
      peer.configure({ kind: "setConfig", flags: one, missLength: 1 });
    }
    const wants = (reason: number): boolean => peer.wants("packetIn", reason);
    return [
      peer.ttlFlag,
      wants(PacketInReason.invalidTtl),
      wants(PacketInReason.noMatch),
    ];
  };
  deepStrictEqual(after(1, 4), [4, true, true]);
  deepStrictEqual(after(3, 4, 0), [0, false, true]);
  deepStrictEqual(after(4, 4), [0, false, true]);
});
