// SPDX-License-Identifier: Apache-2.0
/**
 * Interfaces of the database as ports of a datapath: which kind of port, with which options.
 *
 * @module
 */
import { DatapathError } from "../providers/errors.ts";
import { portNo } from "../providers/ids.ts";
import type { PortRequest } from "../providers/contract/ports.ts";
import type { FaceConfig } from "./config.ts";
import { confined, isPlainDevice } from "./confine.ts";

/** Kinds of datapaths here: `dummy` is a userspace one whose devices are in memory. */
export type DatapathKind = "system" | "netdev" | "dummy";

/** Tunnels, and the UDP ports that they have where nothing is said. */
const tunnels: Readonly<Record<string, string | undefined>> = {
  geneve: "6081",
  vxlan: "4789",
  gre: undefined,
  ip6gre: undefined,
  erspan: undefined,
  ip6erspan: undefined,
  gtpu: "2152",
  bareudp: "6635",
};

/** Options of tunnels that are the same in datapaths. */
const tunnelOptions = [
  ...["remote_ip", "local_ip", "key", "in_key", "out_key", "tos", "ttl", "csum", "seq"],
  ...["erspan_ver", "erspan_idx", "erspan_dir", "erspan_hwid", "payload_type"],
];

/** The largest MTU of a port in memory. */
export const MAX_DUMMY_MTU = 65_521;
/** The MTU of a port in memory of which none is asked. */
export const USUAL_MTU = 1500;

/** Names of kinds in Open vSwitch, and here. */
const ownKinds: Readonly<Record<string, string>> = {
  system: "system",
  internal: "internal",
  tap: "tap",
  afxdp: "afxdp",
  "afxdp-nonpmd": "afxdp",
  dpdk: "dpdk",
  dpdkvhostuser: "vhost-user",
  dpdkvhostuserclient: "vhost-user-client",
  memif: "memif",
  dummy: "dummy",
  "dummy-internal": "dummy",
  "dummy-pmd": "dummy",
};

/** Kinds of interfaces that the database is told of. */
export function faceTypes(kinds: readonly DatapathKind[]): string[] {
  const some = kinds.includes("netdev") || kinds.includes("dummy")
    ? Object.keys(ownKinds)
    : ["internal", "system"];
  return [...some, ...Object.keys(tunnels), "patch"].sort();
}

/** Whether an interface is a tunnel. */
export function isTunnel(type: string): boolean {
  return Object.hasOwn(tunnels, type);
}

function tunnelRequest(
  { name, type, options }: FaceConfig,
  kind: DatapathKind,
): PortRequest {
  // As in Open vSwitch: one that says nothing may be a mistake, "flow" is what means any.
  if (!options.has("remote_ip")) {
    const detail = `${type} type requires valid 'remote_ip' argument`;
    throw new DatapathError({
      operation: "add port",
      object: name,
      code: "EINVAL",
      detail,
    });
  }
  const own: Record<string, string> = {};
  // A device of Linux is every tunnel of its kind: flows say which.
  for (const option of kind === "system" ? [] : tunnelOptions) {
    const value = options.get(option);
    const isFree = value === "flow" && option.endsWith("_ip");
    if (value !== undefined && !isFree) own[option] = value;
  }
  const dontFragment = options.get("df_default");
  if (dontFragment === "false" && kind !== "system") own["df"] = "false";
  const port = options.get("dst_port") ?? tunnels[type];
  if (port !== undefined) own["dst_port"] = port;
  const extensions = (options.get("exts") ?? "").split(",");
  for (const one of ["gbp", "gpe"]) {
    if (extensions.includes(one) && type === "vxlan") own[one] = "true";
  }
  return { name, type, options: own };
}

