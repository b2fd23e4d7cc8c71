// SPDX-License-Identifier: Apache-2.0
/**
 * Messages of LACP, from and to bytes.
 *
 * Source: IEEE 802.1AX, 6.4.2.
 *
 * @module
 */

/** Bits of a port's state. */
export const LacpState = {
  activity: 0x01,
  timeout: 0x02,
  aggregation: 0x04,
  synchronized: 0x08,
  collecting: 0x10,
  distributing: 0x20,
  defaulted: 0x40,
  expired: 0x80,
} as const;

/** What one end says of a port. */
export interface LacpInfo {
  readonly sysPriority: number;
  /** The address of its switch, `aa:bb:cc:dd:ee:ff`. */
  readonly sysId: string;
  readonly key: number;
  readonly portPriority: number;
  readonly portId: number;
  readonly state: number;
}

/** Nobody at the other end. */
export const noInfo: LacpInfo = {
  ...{ sysPriority: 0, sysId: "00:00:00:00:00:00", key: 0 },
  ...{ portPriority: 0, portId: 0, state: 0 },
};

/** The address of slow protocols, and their type. */
const [SLOW, SLOW_TYPE] = ["0180c2000002", 0x8809] as const;
const [HEADER, PDU, INFO] = [14, 110, 15] as const;
const [ACTOR, PARTNER, COLLECTOR] = [2, 22, 42] as const;

function put(bytes: Uint8Array, at: number, info: LacpInfo): void {
  const view = new DataView(bytes.buffer);
  view.setUint16(at, info.sysPriority);
  bytes.set(Uint8Array.fromHex(info.sysId.replaceAll(":", "")), at + 2);
  view.setUint16(at + 8, info.key);
  view.setUint16(at + 10, info.portPriority);
  view.setUint16(at + 12, info.portId);
  view.setUint8(at + 14, info.state);
}

function take(bytes: Uint8Array, at: number): LacpInfo {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, INFO);
  const id = bytes.subarray(at + 2, at + 8).toHex().replace(/..(?!$)/g, "$&:");
  return {
    sysPriority: view.getUint16(0),
    sysId: id,
    key: view.getUint16(8),
    portPriority: view.getUint16(10),
    portId: view.getUint16(12),
    state: view.getUint8(14),
  };
}

/** A frame from an address that says what both ends are. */
export function lacpFrame(from: string, actor: LacpInfo, partner: LacpInfo): Uint8Array {
  const bytes = new Uint8Array(HEADER + PDU);
  bytes.set(Uint8Array.fromHex(SLOW + from.replaceAll(":", "")));
  const view = new DataView(bytes.buffer);
  view.setUint16(12, SLOW_TYPE);
  bytes.set([1, 1], HEADER);
  bytes.set([1, 20], HEADER + ACTOR);
  put(bytes, HEADER + ACTOR + 2, actor);
  bytes.set([2, 20], HEADER + PARTNER);
  put(bytes, HEADER + PARTNER + 2, partner);
  bytes.set([3, 16, 0xff, 0xff], HEADER + COLLECTOR);
  return bytes;
}

/** What a frame says; undefined for one that is none of LACP. */
export function parseLacp(
  frame: Uint8Array,
): { readonly actor: LacpInfo; readonly partner: LacpInfo } | undefined {
  if (frame.length < HEADER + PDU) return undefined;
  const is = (at: number, ...values: number[]): boolean =>
    values.every((value, i) => frame[HEADER + at + i] === value);
  if (!is(-2, SLOW_TYPE >> 8, SLOW_TYPE & 0xff, 1, 1)) return undefined;
  if (!is(ACTOR, 1, 20) || !is(PARTNER, 2, 20)) return undefined;
  return {
    actor: take(frame, HEADER + ACTOR + 2),
    partner: take(frame, HEADER + PARTNER + 2),
  };
}
