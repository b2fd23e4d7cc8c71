// SPDX-License-Identifier: Apache-2.0
/**
 * What the switch knows of a peer: its role, what it wants to be told, and in which form.
 *
 * @module
 */
import { OfError, type Version } from "../wire/error.ts";
import {
  type Asynchronous,
  type GroupMod,
  type Message,
  type MessageOf,
  type MeterMod,
  type PacketInFormat,
  PacketInReason,
  type Role,
} from "../wire/message.ts";

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

/** The flag of a configuration that has packets told of whose TTL ended; not in OpenFlow 1.3. */
const [INVALID_TTL, WITHOUT_TTL_FLAG] = [4, 4] as const;

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
  /** Bytes that it has not read yet. */
  readonly waiting: () => number;

  /** `send` brings messages to it. */
  constructor(
    version: Version,
    isService: boolean,
    send: (message: Message, xid: number, urgency: Urgency) => void,
    ready: () => Promise<void> = () => Promise.resolve(),
    waiting: () => number = () => 0,
  ) {
    this.version = version;
    this.isService = isService;
    this.missLength = isService ? 0 : 128;
    this.#send = send;
    this.ready = ready;
    this.waiting = waiting;
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

  /** The flag of its configuration that has it told of packets whose TTL ended, if that is set. */
  get ttlFlag(): number {
    const [, primary] = this.asynchronous.packetIn;
    const isTold = (primary >> PacketInReason.invalidTtl & 1) === 1;
    return isTold && this.version < WITHOUT_TTL_FLAG ? INVALID_TTL : 0;
  }

  /** Has it be told as much as its configuration says. */
  configure({ flags, missLength }: MessageOf<"setConfig" | "configReply">): void {
    this.missLength = missLength;
    if (this.version >= WITHOUT_TTL_FLAG) return;
    const [secondary, primary] = this.asynchronous.packetIn;
    const bit = 1 << PacketInReason.invalidTtl;
    const isOn = (flags & INVALID_TTL) !== 0;
    const packetIn = [secondary, isOn ? primary | bit : primary & ~bit] as const;
    this.asynchronous = { ...this.asynchronous, packetIn };
  }

  /** Whether it wants to be told of a kind, for a reason. */
  wants(kind: keyof Asynchronous, reason: number): boolean {
    if (this.isDeaf) return false;
    const [secondary, primary] = this.asynchronous[kind];
    const mask = this.role === "secondary" ? secondary : primary;
    return (mask >> reason & 1) === 1;
  }
}

/** Peers of a switch. */
interface Peers {
  readonly peers: ReadonlySet<Peer>;
  /** The last generation that a controller was elected in. */
  generation: bigint | undefined;
}

/** Gives a peer the role that it asks for. Throws {@linkcode OfError}. */
export function setRole(
  of: Peers,
  peer: Peer,
  { role, generation }: MessageOf<"roleRequest" | "roleReply">,
  xid: number,
): void {
  if (generation !== undefined) {
    const before = of.generation;
    if (before !== undefined && BigInt.asIntN(64, generation - before) < 0n) {
      throw new OfError("OFPRRFC_STALE");
    }
    of.generation = generation;
  }
  if (role !== "nochange") peer.role = role;
  if (role === "primary") {
    for (const other of of.peers) {
      if (other === peer || other.role !== "primary") continue;
      other.role = "secondary";
      // As in Open vSwitch: all are told who have such a message.
      if (other.version < 4) continue;
      const { generation } = of;
      other.tell({ kind: "roleStatus", role: "secondary", reason: 0, generation });
    }
  }
  peer.reply({ kind: "roleReply", role: peer.role, generation: of.generation }, xid);
}

/** Tells the others that want it of a change of groups or meters that a peer made. */
export function tellOthers(
  of: Peers,
  peer: Peer,
  inner: GroupMod | MeterMod,
  xid: number,
): void {
  for (const other of of.peers) {
    const isLate = inner.kind === "meterMod" && other.version < 4;
    if (other === peer || isLate) continue;
    if (!other.wants("requestForward", inner.kind === "groupMod" ? 0 : 1)) continue;
    other.tell({ kind: "requestForward", inner, xid });
  }
}
