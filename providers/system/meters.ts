// SPDX-License-Identifier: Apache-2.0
/**
 * Family `ovs_meter`: rate limits.
 *
 * Format: `enum ovs_meter_attr` of `<linux/openvswitch.h>`.
 *
 * @module
 */
import { kernelRelease } from "../../ffi/system_file.ts";
import { idsOf } from "../odp/attributes.ts";
import { bandMessage, meterMessage } from "./ovs_messages.ts";
import type {
  MeterConfig,
  MeterCount,
  MeterFacet,
  MeterFeatures,
  MeterStats,
} from "../contract/meters.ts";
import { u64Array } from "./datapaths.ts";
import {
  Attributes,
  type Family,
  type Message,
  type MessageWriter,
  NetlinkError,
  NetlinkFlag,
  u32,
} from "../netlink/mod.ts";
import { inContext } from "../netlink/errors.ts";
import { type Kernel, messageAttributes, needReply } from "./ovs.ts";

// enum ovs_meter_cmd: other numbers than the other families'
const OVS_METER_CMD_FEATURES = 1;
const OVS_METER_CMD_SET = 2;
const OVS_METER_CMD_DEL = 3;
const OVS_METER_CMD_GET = 4;

const {
  id: OVS_METER_ATTR_ID,
  kbps: OVS_METER_ATTR_KBPS,
  stats: OVS_METER_ATTR_STATS,
  bands: OVS_METER_ATTR_BANDS,
  maxMeters: OVS_METER_ATTR_MAX_METERS,
  maxBands: OVS_METER_ATTR_MAX_BANDS,
} = idsOf(meterMessage.table);

const {
  type: OVS_BAND_ATTR_TYPE,
  rate: OVS_BAND_ATTR_RATE,
  burst: OVS_BAND_ATTR_BURST,
  stats: OVS_BAND_ATTR_STATS,
} = idsOf(bandMessage.table);
const OVS_METER_BAND_TYPE_DROP = 1;

/** Meters of this kernel; undefined where it has none, or none that work. */
export function systemMeters(
  kernel: Kernel,
  ifindex: number,
  datapath: string,
): MeterFacet | undefined {
  const family = kernel.meter;
  if (!family || hasBrokenMeters(kernelRelease())) return undefined;
  return new SystemMeters(kernel, family, ifindex, datapath);
}

/** Linux 4.15 to 4.17 confuse meters with each other (net/openvswitch, mainline fix in 4.18). */
export function hasBrokenMeters(release: string): boolean {
  return /^4\.1[567]\./.test(release);
}

function counts(bytes: Uint8Array | undefined): MeterCount {
  const [packets = 0n, octets = 0n] = u64Array(bytes, 2);
  return { packets, bytes: octets };
}

function bandsOf(attributes: Attributes): Attributes[] {
  const bands = attributes.nested(OVS_METER_ATTR_BANDS);
  return bands ? [...bands.entries()].map(([, bytes]) => new Attributes(bytes)) : [];
}

function parseStats(message: Message): MeterStats {
  const attributes = messageAttributes(message);
  return {
    ...counts(attributes.bytes(OVS_METER_ATTR_STATS)),
    bands: bandsOf(attributes).map((band) => counts(band.bytes(OVS_BAND_ATTR_STATS))),
  };
}

class SystemMeters implements MeterFacet {
  readonly #kernel: Kernel;
  readonly #family: Family;
  readonly #ifindex: number;
  readonly #datapath: string;

  constructor(kernel: Kernel, family: Family, ifindex: number, datapath: string) {
    this.#kernel = kernel;
    this.#family = family;
    this.#ifindex = ifindex;
    this.#datapath = datapath;
  }

  #in<T>(operation: string, id: number | undefined, action: () => T): T {
    const object = id === undefined ? undefined : String(id);
    return inContext({ operation, datapath: this.#datapath, object }, action);
  }

  #request(
    command: number,
    flags: number,
    write: (writer: MessageWriter) => void,
  ): Message | undefined {
    const repeatable = command === OVS_METER_CMD_GET ||
      command === OVS_METER_CMD_FEATURES;
    const options = { ifindex: this.#ifindex, flags, repeatable };
    return this.#kernel.request(this.#family, command, options, write);
  }

  features(): MeterFeatures {
    return this.#in("read meter features", undefined, () => {
      const reply = this.#request(OVS_METER_CMD_FEATURES, 0, () => {});
      const attributes = messageAttributes(needReply(reply));
      const types = bandsOf(attributes).map((band) => band.get(OVS_BAND_ATTR_TYPE, u32));
      return {
        maxMeters: attributes.get(OVS_METER_ATTR_MAX_METERS, u32) ?? 0,
        maxBands: attributes.get(OVS_METER_ATTR_MAX_BANDS, u32) ?? 0,
        bandTypes: types.includes(OVS_METER_BAND_TYPE_DROP) ? ["drop"] : [],
        units: ["kbps", "pktps"],
      };
    });
  }

  set(id: number, config: MeterConfig): void {
    this.#in("set meter", id, () => {
      if (config.bands.length === 0) {
        throw new NetlinkError({ code: "EINVAL", detail: "a meter needs a band" });
      }
      if (config.bands.some(({ rate }) => rate === 0)) {
        throw new NetlinkError({ code: "EDOM", detail: "a rate of 0" });
      }
      this.#request(OVS_METER_CMD_SET, 0, (writer) => {
        writer.attribute(OVS_METER_ATTR_ID, u32, id);
        if (config.unit === "kbps") writer.attributeBytes(OVS_METER_ATTR_KBPS);
        writer.nested(OVS_METER_ATTR_BANDS, () => {
          for (const { rate, burst } of config.bands) {
            // Nests of a list have no number of their own.
            writer.nested(0, () => {
              writer.attribute(OVS_BAND_ATTR_TYPE, u32, OVS_METER_BAND_TYPE_DROP);
              writer.attribute(OVS_BAND_ATTR_RATE, u32, rate);
              // Linux 6.1 refuses a band without a burst.
              writer.attribute(OVS_BAND_ATTR_BURST, u32, burst || rate);
            });
          }
        });
      });
    });
  }

  get(id: number): MeterStats {
    return this.#in("read meter", id, () => parseStats(needReply(this.#get(id))));
  }

  #get(id: number): Message | undefined {
    return this.#request(
      OVS_METER_CMD_GET,
      0,
      (writer) => writer.attribute(OVS_METER_ATTR_ID, u32, id),
    );
  }

  delete(id: number): MeterStats {
    return this.#in("delete meter", id, () => {
      // Linux 6.1 deletes a meter that is not there without a word.
      this.#get(id);
      const reply = this.#request(
        OVS_METER_CMD_DEL,
        NetlinkFlag.echo,
        (writer) => writer.attribute(OVS_METER_ATTR_ID, u32, id),
      );
      return parseStats(needReply(reply));
    });
  }
}
