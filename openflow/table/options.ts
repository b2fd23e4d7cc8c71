// SPDX-License-Identifier: Apache-2.0
/**
 * Options of Geneve in the key of a packet.
 *
 * @module
 */
import { decodeKey } from "../../providers/odp/key.ts";
import { type FlowWords, Word } from "../wire/flow.ts";
import type { TlvTable } from "./tlv_table.ts";

/**
 * Has a flow say which options its packet came with. All flows of the datapath match options
 * exactly, whichever of them were looked at.
 */
export function layOptions(tlv: TlvTable, flow: FlowWords, key: Uint8Array): void {
  let outer = flow[Word.tunDst] as number;
  for (let i = 0; i < 4; i++) outer |= flow[Word.tunIpv6Dst + i] as number;
  if (outer === 0 || tlv.maps().length === 0) return;
  const options = decodeKey(key).tunnel?.geneve;
  if (options !== undefined) tlv.lay(flow, options);
}
