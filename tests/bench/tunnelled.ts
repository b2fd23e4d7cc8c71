// SPDX-License-Identifier: Apache-2.0
/**
 * Tunnels of scenarios: the headers of packets that come through one, and the ends as the programs
 * are told them.
 *
 * @module
 */
import { build, ethernet, geneve, ipv4, payload, udp, vxlan } from "../../frames/mod.ts";
import type { PacketFields } from "./packet_frame.ts";

/** The number that scenarios give to the tunnel's port; the local port is 0. */
export const TUNNEL_PORT = 9;

/** A tunnel over IPv4. Its underlay is port 1 where packets come through it, else port 2. */
export interface TunnelSpec {
  readonly kind: "vxlan" | "geneve";
  /** Number of the virtual network. */
  readonly vni: number;
  /** Address of this end, and its Ethernet address. */
  readonly local: string;
  readonly localMac: string;
  /** Of the other. */
  readonly remote: string;
  readonly remoteMac: string;
  /** The one Geneve option that packets have which come through it. */
  readonly option?: {
    readonly class: number;
    readonly type: number;
    readonly data: string;
  };
}

const KINDS: readonly unknown[] = ["vxlan", "geneve"];
const UDP_PORTS = { vxlan: 4789, geneve: 6081 } as const;
/** Behind Ethernet and IPv4. */
const UDP_AT = 34;
const FIRST_SOURCE = 32_768;
const SOURCES = 28_232;

/** What is wrong with a value as a tunnel; undefined: nothing. */
export function tunnelFault(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) return "tunnel must be an object";
  const { kind, vni, ...rest } = value as Partial<TunnelSpec>;
  if (!KINDS.includes(kind)) return "tunnel.kind must be vxlan or geneve";
  if (!Number.isSafeInteger(vni)) return "tunnel.vni must be an integer";
  for (const name of ["local", "localMac", "remote", "remoteMac"] as const) {
    if (typeof rest[name] !== "string") return `tunnel.${name} must be text`;
  }
  return undefined;
}

/** The headers in front of an inner packet of `size` bytes that the other end has sent. */
function outerHeaders(spec: TunnelSpec, size: number): Uint8Array {
  const { kind, vni, local, localMac, remote, remoteMac, option } = spec;
  const options = option === undefined ? [] : [{
    class: option.class,
    kind: option.type,
    data: Uint8Array.fromHex(option.data),
  }];
  const frame = build([
    ethernet({ src: remoteMac, dst: localMac }),
    ipv4({ src: remote, dst: local, ttl: 64, dontFragment: true }),
    udp({ src: FIRST_SOURCE, dst: UDP_PORTS[kind], checksum: 0 }),
    kind === "vxlan" ? vxlan({ vni }) : geneve({ vni, options, protocol: 0x6558 }),
    payload(size),
  ]);
  return frame.slice(0, frame.length - size);
}

/**
 * A frame as the other end has sent it, of which only what is inside and the source port differ.
 */
export class OuterFrame {
  readonly #spec: TunnelSpec;
  /** Bytes in front of the frame inside. */
  readonly headerSize: number;
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array();

  constructor(spec: TunnelSpec) {
    this.#spec = spec;
    this.headerSize = outerHeaders(spec, 0).length;
  }

  /**
   * The frame with headers in front; overwritten by the next. The source port is each flow's own,
   * as senders choose it.
   */
  around(inner: Uint8Array, fields: PacketFields): Uint8Array {
    if (this.#bytes.length !== inner.length + this.headerSize) {
      const headers = outerHeaders(this.#spec, inner.length);
      this.#bytes = new Uint8Array(headers.length + inner.length);
      this.#bytes.set(headers);
    }
    this.#bytes.set(inner, this.#bytes.length - inner.length);
    const { src, dst, sport, dport } = fields;
    let hash = 0;
    for (const word of [...src, ...dst, ...sport, ...dport]) {
      hash = Math.imul(hash ^ word, 0x9e3779b1) ^ hash >>> 15;
    }
    const port = FIRST_SOURCE + (hash >>> 0) % SOURCES;
    new DataView(this.#bytes.buffer).setUint16(UDP_AT, port);
    return this.#bytes;
  }
}
