// SPDX-License-Identifier: Apache-2.0
/**
 * Random actions that a datapath accepts, for property tests.
 *
 * @module
 */

import fc from "npm:fast-check@4.10.2";
import type { Action } from "../../providers/types.ts";
import { formatIpv4, formatIpv6, formatMac } from "../../providers/codec/address.ts";
import { bytes, ip4, ip6, mac, num, u16, u32, u8 } from "./arbitrary.ts";

const plainAction: fc.Arbitrary<Action> = fc.oneof(
  u16.map((port): Action => ({ type: "output", port })),
  fc.record({ vid: num(0xfff), pcp: num(7), tpid: fc.constantFrom(0x8100, 0x88a8) })
    .map((tag): Action => ({ type: "pushVlan", cfi: 1, ...tag })),
  fc.constantFrom<Action>({ type: "popVlan" }, { type: "ctClear" }, { type: "popNsh" }),
  num(99).map((id): Action => ({ type: "recirc", id })),
  u32.map((size): Action => ({ type: "trunc", size })),
  u32.map((id): Action => ({ type: "meter", id })),
  u32.map((bond): Action => ({ type: "lbOutput", bond })),
  fc.record({ portId: u32, userdata: bytes(8), actions: fc.boolean(), port: u32 }).map(
    ({ portId, userdata, actions, port }): Action => ({
      type: "userspace",
      portId,
      userdata,
      ...(actions ? { actions: true } : { tunnelOutPort: port }),
    }),
  ),
  fc.record({
    commit: fc.boolean(),
    zone: fc.integer({ min: 1, max: 0xffff }),
    value: u32,
  })
    .map(({ commit, zone, value }): Action => ({
      type: "ct",
      ...(commit && { commit }),
      zone,
      mark: { value, mask: 0xff },
    })),
  fc.record({ min: ip4, portMin: fc.integer({ min: 1, max: 0xffff }) }).map(
    ({ min, portMin }): Action => ({
      type: "ct",
      commit: true,
      nat: { kind: "src", min: formatIpv4(min, 0), portMin, random: true },
    }),
  ),
  fc.record({ min: ip6, max: ip6 }).map(({ min, max }): Action => {
    const [low, high] = [formatIpv6(min, 0), formatIpv6(max, 0)];
    const order = min.findIndex((byte, i) => byte !== max[i]);
    const swap = order >= 0 && (min[order] as number) > (max[order] as number);
    const range = swap ? { min: high, max: low } : { min: low, max: high };
    return { type: "ct", commit: true, nat: { kind: "dst", ...range, hash: true } };
  }),
  fc.record({ src: mac, dst: mac }).map(({ src, dst }): Action => ({
    type: "set",
    key: { ethernet: { src: formatMac(src, 0), dst: formatMac(dst, 0) } },
  })),
  fc.record({ src: ip4, ttl: u8 }).map(({ src, ttl }): Action => ({
    type: "set",
    key: {
      ipv4: {
        src: formatIpv4(src, 0),
        dst: "0.0.0.0",
        proto: 0,
        tos: 0,
        ttl,
        frag: "no",
      },
    },
    mask: {
      ipv4: {
        src: "255.255.255.255",
        dst: "0.0.0.0",
        proto: 0,
        tos: 0,
        ttl: 255,
        frag: 0,
      },
    },
  })),
  fc.record({ label: num(0xfffff), tc: num(7), ttl: u8, bos: num(1) }).map((
    label,
  ): Action => ({ type: "addMpls", etherType: 0x8847, tunnelFlags: 0, ...label })),
);

/** Lists of actions whose text the installed tools read. */
export const actions: fc.Arbitrary<readonly Action[]> = fc.letrec<{
  action: Action;
  list: readonly Action[];
}>((tie) => ({
  action: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    plainAction,
    tie("list").map((list): Action => ({ type: "clone", actions: list })),
    fc.record({ size: u16, greater: tie("list"), lessEqual: tie("list") })
      .map((parts): Action => ({ type: "checkPktLen", ...parts })),
    fc.record({ share: num(1000), list: tie("list") }).map(({ share, list }): Action => ({
      type: "sample",
      probability: Math.floor(0xffffffff * (share / 10 / 100) + 0.5),
      actions: list,
    })),
  ),
  list: fc.array(tie("action"), { minLength: 1, maxLength: 4 }),
})).list;
