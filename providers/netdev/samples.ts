// SPDX-License-Identifier: Apache-2.0
/**
 * What `psample` actions of a datapath of this process see, over `dp_samples_*`.
 *
 * @module
 */
import { constants, dpSample } from "../../ffi/layout.ts";
import type { PacketSample, SampleFacet, SampleWatch } from "../contract/samples.ts";
import type { Context } from "./context.ts";
import { type Records, RecordWatch } from "./record_watch.ts";

/** Looks at what one datapath samples. */
export class NetdevSamples implements SampleFacet {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  watch(): SampleWatch {
    return new RecordWatch(this.#context, samples);
  }
}

const samples: Records<PacketSample> = {
  name: "samples",
  structSize: dpSample.structSize,
  most: constants.DP_SAMPLES_MAX,
  watch: "dp_samples_watch",
  read: "dp_samples_read",
  unwatch: "dp_samples_unwatch",
  packetOf: (record) => {
    const cookieSize = record.u32(dpSample.cookieSize);
    return {
      group: record.u32(dpSample.group),
      ...(cookieSize > 0 && { cookie: record.part(dpSample.cookie, cookieSize) }),
      rate: 0xffffffff / record.u32(dpSample.probability),
      ...record.port("inPort", dpSample.inPort),
      time: record.u64(dpSample.ns),
      packet: record.part(dpSample.bytes, record.u32(dpSample.kept)),
      originalLength: record.u32(dpSample.size),
    };
  },
};
