// SPDX-License-Identifier: Apache-2.0
/**
 * The meters of a switch, which are those of its datapath.
 *
 * @module
 */
import { clockMs } from "../../policy/clock.ts";
import { Cell } from "../../policy/mod.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { DatapathError } from "../../providers/errors.ts";
import { type MeterId, meterId } from "../../providers/ids.ts";
import { OfError } from "../wire/error.ts";
import type { MeterMod } from "../wire/message.ts";
import type { Change } from "./change.ts";
import type { Job } from "./turns.ts";
import { ALL_METERS, type Band, MAX_METER, MeterFlag } from "../wire/object.ts";

/** Meters of a datapath. */
type MeterFacet = NonNullable<Datapath["meters"]>;
type MeterStats = ReturnType<MeterFacet["get"]>;

/** A meter. */
export interface Meter {
  readonly meter: number;
  readonly id: MeterId;
  readonly flags: number;
  readonly bands: readonly Band[];
  readonly createdMs: number;
  /** Whether it is there: flows rest on that which name it by way of a group. */
  readonly isThere: Cell<boolean>;
}

/** Meters by number. */
export class Meters {
  readonly #facet: MeterFacet | undefined;
  readonly #meters = new Map<number, Meter>();
  /** Those of the datapath that go once no flow of it names them. */
  readonly #leaving = new Set<MeterId>();
  /** Changes when a meter comes: flows may rest on there being none of a number. */
  readonly #came = new Cell(0);
  /** Told of meters that go in a change, so that the flows which name them go. */
  readonly #onRemoved: (meters: ReadonlySet<number>, change: Change) => Job<void>;
  /** Does a change, all of it. */
  readonly #now: (stage: (change: Change) => Job<void>) => void;

  /** Whether a burst that is not said is that of a second, as in Open vSwitch's own datapath. */
  readonly #fills: boolean;

  /** Without a facet there can be no meters. */
  constructor(
    facet: MeterFacet | undefined,
    onRemoved: (meters: ReadonlySet<number>, change: Change) => Job<void>,
    now: (stage: (change: Change) => Job<void>) => void,
    fills = true,
  ) {
    this.#fills = fills;
    this.#facet = facet;
    this.#onRemoved = onRemoved;
    this.#now = now;
  }

  /** What meters can do; none where the datapath has none. */
  get features(): { readonly maxMeters: number; readonly maxBands: number } {
    return this.#facet?.features() ?? { maxMeters: 0, maxBands: 0 };
  }

  /** A meter. */
  get(meter: number): Meter | undefined {
    const found = this.#meters.get(meter);
    void (found?.isThere ?? this.#came).value;
    return found;
  }

  /** The meters that a request is about. */
  select(meter: number): Meter[] {
    if (meter === ALL_METERS) {
      return [...this.#meters.values()].sort((a, b) => a.meter - b.meter);
    }
    const found = this.#meters.get(meter);
    if (found === undefined) throw new OfError("OFPMMFC_UNKNOWN_METER");
    return [found];
  }

  /** Counters of a meter. */
  stats({ id, bands }: Meter): MeterStats {
    const none = { packets: 0n, bytes: 0n };
    return this.#facet?.get(id) ?? { ...none, bands: bands.map(() => none) };
  }

  /** Does a meter mod. Throws {@linkcode OfError}. */
  apply({ command, meter, flags, bands: said }: MeterMod): void {
    if (command === "delete") return this.#now((change) => this.delete(meter, change));
    if (meter === 0 || meter > MAX_METER) throw new OfError("OFPMMFC_INVALID_METER");
    if (said.length > this.features.maxBands) throw new OfError("OFPMMFC_OUT_OF_BANDS");
    const before = this.#meters.get(meter);
    if (command === "add" && before !== undefined) {
      throw new OfError("OFPMMFC_METER_EXISTS");
    }
    if (command === "modify" && before === undefined) {
      throw new OfError("OFPMMFC_UNKNOWN_METER");
    }
    const id = before?.id ?? this.#free();
    const bands = said.map((band) =>
      band.burst === 0 && this.#fills ? { ...band, burst: band.rate } : band
    );
    this.#set(id, flags, bands);
    const createdMs = before?.createdMs ?? clockMs();
    const isThere = before?.isThere ?? new Cell(true);
    this.#meters.set(meter, { meter, id, flags, bands, createdMs, isThere });
    if (before === undefined) this.#came.value++;
  }

  #free(): MeterId {
    const used = new Set([...this.#meters.values()].map(({ id }) => id)).union(
      this.#leaving,
    );
    const { maxMeters } = this.features;
    for (let id = 0; id < maxMeters; id++) {
      if (!used.has(meterId(id))) return meterId(id);
    }
    throw new OfError("OFPMMFC_OUT_OF_METERS");
  }

  #set(id: MeterId, flags: number, bands: readonly Band[]): void {
    if ((flags & 3) === 0) throw new OfError("OFPMMFC_BAD_FLAGS");
    if (bands.length === 0) throw new OfError("OFPMMFC_OUT_OF_BANDS");
    if (bands.some(({ rate }) => rate === 0)) throw new OfError("OFPMMFC_BAD_RATE");
    if (flags & ~15) throw new OfError("OFPMMFC_BAD_FLAGS");
    // No datapath remarks.
    if (bands.some(({ type }) => type !== 1)) throw new OfError("OFPMMFC_BAD_BAND");
    try {
      this.#facet?.set(id, {
        unit: flags & MeterFlag.pktps ? "pktps" : "kbps",
        bands: bands.map(({ rate, burst }) =>
          flags & MeterFlag.burst && burst > 0 ? { rate, burst } : { rate }
        ),
      });
    } catch (error) {
      if (error instanceof DatapathError) {
        throw new OfError("OFPMMFC_BAD_BAND", error.message);
      }
      throw error;
    }
  }

  /** Has a meter, or all of them, go in a change with the flows that name them. */
  *delete(meter: number, change: Change): Job<void> {
    const one = this.#meters.get(meter);
    const gone = meter === ALL_METERS
      ? [...this.#meters.values()]
      : one === undefined
      ? []
      : [one];
    if (gone.length === 0) return;
    yield* this.#onRemoved(new Set(gone.map(({ meter }) => meter)), change);
    change.with.push(() => {
      for (const { meter, id, isThere } of gone) {
        this.#leaving.add(id);
        this.#meters.delete(meter);
        isThere.value = false;
      }
    });
    change.after.push(() => {
      for (const { id } of gone) {
        this.#leaving.delete(id);
        this.#facet?.delete(id);
      }
    });
  }
}
