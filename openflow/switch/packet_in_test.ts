// SPDX-License-Identifier: Apache-2.0
/** What controllers are told of packets beside their bytes. */
import { deepStrictEqual } from "node:assert/strict";
import { flowWords, Word } from "../wire/flow.ts";
import { metadataOf } from "./packet_in.ts";

Deno.test("packet-ins say the protocol where they say something of a connection, only there", () => {
  const known = flowWords();
  known[Word.dlType] = 0x800;
  const said = (): readonly number[] => {
    const { value, mask } = metadataOf([[Word.inPort, 1]], known);
    return [value[Word.dlType] as number, mask[Word.dlType] as number];
  };
  deepStrictEqual(said(), [0, 0]);
  known[Word.ctState] = 0x22;
  deepStrictEqual(said(), [0x800, 0xffff]);
});
