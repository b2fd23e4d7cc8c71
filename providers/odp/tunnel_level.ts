// SPDX-License-Identifier: Apache-2.0
/**
 * What datapaths want to see of a tunnel, put in where it is missing: dumps leave it out where it
 * does not matter, and so may a program.
 *
 * @module
 */

import { find } from "./attributes.ts";
import { keyTable } from "./key.ts";
import type { Level } from "./levels.ts";

const TUNNEL = keyTable.tunnel.id;
/** `OVS_TUNNEL_KEY_ATTR_*`. */
const TTL = 4;
const IPV4_DST = 2;
const IPV6_SRC = 12;
const IPV6_DST = 13;

function attribute(id: number, payload: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 + payload.length + 3 & ~3);
  bytes.set([4 + payload.length, 0, id, 0, ...payload]);
  return bytes;
}

/** Appends an attribute to a nest, whose last one may lack its padding. */
function append(nest: Uint8Array, more: Uint8Array): Uint8Array {
  const at = nest.length + 3 & ~3;
  const whole = new Uint8Array(at + more.length);
  whole.set(nest);
  whole.set(more, at);
  return whole;
}

/** Gives a tunnel, or its mask, a TTL. */
export function completeTtl(level: Level): void {
  const nest = level.get(TUNNEL);
  if (nest === undefined || find(nest, TTL) !== undefined) return;
  level.set(TUNNEL, append(nest, attribute(TTL, [0])));
}

/**
 * `tunnel()` says that a packet came by none: the key has nothing of it, and the mask looks at it.
 */
export function completeNoTunnel(key: Level, mask: Level | undefined): void {
  if (key.get(TUNNEL)?.length !== 0) return;
  key.delete(TUNNEL);
  mask?.set(TUNNEL, attribute(TTL, [255]));
}

/** Gives a tunnel a destination, if none of its bits matter: any will do. */
export function completeDestination(key: Level, mask: Level): void {
  const nest = key.get(TUNNEL);
  if (nest === undefined) return;
  const isIpv6 = find(nest, IPV6_SRC) !== undefined || find(nest, IPV6_DST) !== undefined;
  const id = isIpv6 ? IPV6_DST : IPV4_DST;
  const given = find(nest, id);
  const bits = find(mask.get(TUNNEL) ?? new Uint8Array(), id);
  if (given?.some((byte) => byte !== 0) || bits?.some((byte) => byte !== 0)) return;
  const size = isIpv6 ? 16 : 4;
  const any = [...Array<number>(size - 1).fill(0), 1];
  if (given === undefined) {
    key.set(TUNNEL, append(nest, attribute(id, any)));
    return;
  }
  const whole = nest.slice();
  whole.set(any, given.byteOffset - nest.byteOffset);
  key.set(TUNNEL, whole);
}
