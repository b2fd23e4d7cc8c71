// SPDX-License-Identifier: Apache-2.0
/**
 * What the database may not say: files and programs of the machine, of which a daemon that root
 * runs could make, empty or start any.
 *
 * As in Open vSwitch: sockets are made in the run folder only.
 *
 * @module
 */

function partsOf(path: string): string[] {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts;
}

/**
 * A path in a folder; one that does not begin with `/` begins there. Throws `RangeError` for a path
 * that leads out of it.
 */
export function confined(folder: string, path: string): string {
  const whole = path.startsWith("/") ? path : `${folder}/${path}`;
  const [parts, own] = [partsOf(whole), partsOf(folder)];
  const isIn = whole.startsWith("/") === folder.startsWith("/") &&
    parts.length > own.length && own.every((part, i) => part === parts[i]);
  if (!isIn || path.includes("\0")) {
    throw new RangeError(`${JSON.stringify(path)} is not in the folder ${folder}`);
  }
  return `${folder.startsWith("/") ? "/" : ""}${parts.join("/")}`;
}

/** Drivers of DPDK that open files, make sockets or start programs as their arguments say. */
const unsafeDrivers = /pcap|vhost|memif|failsafe|xdp_prog|path=/i;

/**
 * Whether a device of DPDK is one that only leads to a network: by an address of a bus, or a
 * virtual one whose arguments name no file.
 */
export function isPlainDevice(devargs: string): boolean {
  const rest = devargs.replace(/,path=\/dev\/vhost-net(?=,|$)/, "");
  return /^[\w:.,=@+-]*$/.test(rest) && !unsafeDrivers.test(rest);
}
