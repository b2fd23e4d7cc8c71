// SPDX-License-Identifier: Apache-2.0
/**
 * Options of Geneve that a switch knows, as fields of its flows.
 *
 * @module
 */
import { Cell } from "../../policy/mod.ts";
import type { GeneveOption } from "../../providers/types.ts";
import { OfError } from "../wire/error.ts";
import { type Field, makeOptionField, type OptionFields } from "../wire/field.ts";
import { type FlowWords, OPTION_WORDS, Word } from "../wire/flow.ts";
import type { TlvMap, TlvTableMod } from "../wire/message.ts";
import { setPresent } from "../wire/nicira/option.ts";

/** An option, with its field. */
interface Mapped extends TlvMap {
  readonly field: Field;
}

/** Which options fields stand for. */
export class TlvTable implements OptionFields {
  /** Written anew with each change: flows rest on it. */
  readonly #maps = new Cell<ReadonlyMap<number, Mapped>>(new Map());

  /** @ignore */
  optionField(index: number): Field | undefined {
    return this.#maps.value.get(index)?.field;
  }

  /** @ignore */
  optionFields(): readonly Field[] {
    return [...this.#maps.value.values()].map(({ field }) => field);
  }

  /** Another one when other options are known. */
  get stamp(): unknown {
    return this.#maps.value;
  }

  /** All options, by the numbers of their fields. */
  maps(): TlvMap[] {
    return [...this.#maps.value.values()].map(({ field: _, ...map }) => map);
  }

  /**
   * Changes which options are known; `isUsed` says of a field whether flows name it. Throws
   * {@linkcode OfError}, and then nothing has changed.
   */
  apply({ command, maps }: TlvTableMod, isUsed: (field: Field) => boolean): void {
    const now = new Map(this.#maps.value);
    const drop = (index: number): void => {
      const known = now.get(index);
      if (known === undefined) return;
      if (isUsed(known.field)) throw new OfError("NXTTMFC_INVALID_TLV_DEL");
      now.delete(index);
    };
    if (command === "clear") { for (const index of [...now.keys()]) drop(index); }
    else if (command === "delete") { for (const { index } of maps) drop(index); }
    else {
      for (const map of maps) {
        if (now.has(map.index)) throw new OfError("NXTTMFC_ALREADY_MAPPED");
        if (map.length === 0) throw new OfError("NXTTMFC_BAD_OPT_LEN");
        for (const { optionClass, type } of now.values()) {
          if (optionClass === map.optionClass && type === map.type) {
            throw new OfError("NXTTMFC_DUP_ENTRY");
          }
        }
        const word = freeWords(now.values(), map.length / 4);
        if (word === undefined) throw new OfError("NXTTMFC_TABLE_FULL");
        now.set(map.index, {
          ...map,
          field: makeOptionField(map.index, map.length, word),
        });
      }
    }
    this.#maps.value = new Map([...now].sort(([a], [b]) => a - b));
  }

  /** Has a flow say which options a packet came with. */
  lay(flow: FlowWords, options: readonly GeneveOption[]): void {
    for (const { optionClass, type, length, index, field } of this.#maps.value.values()) {
      const found = options.find((one) => one.class === optionClass && one.type === type);
      if (found === undefined || found.data.length !== length) continue;
      const view = new DataView(found.data.buffer, found.data.byteOffset, length);
      for (let i = 0; i < length / 4; i++) flow[field.word + i] = view.getUint32(4 * i);
      setPresent(flow, index);
    }
  }

  /** The options that a flow says were set of a packet. */
  optionsOf(flow: FlowWords, written: FlowWords): GeneveOption[] {
    return [...this.#maps.value.values()].flatMap((map): GeneveOption[] => {
      const { optionClass, type, length, index, field } = map;
      const word = Word.tunPresent + (index >> 5);
      const bit = 1 << (index & 31);
      if (!((flow[word] as number) & (written[word] as number) & bit)) return [];
      const data = new Uint8Array(length);
      const view = new DataView(data.buffer);
      for (let i = 0; i < length / 4; i++) {
        view.setUint32(4 * i, flow[field.word + i] as number);
      }
      return [{ class: optionClass, type, data }];
    });
  }
}

/** The first of `count` words that no option has; undefined where there are none. */
function freeWords(maps: Iterable<Mapped>, count: number): number | undefined {
  const used = [...maps].map(({ field, length }) => [field.word, field.word + length / 4])
    .sort(([a = 0], [b = 0]) => a - b);
  let word: number = Word.tunOptions;
  for (const [from = 0, to = 0] of used) {
    if (word + count <= from) return word;
    word = to;
  }
  return word + count <= Word.tunOptions + OPTION_WORDS ? word : undefined;
}
