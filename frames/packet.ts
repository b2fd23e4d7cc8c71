// SPDX-License-Identifier: Apache-2.0
/**
 * Frames from layers and layers from frames.
 *
 * What was parsed and is built again is the same, byte for byte: a header that could not be written
 * as it was read is left as payload.
 *
 * @module
 */
import { dhcpProtocol } from "./dhcp.ts";
import { dnsProtocol } from "./dns.ts";
import { geneveProtocol, greProtocol, vxlanProtocol } from "./encapsulation.ts";
import type { Layer, LayerOf, LayerType, PayloadLayer } from "./layers.ts";
import { arpProtocol, ethernetProtocol, mplsProtocol, vlanProtocol } from "./link.ts";
import {
  ipv4Protocol,
  ipv6ExtensionProtocol,
  ipv6FragmentProtocol,
  ipv6Protocol,
} from "./network.ts";
import type { Found, Place, Protocol } from "./protocol.ts";
import { concat } from "./bytes.ts";
import {
  icmpProtocol,
  icmpv6Protocol,
  sctpProtocol,
  tcpProtocol,
  udpProtocol,
} from "./transport.ts";

const payloadProtocol: Protocol<"payload"> = {
  computed: [],
  write: ({ bytes }, inner) => concat(bytes, inner),
  read: (bytes, at, end) => ({
    layer: { type: "payload", bytes: bytes.slice(at, end) },
    at: end,
    end,
  }),
};

const protocols: { readonly [T in LayerType]: Protocol<T> } = {
  ethernet: ethernetProtocol,
  vlan: vlanProtocol,
  mpls: mplsProtocol,
  arp: arpProtocol,
  ipv4: ipv4Protocol,
  ipv6: ipv6Protocol,
  ipv6Fragment: ipv6FragmentProtocol,
  ipv6Extension: ipv6ExtensionProtocol,
  icmp: icmpProtocol,
  icmpv6: icmpv6Protocol,
  tcp: tcpProtocol,
  udp: udpProtocol,
  sctp: sctpProtocol,
  vxlan: vxlanProtocol,
  geneve: geneveProtocol,
  gre: greProtocol,
  dhcp: dhcpProtocol,
  dns: dnsProtocol,
  payload: payloadProtocol,
};

/** A frame has no more headers than this; what is inside them is payload. */
const MAX_LAYERS = 64;

function protocolOf(type: LayerType): Protocol<LayerType> {
  if (!Object.hasOwn(protocols, type)) throw new TypeError(`there is no layer "${type}"`);
  return protocols[type] as unknown as Protocol<LayerType>;
}

/**
 * The frame that layers make, outermost first.  Lengths, checksums and types that a layer does not
 * have are computed.  Throws `RangeError` or `TypeError` for a value that its field cannot hold.
 *
 * ```ts
 * import { build, ethernet, ipv4, udp, payload } from "./mod.ts";
 * const frame = build([
 *   ethernet({ dst: "02:00:00:00:00:02", src: "02:00:00:00:00:01" }),
 *   ipv4({ src: "10.0.0.1", dst: "10.0.0.2" }),
 *   udp({ src: 1000, dst: 2000 }),
 *   payload("hello"),
 * ]);
 * ```
 */
export function build(layers: readonly Layer[]): Uint8Array<ArrayBuffer> {
  let inner: Uint8Array<ArrayBuffer> = new Uint8Array();
  for (let i = layers.length - 1; i >= 0; i--) {
    const layer = layers[i] as Layer;
    const place: Place = { outer: layers.slice(0, i), next: layers[i + 1] };
    inner = concat(protocolOf(layer.type).write(layer, inner, place));
  }
  return inner;
}

/** A layer, and where it stands in the bytes. */
interface Read {
  layer: Layer;
  readonly from: number;
  readonly at: number;
  readonly end: number;
}

/** The layers of a frame, outermost first; `first` is for bytes that begin with another header. */
export function parse(bytes: Uint8Array, first: LayerType = "ethernet"): Packet {
  const reads: Read[] = [];
  const outer: Layer[] = [];
  let type: LayerType | undefined = first;
  let at = 0;
  let end = bytes.length;
  while (type !== undefined && at < end && reads.length < MAX_LAYERS) {
    const found: Found | undefined = protocolOf(type).read(bytes, at, end, outer);
    if (found === undefined) break;
    reads.push({ layer: found.layer, from: at, at: found.at, end: found.end });
    outer.push(found.layer);
    ({ at, end, next: type } = { next: undefined, ...found });
  }
  return new Packet(settle(bytes, reads, at, end));
}

/** Layers whose computed fields are left out where they are right. */
function settle(bytes: Uint8Array, reads: Read[], at: number, end: number): Layer[] {
  const rest: Layer[] = at < end
    ? [{ type: "payload", bytes: bytes.slice(at, end) }]
    : [];
  for (let i = reads.length - 1; i >= 0; i--) {
    const read = reads[i] as Read;
    const outer = reads.slice(0, i).map(({ layer }) => layer);
    const inner = bytes.subarray(read.at, read.end);
    const padding = "padding" in read.layer ? read.layer.padding?.length ?? 0 : 0;
    const whole = bytes.subarray(read.from, read.end + padding);
    const place: Place = { outer, next: rest[0] };
    const layer = simplest(read.layer, inner, place, whole);
    if (layer !== undefined) rest.unshift(layer);
    else rest.splice(0, rest.length, { type: "payload", bytes: whole.slice() });
  }
  return rest;
}

