// SPDX-License-Identifier: Apache-2.0
/**
 * Fragments that wait in a datapath of this process, over `dp_ipf_*`.
 *
 * @module
 */
import { constants, dpIpfEntry, dpIpfStatus, dpIpfVersion } from "../../ffi/layout.ts";
import { formatIpv4, formatIpv6 } from "../codec/address.ts";
import type { FragmentCounters, FragmentFacet } from "../contract/fragments.ts";
import type { Context } from "./context.ts";
import { check } from "./library.ts";

const BATCH = 64;
const END = 0xffffffff;

/** Reassembly in one datapath. */
export class NetdevFragments implements FragmentFacet {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  setEnabled(version: 4 | 6, enabled: boolean): void {
    this.#set(constants.DP_IPF_ENABLED + of(version), Number(enabled), {
      operation: `${enabled ? "enable" : "disable"} reassembly of IPv${version}`,
    });
  }

  setMinSize(version: 4 | 6, bytes: number): void {
    this.#set(constants.DP_IPF_MIN_SIZE + of(version), bytes, {
      operation: `set smallest fragment of IPv${version}`,
    });
  }

  setMaxFragments(count: number): void {
    this.#set(constants.DP_IPF_MAX, count, { operation: "set maximum of fragments" });
  }

  status(): ReturnType<FragmentFacet["status"]> {
    const view = this.#status();
    return {
      v4: readVersion(view, dpIpfStatus.v4),
      v6: readVersion(view, dpIpfStatus.v6),
      count: view.getUint32(dpIpfStatus.held, true),
      max: view.getUint32(dpIpfStatus.max, true),
    };
  }

  /** What was refused besides what {@link status} tells, by name. */
  counters(): Record<string, bigint> {
    const view = this.#status();
    return {
      ipf_full: view.getBigUint64(dpIpfStatus.full, true),
      ipf_no_mbuf: view.getBigUint64(dpIpfStatus.noMbuf, true),
      ipf_bad: view.getBigUint64(dpIpfStatus.bad, true),
    };
  }

  *dump(): Iterable<string> {
    const { symbols, dp, subject } = this.#context;
    const entries = new Uint8Array(BATCH * dpIpfEntry.structSize);
    const count = new Uint32Array(1);
    const next = new Uint32Array(1);
    for (let at = 0; at !== END; at = next[0] ?? END) {
      const errno = symbols.dp_ipf_dump(
        dp,
        at,
        entries,
        entries.length,
        new Uint8Array(count.buffer),
        new Uint8Array(next.buffer),
      );
      check(symbols, errno, subject("list fragments"));
      const lines: string[] = [];
      for (let i = 0; i < (count[0] ?? 0); i++) {
        lines.push(entryText(entries, i * dpIpfEntry.structSize));
      }
      yield* lines;
    }
  }

  #status(): DataView {
    const { symbols, dp, subject } = this.#context;
    const bytes = new Uint8Array(dpIpfStatus.structSize);
    check(symbols, symbols.dp_ipf_get(dp, bytes), subject("read state of fragments"));
    return new DataView(bytes.buffer);
  }

  #set(what: number, value: number, { operation }: { readonly operation: string }): void {
    const { symbols, dp, subject } = this.#context;
    check(symbols, symbols.dp_ipf_set(dp, what, value), subject(operation));
  }
}

const of = (version: 4 | 6): number => version === 6 ? constants.DP_IPF_V6 : 0;

function readVersion(view: DataView, at: number): FragmentCounters {
  const counter = (offset: number): bigint => view.getBigUint64(at + offset, true);
  return {
    enabled: view.getUint32(at + dpIpfVersion.enabled, true) !== 0,
    minSize: view.getUint32(at + dpIpfVersion.minSize, true),
    accepted: counter(dpIpfVersion.accepted),
    completed: counter(dpIpfVersion.completed),
    expired: counter(dpIpfVersion.expired),
    tooSmall: counter(dpIpfVersion.tooSmall),
    overlapping: counter(dpIpfVersion.overlapped),
    purged: counter(dpIpfVersion.purged),
  };
}

/** A packet of which fragments are missing, in Open vSwitch's words. */
function entryText(bytes: Uint8Array, at: number): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, dpIpfEntry.structSize);
  const v4 = view.getUint8(dpIpfEntry.family) === 4;
  const address = v4 ? formatIpv4 : formatIpv6;
  const first = view.getUint8(dpIpfEntry.first) !== 0;
  const last = view.getUint8(dpIpfEntry.last) !== 0;
  const state = first ? (last ? "first/last" : "first") : last ? "last" : "other";
  const fields = [
    `src=${address(bytes, at + dpIpfEntry.src)}`,
    `dst=${address(bytes, at + dpIpfEntry.dst)}`,
    `recirc_id=${view.getUint32(dpIpfEntry.recircId, true)}`,
    `ip_id=${view.getUint32(dpIpfEntry.id, true)}`,
    `dl_type=${v4 ? "0x800" : "0x86dd"}`,
    `zone=${view.getUint16(dpIpfEntry.zone, true)}`,
    `nw_proto=${view.getUint8(dpIpfEntry.proto)}`,
    `num_fragments=${view.getUint16(dpIpfEntry.fragments, true)}`,
    `state=${state} frag`,
  ];
  return `(${fields.join(",")})`;
}
