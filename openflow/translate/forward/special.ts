// SPDX-License-Identifier: Apache-2.0
/**
 * Frames that are for the switch itself: of protocols between neighbours that it speaks.
 *
 * @module
 */
import { toProgram } from "../../../policy/mod.ts";
import { fieldOfName } from "../../wire/field.ts";
import { readBits, Word } from "../../wire/flow.ts";
import type { Way } from "../way.ts";

const destination = fieldOfName("eth_dst");
/** The reason under which such frames are handed to the program. */
export const NEIGHBOUR = "openflow neighbour";
/** So many a second, of all ports: a flood is none of the switch's. */
const RATE = { perSecond: 1000 } as const;
const SLOW_TYPE = 0x8809;
const SLOW_ADDRESS = 0x0180c2000002n;

/** Hands a frame up that is for the switch; false for one that is not. */
export function takeSpecial(way: Way): boolean {
  const { pipeline, inPort, now: { flow } } = way;
  if (flow[Word.dlType] !== SLOW_TYPE) return false;
  if (!pipeline.ports.value.get(inPort)?.bundle?.speaksLacp) return false;
  way.see(destination);
  if (readBits(flow, destination) !== SLOW_ADDRESS) return false;
  const userdata = new Uint8Array(8);
  const view = new DataView(userdata.buffer);
  view.setUint32(0, pipeline.id);
  view.setUint32(4, inPort);
  way.actions.push(...toProgram(NEIGHBOUR, { ...RATE, userdata }));
  return true;
}

/** The switch and the port that a frame came by, of the bytes that are with it. */
export function neighbourOf(
  userdata: Uint8Array,
): { readonly of: number; readonly port: number } | undefined {
  if (userdata.length !== 8) return undefined;
  const view = new DataView(userdata.buffer, userdata.byteOffset, 8);
  return { of: view.getUint32(0), port: view.getUint32(4) };
}
