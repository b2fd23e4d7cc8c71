// SPDX-License-Identifier: Apache-2.0
/**
 * Bodies of messages about the options of Geneve that fields `tun_metadata0` to 63 stand for.
 *
 * Source: `nicira-ext.h` of Open vSwitch 3.1, `nx_tlv_table_mod` and `nx_tlv_table_reply`.
 *
 * @module
 */
import type { Reader, Writer } from "../bytes.ts";
import { OfError } from "../error.ts";
import type { TlvMap, TlvTableMod, TlvTableReply } from "../message.ts";

const commands = ["add", "delete", "clear"] as const;
/** Bytes of an option at most. */
const MAX_LENGTH = 124;

function readMaps(reader: Reader): TlvMap[] {
  const maps: TlvMap[] = [];
  while (reader.left >= 8) {
    const [optionClass, type, length] = [reader.u16(), reader.u8(), reader.u8()];
    const index = reader.u16();
    reader.skip(2);
    if (index >= 64) throw new OfError("NXTTMFC_BAD_FIELD_IDX");
    if (length % 4 !== 0 || length > MAX_LENGTH) {
      throw new OfError("NXTTMFC_BAD_OPT_LEN");
    }
    maps.push({ optionClass, type, length, index });
  }
  if (reader.left > 0) throw new OfError("OFPBRC_BAD_LEN");
  return maps;
}

/** Reads which options are mapped to fields, or no more. */
export function readTlvTableMod(reader: Reader): TlvTableMod {
  const command = commands[reader.u16()];
  if (command === undefined) throw new OfError("NXTTMFC_BAD_COMMAND");
  reader.skip(6);
  return { kind: "tlvTableMod", command, maps: readMaps(reader) };
}

/** Writes which options are mapped to fields. */
export function writeTlvTableReply(
  writer: Writer,
  { maxSpace, maxFields, maps }: TlvTableReply,
): void {
  writer.u32(maxSpace).u16(maxFields).zeros(10);
  for (const { optionClass, type, length, index } of maps) {
    writer.u16(optionClass).u8(type).u8(length).u16(index).zeros(2);
  }
}
