// SPDX-License-Identifier: Apache-2.0
/**
 * Where verbs find datapaths: all that this process can open, or the one that a program serves.
 *
 * @module
 */
import type { Datapath } from "../providers/datapath.ts";
import { DatapathError } from "../providers/errors.ts";
import type { ErrnoName } from "../providers/errno.ts";
import {
  datapathTypes,
  enumerateDatapaths,
  openDatapath,
  parseDatapathName,
} from "../providers/registry.ts";

/** Datapaths by name. */
export interface DatapathSource {
  /** Full names of all, and why a type could not be listed. */
  list(): Promise<{ readonly names: string[]; readonly error?: ErrnoName }>;
  /** Whether there is one of this name. */
  exists(name: string): Promise<boolean>;
  /** Opens one for the duration of a verb. */
  open(
    name: string,
    options: { readonly create: false | "exclusive" },
  ): Promise<Datapath>;
}

/** Datapaths of the types given, or of every type. */
export function openableDatapaths(types?: readonly string[]): DatapathSource {
  const list = async (): Promise<{ names: string[]; error?: ErrnoName }> => {
    const names: string[] = [];
    let failure: ErrnoName | undefined;
    for (const type of types ?? datapathTypes()) {
      try {
        names.push(...await enumerateDatapaths({ type }));
      } catch (error) {
        if (!(error instanceof DatapathError)) throw error;
        failure = error.code;
      }
    }
    return failure === undefined ? { names } : { names, error: failure };
  };
  return {
    list,
    async exists(name) {
      const full = fullName(name);
      return full !== undefined && (await list()).names.includes(full);
    },
    open: (name, { create }) => openDatapath(name, create ? { create } : {}),
  };
}

/** `type@name` of a name that may lack its type; undefined for what cannot be a name. */
export function fullName(name: string): string | undefined {
  try {
    const { type, name: bare } = parseDatapathName(name);
    return `${type}@${bare}`;
  } catch {
    return undefined;
  }
}