/** The layer without what need not be said for it to be `whole`; undefined: it cannot be that. */
function simplest(
  layer: Layer,
  inner: Uint8Array,
  place: Place,
  whole: Uint8Array,
): Layer | undefined {
  const { computed, write } = protocolOf(layer.type);
  const makes = (one: Layer): boolean => {
    try {
      const made = write(one, inner, place);
      return made.length === whole.length && made.every((byte, i) => byte === whole[i]);
    } catch {
      return false;
    }
  };
  if (!makes(layer)) return undefined;
  let best = layer;
  for (const name of computed) {
    const { [name as keyof Layer]: _, ...less } = best;
    if (makes(less as Layer)) best = less as Layer;
  }
  return best;
}

/** What is to be different in a frame, by the names of its first headers of each kind. */
export type Changes =
  & {
    readonly [T in Exclude<LayerType, "payload">]?: Partial<Omit<LayerOf<T>, "type">>;
  }
  & { readonly payload?: Uint8Array | string };

/** A frame as its layers; never changed, only made anew by {@linkcode Packet.with}. */
export class Packet {
  /** Headers and payload, outermost first. */
  readonly layers: readonly Layer[];

  /** Of layers. */
  constructor(layers: readonly Layer[]) {
    this.layers = layers;
  }

  /** The frame, with what is computed. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return build(this.layers);
  }

  /** The first layer of a type. */
  first<T extends LayerType>(type: T): LayerOf<T> | undefined {
    return this.layers.find((layer): layer is LayerOf<T> => layer.type === type);
  }

  /** All tags. */
  get vlans(): readonly LayerOf<"vlan">[] {
    return this.layers.filter((layer) => layer.type === "vlan");
  }

  /** What a VXLAN, Geneve or GRE header carries; undefined where there is none. */
  get inner(): Packet | undefined {
    const at = this.layers.findIndex(({ type }) =>
      type === "vxlan" || type === "geneve" || type === "gre"
    );
    return at < 0 ? undefined : new Packet(this.layers.slice(at + 1));
  }

  /** The Ethernet header. */
  get ethernet(): LayerOf<"ethernet"> | undefined {
    return this.first("ethernet");
  }

  /** The ARP message. */
  get arp(): LayerOf<"arp"> | undefined {
    return this.first("arp");
  }

  /** The first IPv4 header. */
  get ipv4(): LayerOf<"ipv4"> | undefined {
    return this.first("ipv4");
  }

  /** The first IPv6 header. */
  get ipv6(): LayerOf<"ipv6"> | undefined {
    return this.first("ipv6");
  }

  /** The first ICMP message. */
  get icmp(): LayerOf<"icmp"> | undefined {
    return this.first("icmp");
  }

  /** The first ICMPv6 message. */
  get icmpv6(): LayerOf<"icmpv6"> | undefined {
    return this.first("icmpv6");
  }

  /** The first TCP header. */
  get tcp(): LayerOf<"tcp"> | undefined {
    return this.first("tcp");
  }

  /** The first UDP header. */
  get udp(): LayerOf<"udp"> | undefined {
    return this.first("udp");
  }

  /** The first SCTP header. */
  get sctp(): LayerOf<"sctp"> | undefined {
    return this.first("sctp");
  }

  /** The DHCP message. */
  get dhcp(): LayerOf<"dhcp"> | undefined {
    return this.first("dhcp");
  }

  /** The DNS message. */
  get dns(): LayerOf<"dns"> | undefined {
    return this.first("dns");
  }

  /** The bytes behind all headers. */
  get payload(): Uint8Array {
    const last = this.layers.at(-1);
    return last?.type === "payload" ? last.bytes : new Uint8Array();
  }

  /**
   * The packet with other values in the first header of each kind; checksums and lengths follow.
   * Throws `TypeError` for a header that it does not have.
   */
  with(changes: Changes): Packet {
    const layers = [...this.layers];
    for (const [type, fields] of Object.entries(changes)) {
      if (fields === undefined) continue;
      if (type === "payload") {
        setPayload(layers, fields as Uint8Array | string);
        continue;
      }
      const at = layers.findIndex((layer) => layer.type === type);
      if (at < 0) throw new TypeError(`the packet has no layer "${type}" to be changed`);
      const { raw: _, ...layer } = layers[at] as Layer & { readonly raw?: unknown };
      layers[at] = { ...layer, ...fields as object } as Layer;
    }
    return new Packet(layers);
  }
}

function setPayload(layers: Layer[], content: Uint8Array | string): void {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const layer: PayloadLayer = { type: "payload", bytes };
  if (layers.at(-1)?.type === "payload") layers[layers.length - 1] = layer;
  else layers.push(layer);
}

/** A frame with other values in its headers, as {@linkcode Packet.with}. */
export function change(frame: Uint8Array, changes: Changes): Uint8Array<ArrayBuffer> {
  return parse(frame).with(changes).bytes;
}
