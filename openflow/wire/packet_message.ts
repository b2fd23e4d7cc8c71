// SPDX-License-Identifier: Apache-2.0
/**
 * Bodies of messages that carry packets.
 *
 * Sources: OpenFlow 1.0, 5.3.6 and 5.4.1; OpenFlow 1.5.1, "Send Packet Message" and "Packet-In
 * Message"; `nicira-ext.h` of Open vSwitch 3.1.
 *
 * @module
 */
import { readActions } from "./actions/action_read.ts";
import { writeActions } from "./actions/action_write.ts";
import type { Reader, Writer } from "./bytes.ts";
import { OfError, type Version } from "./error.ts";
import { fieldOfName } from "./field.ts";
import { anyMatch, type Match, readBits, STAGE_ENDS, Word } from "./flow.ts";
import { putField } from "./match.ts";
import {
  NO_BUFFER,
  type PacketIn,
  PacketInReason,
  type PacketOut,
  type Resume,
} from "./message.ts";
import { readFields, readOxmMatch } from "./oxm.ts";
import { writeFields, writeNxMatch, writeOxmMatch } from "./oxm_write.ts";
import { Port, portFrom10, portFrom11, portTo10 } from "./port_number.ts";

const inPortField = fieldOfName("in_port_oxm");

/** What is known of a packet of which only the port is. */
export function portMetadata(port: number): Match {
  const match = anyMatch();
  putField(match, inPortField, BigInt(port), 0xffffffffn);
  return match;
}

function portOf({ value }: Match): number {
  return Number(readBits(value, inPortField));
}

/** Ports that a packet may be said to come from. */
function checkedInPort(port: number): number {
  const isFine = port < Port.max || port === Port.local || port === Port.none ||
    port === Port.controller;
  if (!isFine) throw new OfError("OFPBRC_BAD_PORT", `${port}`);
  return port;
}

/** Reads a packet-out. */
export function readPacketOut(reader: Reader, version: Version): PacketOut {
  const bufferId = reader.u32();
  let inPort: number;
  let metadata: Match;
  let size: number;
  if (version >= 6) {
    size = reader.u16();
    reader.skip(2);
    metadata = readOxmMatch(reader);
    // The port of a packet and what tables know of it; nothing that is in its bytes.
    const end = STAGE_ENDS[0] as number;
    if (metadata.mask.subarray(end).some((word) => word !== 0)) {
      throw new OfError("OFPBRC_PIPELINE_FIELDS_ONLY");
    }
    if (metadata.mask[Word.inPort] !== 0xffffffff) throw new OfError("OFPBRC_BAD_PORT");
    inPort = checkedInPort(portOf(metadata));
  } else {
    inPort = checkedInPort(
      version === 1 ? portFrom10(reader.u16()) : readInPort(reader),
    );
    size = reader.u16();
    if (version > 1) reader.skip(6);
    metadata = portMetadata(inPort);
  }
  const actions = readActions(reader.part(size), version);
  const packet = reader.rest();
  if (bufferId !== NO_BUFFER) throw new OfError("OFPBRC_BUFFER_UNKNOWN");
  return { kind: "packetOut", bufferId, inPort, metadata, actions, packet };
}

function readInPort(reader: Reader): number {
  const raw = reader.u32();
  try {
    return portFrom11(raw);
  } catch (error) {
    if (error instanceof OfError) throw new OfError("OFPBRC_BAD_PORT");
    throw error;
  }
}

/** Writes a packet-out. */
export function writePacketOut(writer: Writer, out: PacketOut, version: Version): void {
  writer.u32(out.bufferId);
  if (version >= 6) {
    const at = writer.size;
    writer.zeros(4);
    writeOxmMatch(writer, out.metadata, version);
    const start = writer.size;
    writeActions(writer, out.actions, version);
    writer.set16(at, writer.size - start);
  } else {
    if (version === 1) writer.u16(portTo10(out.inPort));
    else writer.u32(out.inPort);
    const at = writer.size;
    writer.u16(0);
    if (version > 1) writer.zeros(6);
    const start = writer.size;
    writeActions(writer, out.actions, version);
    writer.set16(at, writer.size - start);
  }
  writer.put(out.packet);
}

