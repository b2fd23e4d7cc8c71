// SPDX-License-Identifier: Apache-2.0
/**
 * Optional facet of a datapath: reassembly of IP fragments. dpif: `ipf_*`.
 *
 * @module
 */

/** State of the fragment engine for one IP version. */
export interface FragmentCounters {
  /** Whether fragments of this version are put together. */
  readonly enabled: boolean;
  /** Smallest accepted fragment but the last, bytes. */
  readonly minSize: number;
  /** Fragments taken in. */
  readonly accepted: bigint;
  /** Fragments that became part of a whole packet. */
  readonly completed: bigint;
  /** Fragments whose packet did not become whole in time. */
  readonly expired: bigint;
  /** Fragments below `minSize` that were refused. */
  readonly tooSmall: bigint;
  /** Fragments that overlapped one already there. */
  readonly overlapping: bigint;
  /** Fragments given up to make room, or at the end. */
  readonly purged: bigint;
}

/** Reassembly before connection tracking. */
export interface FragmentFacet {
  /** dpif: `ipf_set_enabled`. */
  setEnabled(version: 4 | 6, enabled: boolean): void;
  /** Bytes; `EPERM` below 400. dpif: `ipf_set_min_frag`. */
  setMinSize(version: 4 | 6, bytes: number): void;
  /** `EPERM` above 5000. dpif: `ipf_set_max_nfrags`. */
  setMaxFragments(count: number): void;
  /** dpif: `ipf_get_status`. */
  status(): {
    readonly v4: FragmentCounters;
    readonly v6: FragmentCounters;
    readonly count: number;
    readonly max: number;
  };
  /** Fragment lists under way, as text. dpif: `ipf_dump_*`. */
  dump(): Iterable<string>;
}
