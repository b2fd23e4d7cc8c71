// SPDX-License-Identifier: Apache-2.0
/**
 * Which kinds of datapaths there are: `type@name` to a provider, loaded when it is first needed.
 *
 * @module
 */
import type { OpenOptions, Provider } from "./contract/provider.ts";
import { Datapath } from "./datapath.ts";
import { DatapathError } from "./errors.ts";

/** The kind that is meant when a name has no `@`. */
const DEFAULT_TYPE = "system";

/**
 * Providers that come with the module. Imported when first used: importing `mod.ts` opens no
 * library.
 */
const builtIn: Readonly<Record<string, () => Promise<Provider>>> = {
  system: async () => (await import("./system/mod.ts")).systemProvider,
  netdev: async () => (await import("./netdev/mod.ts")).netdevProvider,
};

/** A provider in use by this isolate, and how many datapaths are open through it. */
interface Entry {
  readonly provider: Provider;
  open: number;
}

const entries = new Map<string, Entry>();

/** Splits `type@name`. Throws `TypeError` for what is no name. */
export function parseDatapathName(fullName: string): { type: string; name: string } {
  const at = fullName.indexOf("@");
  const type = at < 0 ? DEFAULT_TYPE : fullName.slice(0, at) || DEFAULT_TYPE;
  const name = fullName.slice(at + 1);
  if (name === "" || /[\0\n/]/.test(name)) {
    throw new TypeError(
      `Cannot use ${JSON.stringify(fullName)} as the name of a datapath: ` +
        `it must be "type@name", or "name" for one in the kernel`,
    );
  }
  return { type, name };
}

/**
 * Adds a kind of datapath. `EEXIST`: there is one of that type. Whatever its `init` throws is
 * thrown, and it is not added.
 */
export function registerProvider(provider: Provider): void {
  const { type } = provider;
  if (!/^[a-z0-9][a-z0-9_-]*$/i.test(type)) {
    throw new TypeError(`Cannot register a provider of type ${JSON.stringify(type)}`);
  }
  if (entries.has(type) || Object.hasOwn(builtIn, type)) {
    throw new DatapathError({
      operation: "register provider",
      object: type,
      code: "EEXIST",
    });
  }
  addEntry(provider);
}

/** Removes a kind of datapath. `EAFNOSUPPORT`: there is none; `EBUSY`: datapaths of it are open. */
export function unregisterProvider(type: string): void {
  const entry = entries.get(type);
  if (entry !== undefined && entry.open === 0) {
    entries.delete(type);
    return;
  }
  throw new DatapathError({
    operation: "unregister provider",
    object: type,
    code: entry === undefined ? "EAFNOSUPPORT" : "EBUSY",
  });
}

/** Every kind of datapath that can be opened. */
export function datapathTypes(): string[] {
  return [...new Set([...Object.keys(builtIn), ...entries.keys()])];
}

/**
 * Opens the datapath `type@name`; without `@`, type `system`. With `create: true` it is made if
 * there is none, with `create: "exclusive"` it must be made (`EEXIST`).
 *
 * `ENODEV`: there is none; `EAFNOSUPPORT`: no such type; `EPERM`, `EACCES`: not allowed.
 */
export async function openDatapath(
  fullName: string,
  options: OpenOptions = {},
): Promise<Datapath> {
  const { type, name } = parseDatapathName(fullName);
  const entry = await findEntry(type, fullName);
  entry.open++;
  try {
    return new Datapath(await entry.provider.open(name, options), () => entry.open--);
  } catch (error) {
    entry.open--;
    throw error;
  }
}

/**
 * Full names of the datapaths that exist: of one type, or of all. Asked for all, a type that this
 * machine has not got (no such kernel module, no library) has none; asked for it alone, that is an
 * error.
 */
export async function enumerateDatapaths(
  options: { readonly type?: string } = {},
): Promise<string[]> {
  if (options.type !== undefined) return await enumerateType(options.type);
  const lists = await Promise.all(
    datapathTypes().map(async (type) => {
      try {
        return await enumerateType(type);
      } catch (error) {
        if (error instanceof DatapathError && absent.has(error.code)) return [];
        throw error;
      }
    }),
  );
  return lists.flat();
}

/** What a provider answers that this machine has not got. */
const absent: ReadonlySet<string> = new Set(["ENOENT", "ENODEV", "EOPNOTSUPP"]);

async function enumerateType(type: string): Promise<string[]> {
  const { provider } = await findEntry(type, type);
  const names = await provider.enumerate?.() ?? [];
  return names.map((name) => `${type}@${name}`);
}

async function findEntry(type: string, object: string): Promise<Entry> {
  const known = entries.get(type);
  if (known !== undefined) return known;
  const load = Object.hasOwn(builtIn, type) ? builtIn[type] : undefined;
  if (load === undefined) {
    throw new DatapathError({
      operation: "open datapath",
      object,
      code: "EAFNOSUPPORT",
      detail: `there is no provider of type "${type}" (there are: ${
        datapathTypes().join(", ")
      })`,
    });
  }
  const provider = await load();
  return entries.get(type) ?? addEntry(provider);
}

function addEntry(provider: Provider): Entry {
  provider.init?.();
  const entry = { provider, open: 0 };
  entries.set(provider.type, entry);
  return entry;
}
