// SPDX-License-Identifier: Apache-2.0
/**
 * Verbs about ports.
 *
 * @module
 */
import type { Port } from "../../providers/contract/ports.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { bringUp } from "./link_up.ts";
import { readInteger } from "../text/scan.ts";
import { type Advice, didYouMean } from "./advice.ts";
import { codeOf, failureOf, type Verb, VerbFailure, type VerbRun } from "./verb.ts";

const all = Infinity;

/** `NAME[,type=TYPE][,port_no=N][,KEY=VALUE]…`, split like strtok(3): empty parts do not count. */
function parseInterface(text: string): { name: string; settings: [string, string][] } {
  const [name, ...words] = text.split(",").filter((word) => word !== "");
  if (name === undefined) {
    throw new VerbFailure(
      `${text || '""'} is not a valid network device name`,
      undefined,
      {
        hint: "an interface is NAME[,type=TYPE][,port_no=N][,OPTION=VALUE]...",
      },
    );
  }
  const settings = words.map((word): [string, string] => {
    const [, key = "", value = ""] = /^=*([^=]*)=?([^]*)$/.exec(word) ?? [];
    return [key, value];
  });
  return { name, settings };
}

/** The number that a port is to have; the last of all stands for none. */
function portNumber(text: string): number {
  const no = readInteger(text);
  if (no !== undefined && no >= -1 && no <= noPort) return no >>> 0;
  throw new VerbFailure(`port_no=${text}: expected a number`, "EINVAL");
}

/** Adds ports, going on behind failures: `args` are the datapath and an interface each. */
export async function addPorts(run: VerbRun, args: readonly string[]): Promise<void> {
  await eachInterface(run, args, async (dp, text, dpName) => {
    const { name, settings } = parseInterface(text);
    let type = "system";
    let no: number | undefined;
    const options = new Map<string, string>();
    for (const [key, value] of settings) {
      if (key === "type") type = value;
      else if (key === "port_no") no = portNumber(value);
      else if (options.has(key)) run.complain(`duplicate "${key}" option`);
      else options.set(key, value);
    }
    const port = await add(dp, dpName, { name, type, no, options });
    run.result(port);
    if (dp.type === "system") {
      try {
        bringUp(port.name);
      } catch (error) {
        throw failureOf(`${name}: failed bringing interface up`, error);
      }
    }
  });
}

interface Wanted {
  readonly name: string;
  readonly type: string;
  readonly no: number | undefined;
  readonly options: ReadonlyMap<string, string>;
}

const noPort = 0xffffffff;

/** Whether a number is a wish: the kernel takes 0 for none, and Open vSwitch lets it. */
function isWish(dp: Datapath, no: number | undefined): no is number {
  return no !== undefined && no !== noPort && !(no === 0 && dp.type === "system");
}

async function add(
  dp: Datapath,
  dpName: string,
  { name, type, no, options }: Wanted,
): Promise<Port> {
  try {
    return await dp.ports.add({
      name,
      type,
      ...(isWish(dp, no) && { no }),
      ...(options.size > 0 && { options: Object.fromEntries(options) }),
    });
  } catch (error) {
    const code = codeOf(error);
    // Open vSwitch opens the device before it asks the datapath, and these are what that may come
    // to.
    const isDevice = code === "EAFNOSUPPORT" ||
      (code === "ENODEV" && dp.type === "system" && !hasDevice(name));
    throw failureOf(
      isDevice
        ? `${name}: failed to open network device`
        : `adding ${name} to ${dpName} failed`,
      error,
      code === "ENODEV" && type === "system" ? { hint: kindHint(name) } : {},
    );
  }
}

/** What to do where there is no such device: to say a type, in the way of this verb. */
function kindHint(text: string): string {
  const [name = "", type = "dummy"] = text.split(":");
  return `"ip link" lists devices, and a port of another type says so: ${name},type=${type}`;
}

