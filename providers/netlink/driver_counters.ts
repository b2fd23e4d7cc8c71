// SPDX-License-Identifier: Apache-2.0
/**
 * What the driver of a network device counts, as `ethtool -S` shows it.
 *
 * Format: `<linux/ethtool.h>`; netlink has no word for it.
 *
 * @module
 */
import { type Libc, openLibc } from "../../ffi/libc.ts";
import { allocate, fromCString } from "../../ffi/memory.ts";
import { NetlinkError } from "./errors.ts";
import { littleEndian } from "./message.ts";

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 0x80002;
const SIOCETHTOOL = 0x8946n;
const ETHTOOL_GSTRINGS = 0x1b;
const ETHTOOL_GSTATS = 0x1d;
const ETHTOOL_GSSET_INFO = 0x37;
const ETH_SS_STATS = 1;
/** Bytes of the name of a counter. */
const ETH_GSTRING_LEN = 32;
/** More than any driver has. */
const maxCounters = 65536;
/** How often the driver is asked whose counters become more or fewer meanwhile. */
const maxTries = 10;

/**
 * Counters of the driver of a device of this network namespace, by the driver's names. Throws
 * {@linkcode NetlinkError}: `ENODEV`; `EOPNOTSUPP` for a driver that counts nothing; `EAGAIN` for
 * one whose counters change without end.
 */
export function driverCounters(
  device: string,
  { libc = openLibc() }: { readonly libc?: Libc } = {},
): Record<string, bigint> {
  const fd = libc.symbols.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  try {
    if (fd < 0) throw new NetlinkError({ code: libc.errno() });
    for (let tries = 0; tries < maxTries; tries++) {
      const counters = askOnce(libc, fd, device);
      if (counters !== undefined) return counters;
    }
    throw new NetlinkError({
      code: "EAGAIN",
      detail: "its counters change all the time",
    });
  } finally {
    if (fd >= 0) libc.symbols.close(fd);
    libc.close();
  }
}

/** Undefined: their number changed from one question to the next. */
function askOnce(
  libc: Libc,
  fd: number,
  device: string,
): Record<string, bigint> | undefined {
  /** Asks, in memory that the answer comes to as well. */
  const ask = <T>(
    size: number,
    fill: (view: DataView) => void,
    read: (view: DataView) => T,
  ): T => {
    using memory = allocate(libc, size);
    const view = new DataView(memory.bytes.buffer, 0, size);
    fill(view);
    const request = new Uint8Array(40); // struct ifreq
    new TextEncoder().encodeInto(device, request.subarray(0, 15));
    new DataView(request.buffer).setBigUint64(16, memory.address, littleEndian);
    if (libc.symbols.ioctl(fd, SIOCETHTOOL, request) === 0) return read(view);
    throw new NetlinkError({ code: libc.errno() });
  };
  const count = ask(
    20,
    (view) => {
      view.setUint32(0, ETHTOOL_GSSET_INFO, littleEndian);
      view.setBigUint64(8, 1n << BigInt(ETH_SS_STATS), littleEndian);
    },
    (view) =>
      view.getBigUint64(8, littleEndian) === 0n ? 0 : view.getUint32(16, littleEndian),
  );
  if (count === 0 || count > maxCounters) {
    throw new NetlinkError({ code: "EOPNOTSUPP", detail: "its driver counts nothing" });
  }
  // Many versions of Linux write all that the device has by then, whatever there is room for.
  const names = ask(
    12 + maxCounters * ETH_GSTRING_LEN,
    (view) => {
      view.setUint32(0, ETHTOOL_GSTRINGS, littleEndian);
      view.setUint32(4, ETH_SS_STATS, littleEndian);
      view.setUint32(8, count, littleEndian);
    },
    (view) =>
      Array.from(
        { length: Math.min(view.getUint32(8, littleEndian), maxCounters) },
        (_, i) =>
          fromCString(
            new Uint8Array(view.buffer, 12 + i * ETH_GSTRING_LEN, ETH_GSTRING_LEN),
          ),
      ),
  );
  const values = ask(
    8 + maxCounters * 8,
    (view) => {
      view.setUint32(0, ETHTOOL_GSTATS, littleEndian);
      view.setUint32(4, count, littleEndian);
    },
    (view) =>
      view.getUint32(4, littleEndian) === count
        ? Array.from(
          { length: count },
          (_, i) => view.getBigUint64(8 + i * 8, littleEndian),
        )
        : [],
  );
  if (names.length !== count || values.length !== count) return undefined;
  return Object.fromEntries(names.map((name, i) => [name, values[i] ?? 0n]));
}
