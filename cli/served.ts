// SPDX-License-Identifier: Apache-2.0
/**
 * Datapaths that programs on this machine serve, found by their control sockets.
 *
 * @module
 */
import type { Datapath } from "../providers/datapath.ts";
import { DatapathError } from "../providers/errors.ts";
import { datapathTypes } from "../providers/registry.ts";
import {
  checkControlDirectory,
  controlDirectory,
  ControlPathError,
} from "../control/socket_path.ts";
import { program } from "./terminal.ts";
import {
  type DatapathSource,
  fullName,
  openableDatapaths,
} from "../control/datapath_source.ts";

/**
 * Thrown instead of opening a datapath that another program serves: the verb is for that program.
 */
export class Elsewhere extends Error {
  override readonly name = "Elsewhere";
  /** Control socket of the program. */
  readonly path: string;

  constructor(path: string) {
    super(`served at ${path}`);
    this.path = path;
  }
}

/** So long a program may take to accept a connection, milliseconds. */
const connectLimitMs = 3000;

/**
 * Control sockets by the full names of their datapaths; those that nobody serves any more are
 * passed over. In a folder that others can write to none is believed: `complain` is told why.
 */
export async function servedDatapaths(
  complain: (text: string) => void,
): Promise<Map<string, string>> {
  const directory = controlDirectory();
  const served = new Map<string, string>();
  let names: string[] = [];
  try {
    names = [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
  } catch {
    return served; // No program has made the folder.
  }
  const sockets = names.flatMap((name) => {
    const [, datapath] = /^([^@]+@.+)\.ctl$/.exec(name) ?? [];
    return datapath === undefined ? [] : [{ datapath, path: `${directory}/${name}` }];
  });
  if (sockets.length === 0) return served;
  try {
    checkControlDirectory(directory);
  } catch (error) {
    if (!(error instanceof ControlPathError)) throw error;
    complain(`${program}: ${error.message}\n`);
    return served;
  }
  const alive = await Promise.all(sockets.map(({ path }) => isAlive(path)));
  sockets.forEach(({ datapath, path }, i) => alive[i] && served.set(datapath, path));
  return served;
}

/** Whether somebody accepts connections, within a time: a program that hangs does not. */
async function isAlive(path: string): Promise<boolean> {
  const connected = Deno.connect({ transport: "unix", path })
    .then((connection) => (connection.close(), true), () => false);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => {
      // If this program itself had no turn for so long, what came meanwhile comes before.
      timer = setTimeout(() => resolve(false), connectLimitMs / 10);
    }, connectLimitMs);
  });
  try {
    return await Promise.race([connected, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Datapaths of the kernel, and those that are served: opening one of the latter throws `Elsewhere`.
 */
export function reachableDatapaths(served: ReadonlyMap<string, string>): DatapathSource {
  const local = openableDatapaths(["system"]);
  return {
    async list() {
      const { names, error } = await local.list();
      const others = [...served.keys()].filter((name) => !names.includes(name));
      const all = [...names, ...others];
      return error === undefined ? { names: all } : { names: all, error };
    },
    async exists(name) {
      const full = fullName(name);
      return (full !== undefined && served.has(full)) || await local.exists(name);
    },
    // deno-lint-ignore require-await -- rejects, rather than throws
    async open(name, options): Promise<Datapath> {
      const path = served.get(fullName(name) ?? "");
      // A datapath of the kernel needs no other process, even if one serves it.
      const isKernels = fullName(name)?.startsWith("system@") ?? true;
      if (path !== undefined && !isKernels) throw new Elsewhere(path);
      if (isKernels) return local.open(name, options);
      throw new DatapathError({
        operation: "open datapath",
        object: name,
        code: unopenable(name, options.create !== false),
        detail: noSuchType(name),
      });
    },
  };
}

/** A datapath in userspace lives in a program: this one would take it along when it ends. */
function unopenable(name: string, create: boolean) {
  const type = name.slice(0, name.indexOf("@"));
  if (type !== "netdev") return "EAFNOSUPPORT";
  return create ? "EOPNOTSUPP" : "ENODEV";
}

function noSuchType(name: string): string | undefined {
  const type = name.slice(0, name.indexOf("@"));
  const types = datapathTypes();
  if (types.includes(type)) return undefined;
  return `there is no provider of type "${type}" (there are: ${types.join(", ")})`;
}
