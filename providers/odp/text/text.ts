// SPDX-License-Identifier: Apache-2.0
/**
 * The text of ovs-dpctl(8): keys with their masks, and actions.
 *
 * @module
 */

import { type Ufid, ufid } from "../../ids.ts";
import type {
  Action,
  ActionsInput,
  FlowKey,
  FlowKeyInit,
  FlowMask,
  MaskInput,
} from "../../types.ts";
import { decodeActions, encodeActions } from "../action.ts";
import { decodeKey, encodeKey } from "../key.ts";
import { decodeMask, encodeMask } from "../mask.ts";
import { type PortList, portNames, Scanner } from "./scanner.ts";
import { printActions } from "./action.ts";
import { scanActionList } from "./action_scan.ts";
import { printKey } from "./key.ts";
import { scanKey } from "./key_scan.ts";
import { viewBytes } from "../view.ts";
import { MAX_ATTRIBUTE_SIZE, written } from "../../codec/writer.ts";

/** Names for port numbers. */
export interface PortOptions {
  /** The ports of the datapath: what `dp.ports.dump()` yields, or a map of names. */
  readonly ports?: PortList | undefined;
}

/** How a key is printed. */
export interface FormatOptions extends PortOptions {
  /** Print wildcarded fields too, as `-m` does. */
  readonly verbose?: boolean;
}

/** What the text of a flow's key says, as bytes. */
export interface ParsedKeyBytes {
  /** Key attributes in the order of the text. */
  readonly key: Uint8Array<ArrayBuffer>;
  /** Mask attributes in the same order. */
  readonly mask: Uint8Array<ArrayBuffer>;
  /** The identifier, when the text began with `ufid:`. */
  readonly ufid?: Ufid;
}

/** What the text of a flow's key says. */
export interface ParsedKey {
  /** Values; a field whose mask has bits, or that is named, is present. */
  readonly key: FlowKey;
  /** Bits that matter: all of a value without a `/mask`, none of what is not there. */
  readonly mask: FlowMask;
  /** The identifier, when the text began with `ufid:`. */
  readonly ufid?: Ufid;
}

/** As {@linkcode parseKey}, but gives bytes in the order of the text. */
export function parseKeyBytes(text: string, options: PortOptions = {}): ParsedKeyBytes {
  const s = new Scanner(text, portNames(options.ports));
  s.skipDelimiters();
  const id = scanUfid(s);
  let mask = new Uint8Array();
  const key = written((keyWriter) => {
    mask = written((maskWriter) =>
      scanKey(s, { key: keyWriter, mask: maskWriter }, false)
    );
  });
  if (key.length > MAX_ATTRIBUTE_SIZE || mask.length > MAX_ATTRIBUTE_SIZE) {
    s.fail("key does not fit into 65535 bytes", 0);
  }
  return id === undefined ? { key, mask } : { key, mask, ufid: id };
}

function scanUfid(s: Scanner): Ufid | undefined {
  if (!s.take("ufid:")) return undefined;
  const start = s.at;
  const text = s.until(", \t\r\n");
  try {
    return ufid(text);
  } catch {
    return s.fail("expected a flow identifier", start);
  }
}

/**
 * Parses the text of a flow's key: `in_port(1),eth(),eth_type(0x0806),arp(op=1)`.
 *
 * Delimiters between fields are commas and white space.  Throws `SyntaxError` with the
 * `offset` of what is wrong.
 */
export function parseKey(text: string, options: PortOptions = {}): ParsedKey {
  const bytes = parseKeyBytes(text, options);
  const key = decodeKey(bytes.key);
  const mask = decodeMask(bytes.mask, bytes.key);
  return bytes.ufid === undefined ? { key, mask } : { key, mask, ufid: bytes.ufid };
}

/** A key and perhaps its mask, in any form but text. */
export interface KeyAndMask {
  /** The key. */
  readonly key: FlowKey | FlowKeyInit | Uint8Array;
  /** The mask; without one everything is exact. */
  readonly mask?: MaskInput | undefined;
}

/** Prints a key as `ovs-dpctl dump-flows` does: without a mask, everything is exact. */
export function formatKey(
  { key, mask }: KeyAndMask,
  options: FormatOptions = {},
): string {
  const bytes = key instanceof Uint8Array ? key : viewBytes(key) ?? encodeKey(key);
  const bits = mask === undefined || mask instanceof Uint8Array
    ? mask
    : encodeMask(mask, bytes);
  return printKey(bytes, bits, {
    verbose: options.verbose ?? false,
    ports: portNames(options.ports),
  });
}

/**
 * Parses the text of actions: `push_vlan(vid=5,pcp=0),2`, or `drop` for none.
 *
 * Throws `SyntaxError` with the `offset` of what is wrong.
 */
export function parseActions(text: string, options: PortOptions = {}): Action[] {
  return scanActionList(new Scanner(text, portNames(options.ports)));
}

/** Prints actions as `ovs-dpctl dump-flows` does; `drop` for none. */
export function formatActions(
  actions: Exclude<ActionsInput, string>,
  options: PortOptions = {},
): string {
  // By way of bytes, so that what cannot be encoded is not printed either.
  const bytes = actions instanceof Uint8Array ? actions : encodeActions(actions);
  return printActions(decodeActions(bytes), portNames(options.ports));
}
