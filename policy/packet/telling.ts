// SPDX-License-Identifier: Apache-2.0
/**
 * Places that tell whether a packet has others.
 *
 * @module
 */
import { type Place, placeOf } from "./leaf.ts";
import type { Words } from "./words.ts";

/** One for each version of IP. */
export interface ByFamily {
  readonly 4: Place;
  readonly 6: Place;
}

/** The protocol behind IP: it tells whether there is a layer 4. */
export const protocolPlaces: ByFamily = {
  4: placeOf("ipv4.proto"),
  6: placeOf("ipv6.proto"),
};
/** The fragment type: a later one has no layer 4. */
export const fragmentPlaces: ByFamily = {
  4: placeOf("ipv4.frag"),
  6: placeOf("ipv6.frag"),
};
/** Type and code of ICMPv6: they tell whether there is neighbour discovery. */
export const icmpType: Place = placeOf("icmpv6.type");
export const icmpCode: Place = placeOf("icmpv6.code");
/** What neighbours are asked for. */
export const discovery: Place = placeOf("nd.target");
/** The state of a connection: it tells whether there is the tuple that the packet began with. */
export const ctState: Place = placeOf("ctState");
/** The protocol of that tuple. */
export const ctTupleProtocols: ByFamily = {
  4: placeOf("ctTuple4.proto"),
  6: placeOf("ctTuple6.proto"),
};
/** Slots of the IP headers in a layout. */
export const IPV4: number = protocolPlaces[4].slot;
export const IPV6: number = protocolPlaces[6].slot;
/** The bit of a connection's state that says that there is one, as bits from the left. */
export const tracked: Words = Uint32Array.of(0x20 << 24, 0, 0, 0);
