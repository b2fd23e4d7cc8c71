// SPDX-License-Identifier: Apache-2.0
/**
 * Netlink port ids of handlers: what they are made of, and who has one.
 *
 * Any user of the network namespace may bind any port id that is free, and may ask the kernel which
 * ones upcalls go to.  So the kernel is told a port id only while a socket of ours has it, and what
 * is bound by somebody without the right to change datapaths is taken for free.
 *
 * ```text
 * 30:2  01: above every process id, which is what sockets get by default
 * 21:9  number of handlers, 0 when nobody set it
 * 12:9  handler, 511: none, the port id keeps the number and takes no upcalls
 *  0:12 random
 * ```
 *
 * @module
 */
import { readSystemFile } from "../../ffi/system_file.ts";
import { NetlinkError, NetlinkSocket, Protocol } from "../netlink/mod.ts";

const nobody = 511;
/** Handlers of a datapath at most. */
export const maxHandlers: number = nobody - 1;
/** Tries to find a port id that nobody has. */
const maxTries = 64;

/** A port id of ours. */
export interface HandlerPortId {
  /** Number of handlers of the datapath; 0 when nobody set it. */
  readonly count: number;
  /** Which handler has it; undefined: it keeps the number of handlers only. */
  readonly handler: number | undefined;
}

function encode({ count, handler = nobody }: HandlerPortId): number {
  const [random = 0] = crypto.getRandomValues(new Uint16Array(1));
  return (0x40000000 | count << 21 | handler << 12 | random & 0xfff) >>> 0;
}

/** What a port id of ours says; undefined for others. */
export function parsePortId(portId: number): HandlerPortId | undefined {
  if (portId >>> 30 !== 1) return undefined;
  const handler = portId >>> 12 & 0x1ff;
  return {
    count: portId >>> 21 & 0x1ff,
    handler: handler === nobody ? undefined : handler,
  };
}

/**
 * A socket with a port id of ours that nobody had, whose queue takes `receiveBuffer` bytes.
 * Throws {@linkcode NetlinkError} `EADDRINUSE` when somebody has all that were tried.
 */
export function bindPortId(
  portId: HandlerPortId,
  options: { readonly receiveBuffer: number; readonly datagramSize: number },
): NetlinkSocket {
  for (let tries = 1;; tries++) {
    try {
      return new NetlinkSocket(Protocol.generic, { portId: encode(portId), ...options });
    } catch (error) {
      const isTaken = error instanceof NetlinkError && error.code === "EADDRINUSE";
      if (!isTaken || tries >= maxTries) throw error;
    }
  }
}

/**
 * A socket that keeps the number of handlers, and takes no upcalls: its queue is full, so that the
 * kernel counts what is sent to it as lost.
 */
export function makeKeeper(count: number): NetlinkSocket {
  const keeper = bindPortId({ count, handler: undefined }, {
    receiveBuffer: 0,
    datagramSize: 0,
  });
  try {
    keeper.stuff();
  } catch (error) {
    keeper.close();
    throw error;
  }
  return keeper;
}

/** CPUs that this machine may ever have; what `nr_cpu_ids` is to the kernel. */
export function possibleCpus(): number {
  const text = readSystemFile("/sys/devices/system/cpu/possible") ?? "";
  const last = Number(/(\d+)\s*$/.exec(text)?.[1]);
  // Where it cannot be read, the CPUs that this process may use will do.
  return Number.isInteger(last) ? last + 1 : navigator.hardwareConcurrency;
}

/** Sockets of generic netlink by their port ids: the numbers of their inodes. */
function boundPortIds(): Map<number, string> | undefined {
  // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode; Eth is the protocol.
  const text = readSystemFile("/proc/thread-self/net/netlink");
  if (text === undefined) return undefined;
  const rows = text.split("\n").map((line) => line.trim().split(/\s+/));
  return new Map(
    rows.filter(([, protocol]) => Number(protocol) === Protocol.generic)
      .map((row) => [Number(row[2]) >>> 0, row.at(-1) ?? ""]),
  );
}

/**
 * Which of `portIds` living programs have that may change datapaths.
 *
 * Without a look at the sockets of this namespace (no `/proc`) all of them count.
 */
export function livingPortIds(portIds: Iterable<number>): Set<number> {
  const wanted = new Set(portIds);
  if (wanted.size === 0) return wanted;
  const bound = boundPortIds();
  if (!bound) return wanted;
  const inodes = new Map([...wanted].flatMap((portId): [string, number][] => {
    const inode = bound.get(portId);
    return inode === undefined ? [] : [[`socket:[${inode}]`, portId]];
  }));
  const intruders = findIntruders(inodes);
  return new Set([...inodes.values()].filter((portId) => !intruders.has(portId)));
}

/**
 * Of port ids by the names of their sockets, those that only processes without the right to change
 * datapaths have.  A process that cannot be looked at is trusted, for it may be anybody.
 */
function findIntruders(sockets: ReadonlyMap<string, number>): Set<number> {
  const owners = new Map<number, boolean[]>();
  // Never asked for: on a terminal Deno would wait for an answer.
  const { state } = Deno.permissions.querySync({ name: "read", path: "/proc" });
  if (sockets.size === 0 || state !== "granted") return new Set();
  try {
    for (const { name } of Deno.readDirSync("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      for (const socket of socketsOf(name)) {
        const portId = sockets.get(socket);
        if (portId === undefined) continue;
        owners.set(portId, [...owners.get(portId) ?? [], isPrivileged(name)]);
      }
    }
  } catch {
    return new Set(); // No permission to look.
  }
  return new Set(
    [...owners].filter(([, rights]) => !rights.includes(true)).map(([portId]) => portId),
  );
}

/** Names of the sockets of a process, as its descriptors have them. */
function socketsOf(pid: string): string[] {
  try {
    return [...Deno.readDirSync(`/proc/${pid}/fd`)].flatMap(({ name }) => {
      try {
        return [Deno.readLinkSync(`/proc/${pid}/fd/${name}`)];
      } catch {
        return []; // It was closed.
      }
    });
  } catch {
    return []; // It ended, or is none of our business.
  }
}

/** Bit of `CAP_NET_ADMIN` in the sets of capabilities. */
const netAdmin = 1n << 12n;

/**
 * Whether a process may change datapaths: by its capabilities, which count in its own user
 * namespace.
 */
function isPrivileged(pid: string): boolean {
  const status = readSystemFile(`/proc/${pid}/status`);
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status ?? "")?.[1];
  if (effective === undefined) return true;
  if ((BigInt(`0x${effective}`) & netAdmin) === 0n) return false;
  try {
    const namespace = (of: string) => Deno.readLinkSync(`/proc/${of}/ns/user`);
    return namespace(pid) === namespace("self");
  } catch {
    return true;
  }
}

/** ` "name"` of the process that a port id is named after, if there is one; for messages. */
export function programOf(portId: number): string {
  const name = readSystemFile(`/proc/${portId}/comm`)?.trim();
  return name === undefined ? "" : ` "${name}"`;
}
