// SPDX-License-Identifier: Apache-2.0
/**
 * A switch of OpenFlow on a datapath: its pipeline is a policy.
 *
 * @module
 */
import {
  type Decision,
  type HandedPacket,
  type Packet,
  type Policy,
  PolicyError,
  type PolicyOptions,
  type PolicyRun,
  type PortsView,
  type Verdict,
} from "../policy/mod.ts";
import type { Datapath } from "../providers/datapath.ts";
import {
  call,
  type Endpoint,
  listen,
  parseController,
  parseListener,
} from "./connection/endpoints.ts";
import { Switch } from "./switch/switch.ts";
import { Switches } from "./switches.ts";
import { formatFlow, parseFlow, type ParseFlowOptions } from "./text/flow.ts";

export type { ParseFlowOptions } from "./text/flow.ts";
export type { PortNames } from "./text/value.ts";
export type { FlowCommand } from "./wire/message.ts";

/** What the tables say of a packet. */
export type Tables = (packet: Packet) => Decision;

/** How a switch runs. */
export interface OpenSwitchOptions extends Omit<PolicyOptions, "onPacket"> {
  /** Its name; that of the datapath if absent. */
  readonly name?: string;
  /** 64 bits that controllers know it by; made of the first port's address if absent. */
  readonly datapathId?: bigint;
  /** Where peers may call it: `ptcp:PORT[:HOST]`, `punix:PATH`. */
  readonly listen?: readonly string[];
  /** Controllers that it calls: `tcp:HOST[:PORT]`, `unix:PATH`. */
  readonly controllers?: readonly string[];
  /** Versions that it speaks, 1.0 to 1.5: all of them if absent. */
  readonly versions?: readonly ("1.0" | "1.1" | "1.2" | "1.3" | "1.4" | "1.5")[];
  /** A silent controller is asked so often whether it is there, ms; 5,000 if absent. */
  readonly probeMs?: number;
  /** Masks only what decides, and not what Open vSwitch masks beside it. */
  readonly tight?: boolean;
  /**
   * The program's own policy around the tables: it decides by itself, or asks them. The tables
   * alone if absent.
   */
  readonly policy?: (packet: Packet, ports: PortsView, tables: Tables) => Verdict;
  /** Told of packets that the program's own policy hands up. */
  readonly onPacket?: (packet: HandedPacket) => void;
}

/** A controller, or a program that called the switch. */
export interface SwitchPeer {
  /** The version that is spoken: `1.3`. */
  readonly version: string;
  /** Whether the switch called it. */
  readonly isController: boolean;
  /** Whether it may change things, and whether others may beside it. */
  readonly role: "equal" | "primary" | "secondary";
  /** Packets and events that it was not told, because it did not read. */
  readonly lost: number;
}

/** A running switch. */
export class OpenFlowSwitch implements AsyncDisposable {
  readonly #switch: Switch;
  readonly #switches: Switches;
  readonly #endpoints: Endpoint[] = [];
  #closing: Promise<void> | undefined;

  /** Made by {@linkcode openSwitch}. */
  constructor(dp: Datapath, options: OpenSwitchOptions) {
    this.#switches = new Switches(dp);
    this.#switch = new Switch(dp, {
      name: options.name ?? dp.name,
      datapathId: options.datapathId ?? idOf(dp),
      tight: options.tight ?? false,
    });
    this.#switches.add(this.#switch);
  }

  /** @ignore */
  async start(options: OpenSwitchOptions): Promise<void> {
    const { policy: own, probeMs = 5000, listen: places = [] } = options;
    const listeners = places.map(parseListener);
    const controllers = (options.controllers ?? []).map(parseController);
    const failed = (error: unknown): void => {
      const message = `openflow: ${error instanceof Error ? error.message : error}`;
      const known = new PolicyError("threw", message, { cause: error });
      if (options.onError === undefined) console.error(message);
      else options.onError(known);
    };
    const tables: Tables = (packet) => this.#switches.decide(packet);
    const policy: Policy = own === undefined
      ? tables
      : (packet, ports) => own(packet, ports, tables);
    await this.#switches.start({ ...options, policy, failed });
    const versions = bitsOf(options.versions);
    for (const target of listeners) {
      const options = { versions, probeMs: 60_000 };
      this.#endpoints.push(await listen(this.#switch, target, options));
    }
    for (const target of controllers) {
      this.#endpoints.push(call(this.#switch, target, { versions, probeMs }));
    }
  }

  /** The policy that keeps the datapath's flows true. */
  get run(): PolicyRun {
    return this.#switches.run;
  }

  /** Where it listens: of `ptcp:0` with the port that it got. */
  get listeners(): readonly string[] {
    return this.#endpoints.flatMap(({ target }) =>
      target.transport === "unix"
        ? [`unix:${target.path}`]
        : target.hostname.includes(":")
        ? [`tcp:[${target.hostname}]:${target.port}`]
        : [`tcp:${target.hostname}:${target.port}`]
    );
  }

  /** Changes flows, as text of ovs-ofctl(8). Throws `SyntaxError`, or what a controller is told. */
  flowMod(text: string, options: ParseFlowOptions = {}): void {
    this.#switch.flows.apply(parseFlow(text, options), { isOld: false });
  }

  /** Its flows as `ovs-ofctl --no-stats dump-flows` writes them. */
  flows(): string[] {
    return [...this.#switch.flows.rules()].map((rule) =>
      formatFlow({ ...rule, newCookie: rule.cookie })
    );
  }

  /** Peers that talk with it now. */
  get peers(): readonly SwitchPeer[] {
    return [...this.#switch.peers].map(({ version, isService, role, lost }) => ({
      version: `1.${version - 1}`,
      isController: !isService,
      role,
      lost,
    }));
  }

  /** Ends the switch; the datapath and its flows stay. Idempotent. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#endpoints.map((endpoint) => endpoint.close()));
    await this.#switches.close();
  }

  /** Ends the switch. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function idOf(dp: Datapath): bigint {
  const macs = [...dp.ports.dump()].flatMap(({ mac }) => mac === undefined ? [] : [mac]);
  const mac = macs[0]?.replaceAll(":", "");
  return mac === undefined || /^0+$/.test(mac)
    ? 0x0000_002320_000001n
    : BigInt(`0x${mac}`);
}

function bitsOf(versions: OpenSwitchOptions["versions"]): number {
  const all = ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"] as const;
  return (versions ?? all).reduce((bits, version) => bits | 2 << all.indexOf(version), 0);
}

/**
 * Runs a switch of OpenFlow on a datapath. Returns when it listens. Throws `SyntaxError` for a
 * place that is none, and what the system refuses.
 */
export async function openSwitch(
  dp: Datapath,
  options: OpenSwitchOptions = {},
): Promise<OpenFlowSwitch> {
  const made = new OpenFlowSwitch(dp, options);
  try {
    await made.start(options);
  } catch (error) {
    await made.close();
    throw error;
  }
  return made;
}
