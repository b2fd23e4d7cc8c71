// SPDX-License-Identifier: Apache-2.0
/**
 * Where a packet goes: out of ports, and to controllers.
 *
 * @module
 */
import { toProgram } from "../../policy/mod.ts";
import { clone, meter, output, trunc } from "../../providers/odp/constructors.ts";
import { Word } from "../wire/flow.ts";
import { PacketInReason } from "../wire/message.ts";
import { PortConfig } from "../wire/object.ts";
import { Port } from "../wire/port_number.ts";
import type { PacketFlow } from "../table/packet_flow.ts";
import { CONTROLLER, wordsOf, writeContext } from "./context.ts";
import { Headers } from "./headers.ts";
import { mirrorOut } from "./forward/mirror.ts";
import { normal } from "./forward/normal.ts";
import { tunnelAction } from "./tunnel.ts";
import type { PatchPeer, Pipeline } from "./pipeline.ts";
import type { Credit, Lesson, Way } from "./way.ts";

/** Packets for controllers, a second. */
const PACKET_INS = { perSecond: 100_000 } as const;

/** As many bytes as a packet can have. */
const WHOLE = 65_535;

/** Bytes that go to controllers with a packet, at most. */
const MAX_HANDED = 60_000;

/** A packet that is sent. */
export abstract class Sending extends Headers {
  readonly credit: Credit;
  /** What packets like it teach. */
  lessons: readonly Lesson[] = [];
  inPort: number;
  /** The cookie of the flow whose actions are done; undefined for those of none. */
  cookie: bigint | undefined;
  /** The table that the flow is in. */
  table = 0;
  /** Whether that is a flow which all packets fit, of the least priority. */
  isMiss = false;
  /** Bytes that go to controllers with the packet, about. */
  protected handedBytes = 0;
  /** The reason of packet-ins: an action of a flow, the action set, a group, a packet-out. */
  reasonOfOutput: number = PacketInReason.action;
  /** Mirrors that have a copy, as bits. */
  mirrored = 0;
  /** Bytes of the copy that is sent; 0 is all of them, and so it is where none is. */
  cut = 0;

  /** Begins with a packet. `credit` is told which counters it is for. */
  constructor(pipeline: Pipeline, packet: PacketFlow, credit: Credit, inPort: number) {
    super(pipeline, packet);
    this.credit = credit;
    this.inPort = inPort;
  }

  /** Looks the packet up in the first table, as a packet-out may want it. */
  abstract again(): void;
  /** Goes on in the switch behind a patch port. */
  protected abstract enterPeer(peer: PatchPeer): void;
  /** What other parts see of it. */
  abstract readonly way: Way;

  /** Sends the packet out of a port. */
  output(port: number, maxLength = 0): void {
    const ports = this.pipeline.ports.value;
    switch (port) {
      case Port.controller:
        return this.toController({ maxLength, controllerId: 0, reason: undefined });
      case Port.inPort:
        return this.sendTo(this.inPort);
      case Port.table:
        return this.again();
      case Port.normal:
        return normal(this.way);
      case Port.flood:
      case Port.all:
        for (const [number, { config }] of ports) {
          if (number === this.inPort) continue;
          if (port !== Port.all && config & PortConfig.noFlood) continue;
          if (!this.way.spendOnFlood()) return;
          this.sendTo(number);
        }
        return;
      default:
        // A packet goes back by IN_PORT only.
        if (port !== this.now.flow[Word.inPort]) this.sendTo(port);
    }
  }

  /** Sends the start of the packet out of a port. Nothing else is cut where there is none. */
  outputCut(port: number, maxLength: number): void {
    const isPort = port < Port.max || port === Port.local || port === Port.inPort;
    // As in Open vSwitch: behind a patch port it would be cut who knows where, and one that leads
    // nowhere would leave the cut to what is sent next, a mirror's copy.
    const to = port === Port.inPort ? this.inPort : port;
    const isThere = this.pipeline.ports.value.get(to)?.dp !== undefined;
    if (!isPort) return;
    if (!isThere) return this.way.tell(`output_trunc does not support patch port ${to}`);
    // As in Open vSwitch: what is changed is so behind the cut, which a tag does not count for.
    const before = this.actions.push(trunc(maxLength));
    this.output(port);
    if (this.actions.length === before) this.actions.pop();
  }

  /** No flow fits, and controllers are told so. */
  protected missed(): void {
    const config = this.pipeline.ports.value.get(this.inPort)?.config ?? 0;
    if (config & PortConfig.noPacketIn) {
      return this.way.drop("no packet-ins of this port");
    }
    this.cookie = 0n;
    const reason = PacketInReason.noMatch;
    this.toController({ maxLength: 128, controllerId: 0, reason });
  }

  /** Sends the packet out of a port, if only back. */
  sendTo(port: number): void {
    const desc = this.pipeline.ports.value.get(port);
    if (desc === undefined) return;
    if (desc.config & (PortConfig.down | PortConfig.noForward)) return;
    // As in Open vSwitch: behind a patch port a copy would be cut who knows where.
    const cut = this.cut > 0 && this.cut < WHOLE ? [trunc(this.cut)] : [];
    if (desc.patch !== undefined) { if (this.cut === 0) this.enterPeer(desc.patch); }
    else if (desc.tunnel !== undefined && desc.dp !== undefined) {
      const outer = tunnelAction(this.way, desc.tunnel);
      // As in Open vSwitch: what goes nowhere is not mirrored either.
      if (outer === undefined) return;
      this.send(outer, ...cut, output(desc.dp));
    } else if (desc.dp !== undefined) this.send(...cut, output(desc.dp));
    if (this.pipeline.mirrors.value.length > 0) mirrorOut(this.way, desc);
  }

  /** Hands the packet to controllers. */
  toController(what: {
    readonly maxLength: number;
    readonly controllerId: number;
    readonly reason: number | undefined;
    readonly userdata?: Uint8Array | undefined;
    readonly meter?: number | undefined;
    readonly continuation?: Uint8Array | undefined;
  }): void {
    const { flow } = this.now;
    // The bytes of an upcall, and of all actions, have an end.
    const { userdata, continuation } = what;
    this.handedBytes += 64 + (userdata?.length ?? 0) + (continuation?.length ?? 0);
    if (this.handedBytes > MAX_HANDED) {
      this.refused = "too much for controllers";
      return;
    }
    const usual = this.isMiss && this.reasonOfOutput === PacketInReason.action
      ? PacketInReason.explicitMiss
      : this.reasonOfOutput;
    const context = writeContext({
      of: this.pipeline.id,
      table: this.table,
      cookie: this.cookie ?? (1n << 64n) - 1n,
      reason: what.reason ?? usual,
      maxLength: what.maxLength,
      controllerId: what.controllerId,
      userdata,
      meter: what.meter,
      continuation,
      words: wordsOf(flow, this.wrote, this.inPort),
    });
    const up = toProgram(CONTROLLER, { ...PACKET_INS, userdata: context });
    const id = what.meter === undefined ? undefined : this.pipeline.meter(what.meter);
    // What exceeds the meter is not handed up; the packet goes on in any case.
    if (id === undefined) this.send(...up);
    else this.send(clone([meter(id), ...up]));
  }
}