/** The reason as a version has it. */
function reasonFor(reason: number, version: Version): number {
  switch (reason) {
    case PacketInReason.actionSet:
    case PacketInReason.group:
    case PacketInReason.packetOut:
      return version < 5 ? PacketInReason.action : reason;
    case PacketInReason.explicitMiss:
      return version < 4 ? PacketInReason.action : PacketInReason.noMatch;
    default:
      return reason;
  }
}

/** Writes a packet-in in the standard form of a version. */
export function writePacketIn(writer: Writer, packet: PacketIn, version: Version): void {
  const reason = reasonFor(packet.reason, version);
  const inPort = portOf(packet.metadata);
  writer.u32(NO_BUFFER);
  switch (version) {
    case 1:
      writer.u16(packet.totalLength).u16(portTo10(inPort)).u8(reason).zeros(1);
      break;
    case 2:
      writer.u32(inPort).u32(inPort).u16(packet.totalLength).u8(reason).u8(packet.table);
      break;
    default:
      writer.u16(packet.totalLength).u8(reason).u8(packet.table);
      if (version >= 4) writer.u64(packet.cookie);
      writeOxmMatch(writer, packet.metadata, version);
      writer.zeros(2);
  }
  writer.put(packet.packet);
}

/** Writes Nicira's first form of a packet-in. */
export function writeNxPacketIn(
  writer: Writer,
  packet: PacketIn,
  version: Version,
): void {
  writer.u32(NO_BUFFER).u16(packet.totalLength).u8(reasonFor(packet.reason, version))
    .u8(packet.table).u64(packet.cookie);
  const at = writer.size;
  writer.u16(0).zeros(6);
  writer.set16(at, writeNxMatch(writer, packet.metadata));
  writer.zeros(2).put(packet.packet);
}

function property(writer: Writer, type: number, body: () => void): void {
  const start = writer.size;
  writer.u16(type).u16(0);
  body();
  writer.set16(start + 2, writer.size - start).pad8(start);
}

/** Writes Nicira's second form of a packet-in, properties. */
export function writeNxPacketIn2(
  writer: Writer,
  packet: PacketIn,
  version: Version,
): void {
  property(writer, 0, () => writer.put(packet.packet));
  if (packet.packet.length !== packet.totalLength) {
    property(writer, 1, () => writer.u32(packet.totalLength));
  }
  if (packet.table !== 0) property(writer, 3, () => writer.u8(packet.table));
  if (packet.cookie !== (1n << 64n) - 1n) {
    property(writer, 4, () => writer.zeros(4).u64(packet.cookie));
  }
  property(writer, 5, () => writer.u8(reasonFor(packet.reason, version)));
  property(writer, 6, () => writeFields(writer, packet.metadata, version));
  const { userdata, continuation } = packet;
  if (userdata !== undefined && userdata.length > 0) {
    property(writer, 7, () => writer.put(userdata));
  }
  if (continuation !== undefined) {
    property(writer, 8, () => writer.zeros(4).put(continuation));
  }
}

/** Reads a packet that goes on: the properties of a packet-in's second form. */
export function readResume(reader: Reader): Resume {
  let packet: Uint8Array = new Uint8Array();
  let metadata: Match | undefined;
  let continuation: Uint8Array | undefined;
  while (reader.left > 0) {
    const type = reader.u16();
    const length = reader.u16();
    if (length < 4) throw new OfError("OFPBPC_BAD_LEN");
    const value = reader.part(length - 4, "OFPBPC_BAD_LEN");
    reader.skip(Math.min(reader.left, -length & 7));
    if (type === 0) packet = value.rest();
    else if (type === 6) metadata = readFields(value, { strict: false });
    else if (type === 8) {
      value.skip(4);
      continuation = value.rest();
    } else if (type > 8) throw new OfError("OFPBPC_BAD_TYPE");
  }
  if (packet.length === 0) throw new OfError("OFPBRC_BAD_LEN");
  if (continuation === undefined) throw new OfError("NXR_STALE");
  return { kind: "resume", packet, metadata: metadata ?? anyMatch(), continuation };
}

/** Writes a packet that goes on. */
export function writeResume(writer: Writer, message: Resume, version: Version): void {
  property(writer, 0, () => writer.put(message.packet));
  property(writer, 6, () => writeFields(writer, message.metadata, version));
  property(writer, 8, () => writer.zeros(4).put(message.continuation));
}
