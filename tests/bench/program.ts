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
/** This project where it finds no hugepages: for those who ask what they are worth. */
export const WITHOUT_HUGEPAGES = "upcall-small";
/** Open vSwitch built for this very processor: for those who would run it so. */
export const NATIVE = "ovs-native";
/** Programs that are only run when they are asked for. */
export const ON_REQUEST = [WITHOUT_HUGEPAGES, NATIVE] as const;
/** Name of a program. */
export type ProgramName = (typeof PROGRAMS)[number] | (typeof ON_REQUEST)[number];

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
  /** Devargs of the ports that send, from number 2 on. */
  readonly senders: readonly string[];
  /** Devargs of the port that the attack comes by, number 3, where there is one. */
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
