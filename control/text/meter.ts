// SPDX-License-Identifier: Apache-2.0
/**
 * Meters as ovs-ofctl(8) reads and prints them. What only OpenFlow knows of a meter, how many flows
 * name it and how old it is, is left out.
 *
 * @module
 */
import type {
  MeterBand,
  MeterConfig,
  MeterFeatures,
  MeterStats,
} from "../../providers/contract/meters.ts";
import { readExact } from "./scan.ts";

/** A meter in text, and which one it is. */
export interface MeterText extends MeterConfig {
  readonly id: number;
}

const U32 = 0xffffffff;

/** Words of a text: `key`, or `key=value`. */
function* wordsOf(text: string): Iterable<readonly [key: string, value?: string]> {
  for (const word of text.split(/[,\s]+/)) {
    const [key = "", ...value] = word.split("=");
    if (key !== "") yield value.length === 0 ? [key] : [key, value.join("=")];
  }
}

function number(value: string, key: string): number {
  if (!/^-?(0x[0-9a-f]+|\d+)$/i.test(value)) {
    throw new SyntaxError(`invalid numeric format ${value}`);
  }
  const read = readExact(value, U32);
  if (read === undefined) throw new SyntaxError(`invalid value for ${key}`);
  return read;
}

function valueOf(key: string, value: string | undefined): string {
  if (value === undefined || value === "") {
    throw new SyntaxError(`field ${key} missing value`);
  }
  return value;
}

/** Fields of a band while it is read. */
interface Band {
  rate: number;
  burst: number;
}

function parseBands(text: string): Band[] {
  const bands: Band[] = [];
  for (const [key, given] of wordsOf(text)) {
    const band = bands.at(-1);
    if (key === "type") {
      const type = valueOf(key, given);
      if (type !== "drop") throw new SyntaxError(`field type unknown value ${type}`);
      bands.push({ rate: 0, burst: 0 });
    } else if (band === undefined) {
      throw new SyntaxError("band must start with the 'type' keyword");
    } else if (key === "rate") {
      if (band.rate !== 0) throw new SyntaxError("'rate' is given twice");
      band.rate = number(valueOf(key, given), key);
    } else if (key === "burst_size") {
      if (band.burst !== 0) throw new SyntaxError("'burst_size' is given twice");
      band.burst = number(valueOf(key, given), key);
    } else {
      valueOf(key, given);
      throw new SyntaxError(`unknown keyword ${key}`);
    }
  }
  return bands;
}

/**
 * Reads `meter=1 pktps burst stats bands=type=drop rate=2 burst_size=3`. Of both units the last
 * counts.
 *
 * @throws {SyntaxError} what is wrong, in the words of ovs-ofctl.
 */
export function parseMeter(text: string): MeterText {
  const [, head = "", tail] = /^(.*?)(?:\bbands=(.*))?$/s.exec(text) ?? [];
  if (tail === undefined) throw new SyntaxError("must specify bands");
  let id: number | undefined;
  let unit: MeterConfig["unit"] | undefined;
  let hasBurst = false;
  for (const [key, value] of wordsOf(head)) {
    if (key === "kbps" || key === "pktps") unit = key;
    else if (key === "burst") hasBurst = true;
    else if (key === "meter") id = number(valueOf(key, value), key);
    else if (key !== "stats") {
      valueOf(key, value);
      throw new SyntaxError(`unknown keyword ${key}`);
    }
  }
  if (id === undefined) throw new SyntaxError("must specify 'meter'");
  if (unit === undefined) {
    throw new SyntaxError("meter must specify either 'kbps' or 'pktps'");
  }
  const bands = parseBands(tail);
  if (bands.length === 0) throw new SyntaxError("meter must have bands");
  for (const { rate, burst } of bands) {
    if (rate === 0) throw new SyntaxError("band must have 'rate'");
    if (hasBurst && burst === 0) {
      throw new SyntaxError("band must have 'burst_size' when 'burst' flag is set");
    }
    if (!hasBurst && burst !== 0) {
      throw new SyntaxError("band may have 'burst_size' only when 'burst' flag is set");
    }
  }
  return { id, unit, bands };
}

/**
 * Reads `meter=1`.
 *
 * @throws {SyntaxError} what is wrong, in the words of ovs-ofctl.
 */
export function parseMeterId(text: string): number {
  let id: number | undefined;
  for (const [key, value] of wordsOf(text)) {
    const given = valueOf(key, value);
    if (key !== "meter") throw new SyntaxError(`unknown keyword ${key}`);
    if (id !== undefined) throw new SyntaxError("'meter' is given twice");
    id = number(given, key);
  }
  if (id === undefined) throw new SyntaxError("must specify 'meter'");
  return id;
}

function bandText({ rate, burst }: MeterBand): string {
  return `type=drop rate=${rate}` + (burst ? ` burst_size=${burst}` : "");
}

/** A meter with its bands, one a line. */
export function meterText({ id, unit, bands }: MeterText): string {
  const burst = bands.some((band) => band.burst) ? "burst " : "";
  return [`meter=${id} ${unit} ${burst}stats bands=`, ...bands.map(bandText)].join("\n");
}

/** Counters of a meter, and of its bands, one a line. */
export function meterStatsText(id: number, stats: MeterStats): string {
  return [
    `meter:${id} packet_in_count:${stats.packets} byte_in_count:${stats.bytes} bands:`,
    ...stats.bands.map(({ packets, bytes }, band) =>
      `${band}: packet_count:${packets} byte_count:${bytes}`
    ),
  ].join("\n");
}

/** What meters of a datapath can do. */
export function meterFeaturesText(features: MeterFeatures): string {
  const { maxMeters, maxBands, bandTypes, units } = features;
  return [
    `max_meter:${maxMeters} max_bands:${maxBands} max_color:0`,
    `band_types: ${bandTypes.join(" ")}`,
    `capabilities: ${[...units, "burst", "stats"].join(" ")}`,
  ].join("\n");
}
