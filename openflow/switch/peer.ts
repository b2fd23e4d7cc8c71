// SPDX-License-Identifier: Apache-2.0
/**
 * What the switch knows of a peer: its role, what it wants to be told, and in which form.
 *
 * @module
 */
import type { Version } from "../wire/error.ts";
import type { Asynchronous, Message, PacketInFormat, Role } from "../wire/message.ts";

/** What messages cost that are not asked for: they are left out where a peer does not read. */
export type Urgency = "reply" | "event";

/**
 * What a peer is told that says nothing: port status to all, the rest to those who are in charge.
 */
const usual: Asynchronous = {
  // All reasons but that of a TTL that ended.
  packetIn: [0, 0x7b],
  portStatus: [7, 7],
  flowRemoved: [0, 0x3f],
  roleStatus: [0, 0],
  tableStatus: [0, 0],
  requestForward: [0, 0],
};

/** A peer. */
export class Peer {
  readonly version: Version;
  /** Whether it came by itself: it is told nothing until it asks for it. */
  readonly isService: boolean;
  role: Exclude<Role, "nochange"> = "equal";
  asynchronous: Asynchronous = usual;
  format: PacketInFormat = "standard";
  controllerId = 0;
  /** What it was not told, because it did not read what was told before, or could not be said. */
  lost = 0;
  /** Bytes of a packet that it gets where no flow fits. */
  missLength: number;
  /** Whether Nicira's flow mods of OpenFlow 1.0 name their table. */
  tableInCommand = false;
  readonly #send: (message: Message, xid: number, urgency: Urgency) => void;
  /** Resolves when more may be said: it reads what it is told, and others had their turn. */
  readonly ready: () => Promise<void>;

  /** `send` brings messages to it. */
  constructor(
    version: Version,
    isService: boolean,
    send: (message: Message, xid: number, urgency: Urgency) => void,
    ready: () => Promise<void> = () => Promise.resolve(),
  ) {
    this.version = version;
    this.isService = isService;
    this.missLength = isService ? 0 : 128;
    this.#send = send;
    this.ready = ready;
  }

  /** Sends an answer. */
  reply(message: Message, xid: number): void {
    this.#send(message, xid, "reply");
  }

  /** Sends what was not asked for. */
  tell(message: Message): void {
    this.#send(message, 0, "event");
  }

  /** Whether it is told nothing that it did not ask for. */
  get isDeaf(): boolean {
    return this.isService && this.missLength === 0;
  }

  /** Whether it wants to be told of a kind, for a reason. */
  wants(kind: keyof Asynchronous, reason: number): boolean {
    if (this.isDeaf) return false;
    const [secondary, primary] = this.asynchronous[kind];
    const mask = this.role === "secondary" ? secondary : primary;
    return (mask >> reason & 1) === 1;
  }
}
