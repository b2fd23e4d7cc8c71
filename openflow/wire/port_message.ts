// SPDX-License-Identifier: Apache-2.0
/**
 * Bodies that describe ports, and what changes them.
 *
 * Sources: OpenFlow 1.0, 5.2.1; OpenFlow 1.3.5, 7.2.1; OpenFlow 1.5.1, "Port Structures".
 *
 * @module
 */
import type { Reader, Writer } from "./bytes.ts";
import { OfError, type Version } from "./error.ts";
import { type MessageOf, PortConfig, type PortDesc, PortState } from "./message.ts";
import type { PortStatsEntry } from "./multipart_types.ts";
import { portFrom10, portFrom11, portTo10 } from "./port_number.ts";

/** Features of OpenFlow 1.1 as bits of 1.0, which has no 40, 100 Gbit/s, 1 Tbit/s and others. */
function features10(features: number): number {
  return features & 0x7f | features >> 4 & 0xf80;
}

function features11(features: number): number {
  return features & 0x7f | (features & 0xf80) << 4;
}

/** Configuration that OpenFlow 1.1 and later have. */
const CONFIG11 = PortConfig.down | PortConfig.noReceive | PortConfig.noForward |
  PortConfig.noPacketIn;
const CONFIG10 = 0x7f;

/** Writes a port. */
export function writePort(writer: Writer, port: PortDesc, version: Version): void {
  const speeds = (map: (features: number) => number): void => {
    for (const value of [port.current, port.advertised, port.supported, port.peer]) {
      writer.u32(map(value));
    }
  };
  if (version === 1) {
    writer.u16(portTo10(port.port)).big(port.mac, 6).text(port.name, 16)
      .u32(port.config & CONFIG10).u32(port.state & PortState.linkDown);
    speeds(features10);
    return;
  }
  const start = writer.size;
  writer.u32(port.port);
  if (version >= 5) writer.u16(0).zeros(2);
  else writer.zeros(4);
  writer.big(port.mac, 6).zeros(2).text(port.name, 16)
    .u32(port.config & CONFIG11).u32(port.state);
  if (version >= 5) writer.u16(0).u16(32).zeros(4);
  speeds((features) => features);
  writer.u32(port.currentSpeed).u32(port.maxSpeed);
  if (version >= 5) writer.set16(start + 4, writer.size - start);
}

/** Bytes of a port. */
export function portSize(version: Version): number {
  return version === 1 ? 48 : version < 5 ? 64 : 72;
}

/** Writes a change of a port. */
export function writePortStatus(
  writer: Writer,
  { reason, desc }: MessageOf<"portStatus">,
  version: Version,
): void {
  writer.u8(["add", "delete", "modify"].indexOf(reason)).zeros(7);
  writePort(writer, desc, version);
}

/** Reads a port mod. */
export function readPortMod(reader: Reader, version: Version): MessageOf<"portMod"> {
  if (version === 1) {
    const port = portFrom10(reader.u16());
    const mac = reader.big(6);
    const [config, mask] = [reader.u32(), reader.u32()];
    const advertise = features11(reader.u32());
    reader.skip(4);
    return checked({ kind: "portMod", port, mac, config, mask, advertise }, CONFIG10);
  }
  const port = portFrom11(reader.u32());
  reader.skip(4);
  const mac = reader.big(6);
  reader.skip(2);
  const [config, mask] = [reader.u32(), reader.u32()];
  let advertise = 0;
  if (version >= 5) {
    while (reader.left > 0) {
      const type = reader.u16();
      const length = reader.u16();
      if (length < 4) throw new OfError("OFPBPC_BAD_LEN");
      const value = reader.part(length - 4, "OFPBPC_BAD_LEN");
      if (type !== 0) throw new OfError("OFPBPC_BAD_TYPE");
      advertise = value.u32();
      reader.skip(Math.min(reader.left, -length & 7));
    }
  } else {
    advertise = reader.u32();
    reader.skip(4);
  }
  return checked({ kind: "portMod", port, mac, config, mask, advertise }, CONFIG11);
}

function checked(mod: MessageOf<"portMod">, known: number): MessageOf<"portMod"> {
  const { config, mask } = mod;
  return { ...mod, config: config & known & mask, mask: mask & known };
}

const UNKNOWN = (1n << 64n) - 1n;

/** Intel's number, and that of its property of counters by name. */
const INTEL = 0xaa01;
const CUSTOM = 2;

function writeCustom(
  writer: Writer,
  counters: NonNullable<PortStatsEntry["custom"]>,
): void {
  const start = writer.size;
  writer.u16(0xffff).u16(0).u32(INTEL).u32(CUSTOM).zeros(2).u16(counters.length);
  for (const [name, count] of counters) {
    writer.u8(name.length).put(new TextEncoder().encode(name)).u64(count);
  }
  writer.set16(start + 2, writer.size - start).pad8(start);
}

/** Writes a port's counters. */
export function writePortStats(
  writer: Writer,
  stats: PortStatsEntry,
  version: Version,
): void {
  const counters = [
    stats.rxPackets,
    stats.txPackets,
    stats.rxBytes,
    stats.txBytes,
    stats.rxDropped,
    stats.txDropped,
    stats.rxErrors,
    stats.txErrors,
  ];
  // Frame, overrun and CRC errors, collisions: no datapath here tells them.
  const errors = [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN];
  const start = writer.size;
  if (version >= 5) {
    writer.u16(0).zeros(2).u32(stats.port).u32(stats.seconds).u32(stats.nanoseconds);
  } else if (version === 1) writer.u16(portTo10(stats.port)).zeros(6);
  else writer.u32(stats.port).zeros(4);
  for (const value of counters) writer.u64(value);
  if (version >= 5) {
    writer.u16(0).u16(40).zeros(4);
    for (const value of errors) writer.u64(value);
    if (stats.custom !== undefined) writeCustom(writer, stats.custom);
    writer.set16(start, writer.size - start);
    return;
  }
  for (const value of errors) writer.u64(value);
  if (version === 4) writer.u32(stats.seconds).u32(stats.nanoseconds);
}
