// SPDX-License-Identifier: Apache-2.0
/**
 * Meters of a datapath of this process, over `dp_meter_*`.
 *
 * @module
 */
import { constants, dpMeter, dpMeterStats } from "../../ffi/layout.ts";
import type {
  MeterBand,
  MeterConfig,
  MeterFacet,
  MeterFeatures,
  MeterStats,
  NumberedMeter,
} from "../contract/meters.ts";
import { Errno } from "../errno.ts";
import { DatapathError } from "../errors.ts";
import type { MeterId } from "../ids.ts";
import type { Context } from "./context.ts";
import { check } from "./library.ts";

const { DP_METER_BANDS, DP_METER_IDS, DP_METER_KBPS, DP_METER_PKTPS } = constants;

/** Meters of one datapath. */
export class NetdevMeters implements MeterFacet {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  features(): MeterFeatures {
    return {
      maxMeters: DP_METER_IDS,
      maxBands: DP_METER_BANDS,
      bandTypes: ["drop"],
      units: ["kbps", "pktps"],
    };
  }

  set(id: MeterId, { unit, bands }: MeterConfig): void {
    const { symbols, dp, subject } = this.#context;
    const what = subject("set meter", `${id}`);
    // They would not fit into what the library is given.
    if (bands.length > DP_METER_BANDS) {
      const detail = `a meter has 1 to ${DP_METER_BANDS} bands, not ${bands.length}`;
      throw new DatapathError({ ...what, code: "EINVAL", detail });
    }
    const meter = new Uint8Array(dpMeter.structSize);
    const view = new DataView(meter.buffer);
    view.setUint32(dpMeter.unit, unit === "kbps" ? DP_METER_KBPS : DP_METER_PKTPS, true);
    view.setUint32(dpMeter.bandCount, bands.length, true);
    bands.forEach(({ rate, burst = 0 }, band) => {
      view.setUint32(dpMeter.rates + 4 * band, rate, true);
      view.setUint32(dpMeter.bursts + 4 * band, burst, true);
    });
    check(symbols, symbols.dp_meter_set(dp, id, meter), what);
  }

  get(id: MeterId): MeterStats {
    return this.#read(id, "read meter").stats;
  }

  delete(id: MeterId): MeterStats {
    const { symbols, dp, subject } = this.#context;
    const { bands } = this.#read(id, "delete meter");
    const stats = new Uint8Array(dpMeterStats.structSize);
    const errno = symbols.dp_meter_delete(dp, id, stats);
    check(symbols, errno, subject("delete meter", `${id}`));
    return readStats(new DataView(stats.buffer), bands.length);
  }

  list(): NumberedMeter[] {
    const { symbols, dp, subject } = this.#context;
    const next = new Uint32Array(1);
    const meters: NumberedMeter[] = [];
    for (let from = 0;; from++) {
      const errno = symbols.dp_meter_next(dp, from, new Uint8Array(next.buffer));
      if (errno === Errno.ENOENT) return meters;
      check(symbols, errno, subject("list meters"));
      from = next[0] ?? 0;
      const { unit, bands } = this.#read(from, "list meters");
      meters.push({ id: from, unit, bands });
    }
  }

  #read(id: MeterId, operation: string): MeterConfig & { readonly stats: MeterStats } {
    const { symbols, dp, subject } = this.#context;
    const meter = new Uint8Array(dpMeter.structSize);
    const stats = new Uint8Array(dpMeterStats.structSize);
    const errno = symbols.dp_meter_get(dp, id, meter, stats);
    check(symbols, errno, subject(operation, `${id}`));
    const view = new DataView(meter.buffer);
    const count = view.getUint32(dpMeter.bandCount, true);
    const isKbps = view.getUint32(dpMeter.unit, true) === DP_METER_KBPS;
    return {
      unit: isKbps ? "kbps" : "pktps",
      bands: Array.from({ length: count }, (_, band): MeterBand => ({
        rate: view.getUint32(dpMeter.rates + 4 * band, true),
        burst: view.getUint32(dpMeter.bursts + 4 * band, true),
      })),
      stats: readStats(new DataView(stats.buffer), count),
    };
  }
}

function readStats(view: DataView, bands: number): MeterStats {
  const u64 = (at: number): bigint => view.getBigUint64(at, true);
  return {
    packets: u64(dpMeterStats.packets),
    bytes: u64(dpMeterStats.bytes),
    bands: Array.from({ length: bands }, (_, band) => ({
      packets: u64(dpMeterStats.bandPackets + 8 * band),
      bytes: u64(dpMeterStats.bandBytes + 8 * band),
    })),
  };
}
