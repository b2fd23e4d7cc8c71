// SPDX-License-Identifier: Apache-2.0
/**
 * What the conformance suite needs of a provider under test, and the list of differences that
 * providers may have.
 *
 * @module
 */
import type { Datapath } from "../../providers/datapath.ts";
import type { PortNo } from "../../providers/ids.ts";

/**
 * Differences between providers, each with its reason. A test asks for one by name where it
 * matters, and tests what holds on either side of it.
 */
export const differences = {
  wildInPort:
    "The kernel has one flow table for all ports, so that a mask may leave in_port out. In userspace each port has its own: EINVAL.",
  wholeEtherType:
    "In userspace the EtherType is always matched, as in Open vSwitch: a key without one is refused.",
  noArpSet: "The kernel (6.1) sets no field of ARP, and answers EINVAL.",
  outputOnly: "A datapath for tests has no other action than output.",
  prerequisites:
    "A key must be complete: EtherType 0x0800 wants an ipv4(). A datapath that only compares bytes cannot tell.",
  lostIsMissedToo:
    "The kernel counts an upcall that it could not deliver as a miss and as lost, Open vSwitch's own datapath as lost alone.",
} as const;

/** Name of a difference. */
export type Difference = keyof typeof differences;

/** A provider under test, and how frames get into and out of its ports. */
export interface Environment {
  /** Kind of datapath. */
  readonly type: string;
  /** Differences that this provider has. */
  readonly differences: ReadonlySet<Difference>;
  /** Opens the datapath `name` of this environment anew: it must not exist. */
  create(name: string): Promise<Datapath>;
  /** Makes a port that frames can be put into and taken out of. */
  addPort(dp: Datapath, name: string): Promise<PortNo>;
  /** Puts a frame into a port, as if a neighbour had sent it. */
  inject(dp: Datapath, port: PortNo, frame: Uint8Array): void | Promise<void>;
  /**
   * Frames that were sent to a port since the last call, oldest first; waits until nothing is under
   * way.
   */
  collect(dp: Datapath, port: PortNo): Promise<Uint8Array[]>;
  /** Waits until what was injected was dealt with. */
  settle(dp: Datapath): Promise<void>;
  /**
   * Gives the host behind the local port an address, and tells it of a neighbour; gives the
   * Ethernet address that it has there. Absent: there are no tunnels.
   */
  underlay?(
    dp: Datapath,
    ends: { readonly own: string; readonly far: string; readonly farMac: string },
  ): string | Promise<string>;
  /**
   * Takes down what `create` and `addPort` made around the datapath, and checks that nothing was
   * leaked.
   */
  cleanUp?(): Promise<void>;
}

/** What one test of the suite gets. */
export interface Bench {
  readonly env: Environment;
  /** A new datapath. */
  readonly dp: Datapath;
  /** Three ports of it. */
  readonly ports: readonly [PortNo, PortNo, PortNo];
}

/** Tests by name. */
export type Suite = Readonly<Record<string, (bench: Bench) => void | Promise<void>>>;