function hasDevice(name: string): boolean {
  try {
    Deno.lstatSync(`/sys/class/net/${name}`);
    return true;
  } catch {
    return false;
  }
}

/**
 * Does something for each interface behind a datapath's name; a failure of one does not keep the
 * next from its turn.
 */
async function eachInterface(
  run: VerbRun,
  [dpName = "", ...interfaces]: readonly string[],
  use: (dp: Datapath, text: string, dpName: string) => Promise<void>,
): Promise<void> {
  await run.withNamed(dpName, "opening datapath", async (dp) => {
    for (const text of interfaces) {
      try {
        await use(dp, text, dpName);
      } catch (error) {
        if (!(error instanceof VerbFailure)) throw error;
        run.fail(error);
      }
    }
  });
}

/** Ports that hints name at most. */
const namedPorts = 12;

/** What may have been meant by a name that no port has. */
function whichPorts(dp: Datapath, name: string): Advice {
  const names = [...dp.ports.dump()].map((port) => port.name);
  const more = names.length > namedPorts ? ", …" : "";
  const list = names.slice(0, namedPorts).join(", ");
  return { hint: didYouMean(name, names) ?? `the ports are ${list}${more}` };
}

function deletePorts(run: VerbRun, args: readonly string[]): Promise<void> {
  return eachInterface(run, args, async (dp, name, dpName) => {
    const isNumber = /^\d*$/.test(name);
    const no = isNumber ? Number(name) : dp.ports.get(name)?.no;
    if (no === undefined) {
      throw new VerbFailure(`no port named ${name}`, undefined, whichPorts(dp, name));
    }
    try {
      // The last number stands for "no port"; there is none, so the answer is the provider's for
      // any such number.
      await dp.ports.delete(Math.min(no, noPort - 1));
    } catch (error) {
      throw failureOf(`deleting port ${name} from ${dpName} failed`, error);
    }
    run.result({ deleted: name });
  });
}

function setPorts(run: VerbRun, args: readonly string[]): Promise<void> {
  return eachInterface(run, args, async (dp, text, dpName) => {
    const { name, settings } = parseInterface(text);
    const port = dp.ports.get(name);
    if (port === undefined) {
      const message = `${name}: failed to query port in ${dpName}`;
      throw new VerbFailure(message, "ENODEV", whichPorts(dp, name));
    }
    const options = new Map(Object.entries(port.options ?? {}));
    for (const [key, value] of settings) change(port, options, [key, value]);
    if (settings.some(([key]) => key !== "type" && key !== "port_no")) {
      try {
        await dp.ports.setConfig(port.no, Object.fromEntries(options));
      } catch (error) {
        throw failureOf("Error updating configuration", error);
      }
    }
    run.result({ ...port, options: Object.fromEntries(options) });
  });
}

function change(
  port: Port,
  options: Map<string, string>,
  [key, value]: readonly [string, string],
): void {
  if (key === "type") {
    if (value === port.type) return;
    throw new VerbFailure(
      `${port.name}: can't change type from ${port.type} to ${value}`,
    );
  }
  if (key === "port_no") {
    const wanted = portNumber(value);
    if (wanted === port.no) return;
    throw new VerbFailure(
      `${port.name}: can't change port number from ${port.no} to ${wanted}`,
    );
  }
  if (value === "") options.delete(key);
  else options.set(key, value);
}

/** Verbs about ports. */
export const portVerbs: readonly Verb[] = [
  {
    name: "add-if",
    usage: "dp iface...",
    summary: "add each IFACE to DP",
    args: [2, all],
    writes: true,
    perform: addPorts,
  },
  {
    name: "del-if",
    usage: "dp iface...",
    summary: "remove each IFACE, number or name, from DP",
    args: [2, all],
    writes: true,
    perform: deletePorts,
  },
  {
    name: "set-if",
    usage: "dp iface...",
    summary: "change options of each IFACE of DP",
    args: [2, all],
    writes: true,
    perform: setPorts,
  },
];
