// SPDX-License-Identifier: Apache-2.0
/**
 * Branded numbers and strings: values that are easy to mix up and wrong to mix.
 *
 * Each brand has one checked maker.  A brand is only a type; at run time the value is the
 * plain number or string.
 *
 * @module
 */
import { integer } from "./check.ts";

/** A `T` that only its own maker produces.  The member is never there: it tells the types apart. */
export type Brand<T, Name extends string> = T & { readonly __brand?: Name };

/** Number of a port in its datapath, 0 to 2^32-2.  0 is the local port, a real one. */
export type PortNo = Brand<number, "PortNo">;
/** Identifier of a recirculation, u32.  0 means "not recirculated". */
export type RecircId = Brand<number, "RecircId">;
/** Conntrack zone, u16. */
export type CtZone = Brand<number, "CtZone">;
/** Identifier of a meter, u32. */
export type MeterId = Brand<number, "MeterId">;
/** Number of the core that a poll thread runs on; names the thread in dumps. */
export type PmdId = Brand<number, "PmdId">;
/** Ethernet address in lower-case colon form, `02:00:00:00:00:01`. */
export type MacAddress = Brand<string, "MacAddress">;
/** IPv4 address in dotted form. */
export type Ipv4Address = Brand<string, "Ipv4Address">;
/** IPv6 address in the form of RFC 5952. */
export type Ipv6Address = Brand<string, "Ipv6Address">;
/** Unique flow identifier: 128 bits as 8-4-4-4-12 lower-case hex digits. */
export type Ufid = Brand<string, "Ufid">;

/** The port that is named like its datapath. */
export const LOCAL_PORT: PortNo = 0;

/** Checks a port number; 2^32-1 is reserved ("no port"). Throws `RangeError`. */
export function portNo(value: number): PortNo {
  return integer("port number", value, 0xfffffffe);
}

/** Checks a recirculation id. Throws `RangeError`. */
export function recircId(value: number): RecircId {
  return integer("recirculation id", value, 0xffffffff);
}

/** Checks a conntrack zone. Throws `RangeError`. */
export function ctZone(value: number): CtZone {
  return integer("conntrack zone", value, 0xffff);
}

/** Checks a meter id. Throws `RangeError`. */
export function meterId(value: number): MeterId {
  return integer("meter id", value, 0xffffffff);
}

/** Checks an Ethernet address and returns it in lower case. Throws `SyntaxError`. */
export function macAddress(text: string): MacAddress {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw new SyntaxError(`"${text}" is not an Ethernet address`);
  }
  return text.toLowerCase();
}

/** Checks a unique flow identifier, with or without the `ufid:` prefix. Throws `SyntaxError`. */
export function ufid(text: string): Ufid {
  if (isPlainUfid(text)) return text;
  const hex = text.replace(/^ufid:/, "");
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(hex)) {
    throw new SyntaxError(`"${text}" is not a flow identifier`);
  }
  return hex.toLowerCase();
}

/** Whether it is an identifier in lower case without prefix: what programs give again and again. */
function isPlainUfid(text: string): boolean {
  if (text.length !== 36) return false;
  for (let i = 0; i < 36; i++) {
    const code = text.charCodeAt(i);
    const isDash = i === 8 || i === 13 || i === 18 || i === 23;
    const isDigit = code >= 48 && code <= 57 || code >= 97 && code <= 102;
    if (isDash ? code !== 45 : !isDigit) return false;
  }
  return true;
}
