// SPDX-License-Identifier: Apache-2.0
/**
 * Packets through Open vSwitch, and what of outer headers can be compared.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Dummy } from "../odp/ovs_dummy.ts";
import { checksum } from "../support/frames.ts";
import { until } from "../support/wait.ts";

/** Gives frames to a port of Open vSwitch, and those that come out of another. */
export async function through(
  dummy: Dummy,
  frames: readonly Uint8Array[],
  [from, to]: readonly [string, number],
  want = frames.length,
): Promise<Uint8Array[]> {
  const sent: Uint8Array[] = [];
  assert.deepEqual(await dummy.sent(to), []);
  for (const frame of frames) {
    await dummy.call("netdev-dummy/receive", from, frame.toHex());
  }
  await until(`${want} frames from Open vSwitch`, async () => {
    await dummy.call("version");
    sent.push(...await dummy.sent(to));
    return sent.length >= want;
  }, { state: () => `${sent.length} came` });
  return sent;
}

/**
 * A frame without what is random in it: UDP's source port, which its checksum then is right for,
 * and the identification of an IPv4 packet that may be fragmented. `summed`: what the checksum is
 * of, if that is something else.
 */
export function plain(frame: Uint8Array, summed = frame): string {
  const bytes = frame.slice();
  const isIpv6 = bytes[12] === 0x86;
  const l4 = isIpv6 ? 54 : 34;
  if (!isIpv6) {
    assert.equal(checksum(bytes.subarray(14, l4)), 0, `IPv4 header of ${frame.toHex()}`);
    if (((bytes[20] ?? 0) & 0x40) === 0) {
      bytes.set([0, 0], 18);
      bytes.set([0, 0], 24);
    }
  }
  if (bytes[isIpv6 ? 20 : 23] !== 17) return bytes.toHex();
  const port = (bytes[l4] ?? 0) << 8 | (bytes[l4 + 1] ?? 0);
  assert.ok(port >= 32768 && port < 61000, `source port ${port}`);
  if ((bytes[l4 + 6] ?? 0) | (bytes[l4 + 7] ?? 0)) {
    const rest = summed.subarray(l4);
    const pseudo = [0, 0, rest.length >> 8, rest.length & 0xff, 0, 17];
    const sum = checksum(
      Uint8Array.from([
        ...summed.subarray(isIpv6 ? 22 : 26, l4),
        ...pseudo,
        ...rest,
      ]),
    );
    assert.equal(sum, 0, `UDP checksum of ${frame.toHex()}`);
    bytes.set([1, 1], l4 + 6);
  }
  bytes.set([0, 0], l4);
  return bytes.toHex();
}
