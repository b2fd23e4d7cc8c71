// SPDX-License-Identifier: Apache-2.0
/**
 * Optional facet of a datapath: meters. dpif: `meter_*`.
 *
 * @module
 */
import type { MeterId } from "../ids.ts";

/** What a datapath's meters can do. dpif: `struct ofputil_meter_features`. */
export interface MeterFeatures {
  /** Meters at most; ids are below it. */
  readonly maxMeters: number;
  /** Bands of a meter at most. */
  readonly maxBands: number;
  /** Kinds of band. */
  readonly bandTypes: readonly "drop"[];
  /** Units of rates. */
  readonly units: readonly ("kbps" | "pktps")[];
}

/** One rate limit of a meter. Packets above it are dropped. */
export interface MeterBand {
  /** Packets or kilobits (1000 bits) a second, from 1. */
  readonly rate: number;
  /** Packets or kilobits that may come at once. Absent or 0: as many as the rate. */
  readonly burst?: number;
}

/** A meter. */
export interface MeterConfig {
  /** Unit of its rates. */
  readonly unit: "kbps" | "pktps";
  /** Its bands, at least one. */
  readonly bands: readonly MeterBand[];
}

/** Counters of a meter or band. */
export interface MeterCount {
  /** Packets that were counted. */
  readonly packets: bigint;
  /** Bytes of these packets. */
  readonly bytes: bigint;
}

/** Counters of a meter. */
export interface MeterStats extends MeterCount {
  /** Packets that each band dropped. */
  readonly bands: readonly MeterCount[];
}

/** A meter and its number. */
export interface NumberedMeter extends MeterConfig {
  /** Its number. */
  readonly id: MeterId;
}

/** Meters of a datapath. */
export interface MeterFacet {
  /** What meters can do here. dpif: `meter_get_features`. */
  features(): MeterFeatures;
  /**
   * Sets a meter, replacing one of the same id. dpif: `meter_set`.
   *
   * `EINVAL` no band or too many; `EDOM` a rate of 0; `EFBIG` id too large; `EBUSY` the kernel's
   * slot for this id is taken.
   */
  set(id: MeterId, config: MeterConfig): void;
  /** Counters of a meter; `ENOENT` if there is none. dpif: `meter_get`. */
  get(id: MeterId): MeterStats;
  /** Deletes a meter and gives its last counters; `ENOENT` if there is none. dpif: `meter_del`. */
  delete(id: MeterId): MeterStats;
  /**
   * All meters by number, bursts as they are in force. Absent where a datapath does not tell: the
   * kernel answers with counters only, of meters that one asks for.
   */
  list?(): readonly NumberedMeter[];
}