/** Options of a port on a driver of DPDK. Throws `RangeError` for what no database may say. */
function driverOptions(
  { name, options }: FaceConfig,
  own: string,
  folder: string,
): Record<string, string> {
  const given = Object.fromEntries(options);
  if (own === "dpdk") {
    for (const option of ["devargs", "dpdk-devargs"]) {
      if (isPlainDevice(given[option] ?? "")) continue;
      throw new RangeError(
        `${option}=${given[option]} names files, or a driver of files`,
      );
    }
  } else if (own === "vhost-user") {
    given["path"] = confined(folder, given["path"] ?? name);
  } else if (own === "vhost-user-client") {
    const { "vhost-server-path": path, ...rest } = given;
    return path === undefined ? rest : { ...rest, path };
  } else if (own === "memif") {
    const makes = /server|master/.test(given["role"] ?? "") &&
      given["socket-abstract"] === "no";
    if (makes) given["socket"] = confined(folder, given["socket"] ?? "memif.sock");
  } else if (given["xdp_prog"] !== undefined) {
    given["xdp_prog"] = confined(folder, given["xdp_prog"]);
  }
  return given;
}

/**
 * What an interface is in a datapath; undefined for a patch port, which is in none. Its sockets are
 * made in `folder`. Throws {@linkcode DatapathError} for a kind that there is not, and for options
 * that would have files of others opened.
 */
export function requestOf(
  face: FaceConfig,
  kind: DatapathKind,
  folder: string,
): PortRequest | undefined {
  const { name, type, mtu } = face;
  if (type === "patch") return undefined;
  if (isTunnel(type)) return tunnelRequest(face, kind);
  const own = Object.hasOwn(ownKinds, type) ? ownKinds[type] : undefined;
  if (own === undefined) {
    throw new DatapathError({
      operation: "add port",
      object: name,
      code: "EAFNOSUPPORT",
    });
  }
  if (kind === "system") {
    if (type === "internal") return { name, type };
    if (type === "system") return { name };
    throw new DatapathError({
      operation: "add port",
      object: name,
      code: "EAFNOSUPPORT",
    });
  }
  const mtuOption: Record<string, string> = mtu === undefined ? {} : { mtu: `${mtu}` };
  if (kind === "dummy") {
    const no = dummyNumber(name);
    const number = no === undefined ? {} : { no: portNo(no) };
    const most = Math.min(mtu ?? USUAL_MTU, MAX_DUMMY_MTU);
    return { name, type: "dummy", options: { mtu: `${most}` }, ...number };
  }
  if (own === "system") return { name, type: own };
  if (own === "internal" || own === "tap" || own === "dummy") {
    return { name, type: own, options: mtuOption };
  }
  try {
    return {
      name,
      type: own,
      options: { ...driverOptions(face, own, folder), ...mtuOption },
    };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new DatapathError({
      operation: "add port",
      object: name,
      code: "EINVAL",
      detail: error.message,
    });
  }
}

/**
 * The number that a dummy port has in its datapath: the digits of its name, 100 more for a bridge.
 * Tests of Open vSwitch count on that (`choose_port()`, lib/dpif-netdev.c).
 */
export function dummyNumber(name: string): number | undefined {
  const isBridge = name.startsWith("br");
  const digits = /\d+/.exec(isBridge ? name.slice(2) : name)?.[0];
  const number = digits === undefined ? 0 : Number(digits) + (isBridge ? 100 : 0);
  return number > 0 && number < 65_535 ? number : undefined;
}

const reasons: Readonly<Record<string, string>> = {
  ENODEV: "No such device",
  EAFNOSUPPORT: "Address family not supported by protocol",
  EINVAL: "Invalid argument",
  EEXIST: "File exists",
  EBUSY: "Device or resource busy",
  EPERM: "Operation not permitted",
  EACCES: "Permission denied",
};

/** What the database is told of an interface that there cannot be. */
export function errorText(name: string, error: unknown): string {
  if (error instanceof DatapathError) {
    const reason = reasons[error.code];
    if (reason !== undefined) {
      const detail = error.code === "EINVAL" ? `: ${error.message}` : "";
      return `could not open network device ${name} (${reason})${detail}`;
    }
    return `could not add network device ${name} to ofproto (${error.message})`;
  }
  return `could not open network device ${name} (${(error as Error).message})`;
}
