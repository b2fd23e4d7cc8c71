// SPDX-License-Identifier: Apache-2.0
/**
 * Damaged texts of flows, and messages of any bytes: errors are those that callers expect, and what
 * is read is written so that it is read alike. `OPENFLOW_FUZZ=1000000` makes it long.
 */
import { strictEqual } from "node:assert/strict";
import { formatFlow, parseFlow } from "../../openflow/text/flow.ts";
import { decodeMessage, encodeMessage } from "../../openflow/wire/codec.ts";
import { OfError, type Version } from "../../openflow/wire/error.ts";
import type { FlowMod } from "../../openflow/wire/message.ts";
import { figure } from "../support/figure.ts";
import { type Random, random } from "../support/random.ts";
import { flowTexts } from "./flow_texts.ts";

const rounds = Number(Deno.env.get("OPENFLOW_FUZZ") ?? 6000);
const seed = Number(Deno.env.get("OPENFLOW_SEED") ?? 1);
const bits = [
  ...`=,:/()[]->.0159afx"' `,
  "actions=",
  "output:",
  "0xffff",
  "ip",
  "-1",
  "/32",
];

function pick<T>(next: Random, list: readonly T[]): T {
  return list[next(list.length)] as T;
}

/** A text with a few changes. */
function damaged(text: string, next: Random): string {
  let made = text;
  for (let left = 1 + next(3); left > 0; left--) {
    const at = next(made.length + 1);
    const gone = next(3);
    made = made.slice(0, at) + (next(3) > 0 ? pick(next, bits) : "") +
      made.slice(at + gone);
  }
  return made;
}

/** What a text is read as; undefined where it is refused as texts are. */
function read(text: string): FlowMod | undefined {
  try {
    return parseFlow(text);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof OfError) return undefined;
    throw new Error(`"${text}" throws ${error}`, { cause: error });
  }
}

Deno.test("openflow fuzz: damaged texts of flows are refused as texts, or mean what they are written as", () => {
  const next = random(seed);
  let taken = 0;
  for (let round = 0; round < rounds; round++) {
    const text = damaged(pick(next, flowTexts)[1], next);
    const mod = read(text);
    if (mod === undefined) continue;
    taken++;
    const written = formatFlow(mod);
    const again = read(written);
    if (again === undefined) {
      throw new Error(`"${text}" is written "${written}", which is refused`);
    }
    strictEqual(formatFlow(again), written, text);
  }
  figure(`${taken} of ${rounds} damaged texts are flows all the same`);
});

/** Flow mods of every version, to be damaged. */
const mods = flowTexts.flatMap(([since, text]) => {
  const mod = read(text);
  if (mod === undefined) return [];
  return ([1, 2, 3, 4, 5, 6] as Version[]).filter((one) => one >= since)
    .flatMap((version) => {
      try {
        return [encodeMessage(mod, { version })];
      } catch {
        return []; // The version has no words for it.
      }
    });
});

function damagedMod(next: Random): Uint8Array {
  const bytes = pick(next, mods).slice();
  for (let left = next(4); left > 0; left--) {
    const at = 4 + next(bytes.length - 4);
    bytes[at] = next(2) === 0 ? next(256) : (bytes[at] as number) ^ 1 << next(8);
  }
  return bytes;
}

/** Any bytes behind a header; lengths and small numbers are likelier than others. */
function anyMessage(next: Random): Uint8Array {
  if (next(2) === 0) return damagedMod(next);
  const bytes = new Uint8Array(8 + 4 * next(40));
  for (let i = 8; i < bytes.length; i++) bytes[i] = next(3) > 0 ? 0 : next(256);
  const view = new DataView(bytes.buffer);
  for (let i = 8; i + 4 <= bytes.length; i += 4) {
    if (next(4) === 0) {
      view.setUint16(i + 2 * next(2), pick(next, [1, 4, 8, 16, 24, 0xffff]));
    }
  }
  const [version, type] = [1 + next(6), next(36)];
  bytes.set([version, type]);
  view.setUint16(2, bytes.length);
  if (type === 4 && bytes.length >= 16) {
    view.setUint32(8, pick(next, [0x2320, 0x4f4e4600]));
  }
  return bytes;
}

Deno.test("openflow fuzz: messages of any bytes give errors of OpenFlow only, and flow mods last", () => {
  const next = random(seed);
  let [taken, lasting] = [0, 0];
  for (let round = 0; round < 10 * rounds; round++) {
    const bytes = anyMessage(next);
    try {
      const { message, version } = decodeMessage(bytes);
      taken++;
      if (message.kind !== "flowMod") continue;
      // OpenFlow 1.1 writes of IPv6 what it does not read.
      if (version === 2) continue;
      const first = encodeMessage(message, { version });
      const second = decodeMessage(first).message as FlowMod;
      strictEqual(encodeMessage(second, { version }).toHex(), first.toHex());
      lasting++;
    } catch (error) {
      if (!(error instanceof OfError)) {
        throw new Error(`${bytes.toHex()} throws ${error}`, { cause: error });
      }
    }
  }
  figure(`${taken} messages were read, ${lasting} of them flow mods`);
});

Deno.test("openflow fuzz: flows are the same once they were bytes of a version that has their fields", () => {
  for (const [since, text] of flowTexts) {
    const mod = read(text);
    if (mod === undefined) continue; // It names what the switch does not do.
    for (
      const version of ([3, 4, 5, 6] as Version[]).filter((one) => one >= since)
    ) {
      let bytes: Uint8Array;
      try {
        bytes = encodeMessage(mod, { version });
      } catch (error) {
        if (error instanceof OfError) continue; // The version has no words for it.
        throw error;
      }
      const again = decodeMessage(bytes, { tableInCommand: true }).message as FlowMod;
      const twice = encodeMessage(again, { version });
      strictEqual(twice.toHex(), bytes.toHex(), `OpenFlow 1.${version - 1}: ${text}`);
    }
  }
});
