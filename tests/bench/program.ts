// SPDX-License-Identifier: Apache-2.0
/**
 * What the harness asks of each program that it compares.
 *
 * @module
 */
import type { Child } from "./child.ts";
import type { Prepared } from "./scenario.ts";

/** The programs: the limit, Open vSwitch in two settings, and this project. */
export const PROGRAMS = ["testpmd", "ovs", "ovs-smc", "upcall"] as const;
/** Name of a program. */
export type ProgramName = (typeof PROGRAMS)[number];

/** Where the packets come from. */
export type SourceName = "gen" | "pcap";

/** Flows that misses may set up, where a program has such a limit. */
export const FLOW_LIMIT = 400_000;

/** What a program is started with. */
export interface Setting {
  readonly prepared: Prepared;
  /** Folder of its own, for logs, sockets and databases. */
  readonly folder: string;
  /** Compiled packet source, to be preloaded. */
  readonly netGen: string;
  readonly hugepages: boolean;
  /** Devargs of the port that receives. */
  readonly receiver: string;
  /** Devargs of the port that sends. */
  readonly sender: string;
  /** Devargs of the port that the attack comes by, where there is one. */
  readonly attacker?: string;
}

/** A program that runs, with its ports made and its poll thread on `POLL_CORE`. */
export interface Program extends AsyncDisposable {
  /** The process with the poll thread. */
  readonly child: Child;
  /**
   * Makes the program forward at its steady pace: the packets flow already. Resolves to the
   * number of flows in its table, and throws when they are not those of the scenario.
   */
  settle(): Promise<number>;
  /** Empties the flow table, so that every packet is a new flow; absent where there is no table. */
  flush?(): Promise<void>;
  /** Called after each measurement that began with `flush`, before the process is stopped. */
  rest?(): Promise<void>;
  /** Flow set-ups that succeeded so far; `flush` may begin anew. */
  setUps?(): Promise<number>;
  /** Forgets all connections; absent where none are tracked. */
  forget?(): Promise<void>;
  /** Connections in the table. */
  connections?(): Promise<number>;
}
