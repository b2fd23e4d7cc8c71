// SPDX-License-Identifier: Apache-2.0
/**
 * Random keys and masks that a datapath accepts, for property tests.
 *
 * @module
 */

import fc from "npm:fast-check@4.10.2";
import type { FlowKey, FlowMask } from "../../providers/types.ts";
import { formatIpv4, formatIpv6, formatMac } from "../../providers/codec/address.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Draft = Mutable<FlowKey> & Record<string, unknown>;
type DraftMask = Record<string, unknown>;

/** Numbers and bytes of a size. */
export const bytes = (size: number) =>
  fc.uint8Array({ minLength: size, maxLength: size });
export const num = (max: number) => fc.integer({ min: 0, max });
export const u8 = num(0xff);
export const u16 = num(0xffff);
export const u32 = num(0xffffffff);
export const mac = bytes(6);
export const ip4 = bytes(4);
export const ip6 = bytes(16);

/** A value with bits under a mask: what is not masked is zero. */
interface Masked {
  readonly value: unknown;
  readonly mask: unknown;
}

const masks = (size: number) =>
  fc.oneof(
    fc.constant(new Uint8Array(size).fill(255)),
    fc.constant(new Uint8Array(size)),
    bytes(size),
  );

function address(
  arbitrary: fc.Arbitrary<Uint8Array>,
  size: number,
  format: (b: Uint8Array, at: number) => string,
): fc.Arbitrary<Masked> {
  return fc.tuple(arbitrary, masks(size)).map(([value, mask]) => ({
    value: format(value.map((byte, i) => byte & (mask[i] as number)), 0),
    mask: format(mask, 0),
  }));
}

function number(max: number): fc.Arbitrary<Masked> {
  const mask = fc.oneof(fc.constant(max), fc.constant(0), num(max));
  return fc.tuple(num(max), mask).map(([value, bits]) => ({
    value: (value & bits) >>> 0,
    mask: bits,
  }));
}

const exactly = (value: unknown, mask: unknown): fc.Arbitrary<Masked> =>
  fc.constant({ value, mask });

/** Structures of masked fields. */
function struct(
  fields: Readonly<Record<string, fc.Arbitrary<Masked>>>,
): fc.Arbitrary<Masked> {
  return fc.record(fields).map((parts) => {
    const entries = Object.entries(parts) as [string, Masked][];
    return {
      value: Object.fromEntries(entries.map(([name, part]) => [name, part.value])),
      mask: Object.fromEntries(entries.map(([name, part]) => [name, part.mask])),
    };
  });
}

const macField = address(mac, 6, formatMac);
const ip4Field = address(ip4, 4, formatIpv4);
const ip6Field = address(ip6, 16, formatIpv6);
const ports = struct({ src: number(0xffff), dst: number(0xffff) });

function withMasks(
  key: Draft,
  mask: DraftMask,
  parts: Readonly<Record<string, Masked>>,
): void {
  for (const [name, part] of Object.entries(parts)) {
    (key as Record<string, unknown>)[name] = part.value;
    mask[name] = part.mask;
  }
}

/** What follows the IP header: fields by protocol. */
function layer4(
  isIpv6: boolean,
): fc.Arbitrary<{ proto: number; parts: Record<string, Masked> }> {
  const icmp = struct({ type: number(0xff), code: number(0xff) });
  const choices: fc.Arbitrary<{ proto: number; parts: Record<string, Masked> }>[] = [
    fc.record({ tcp: ports, tcpFlags: number(0xfff) }).map((parts) => ({
      proto: 6,
      parts,
    })),
    fc.record({ udp: ports }).map((parts) => ({ proto: 17, parts })),
    fc.record({ sctp: ports }).map((parts) => ({ proto: 132, parts })),
  ];
  if (!isIpv6) {
    choices.push(fc.record({ icmp }).map((parts) => ({ proto: 1, parts })));
    return fc.oneof(...choices);
  }
  // Types of neighbour discovery have more, and want type and code exact.
  const plain = icmp.filter(({ value }) => {
    const { type } = value as { type: number };
    return type !== 135 && type !== 136;
  });
  choices.push(fc.record({ icmpv6: plain }).map((parts) => ({ proto: 58, parts })));
  const nd = struct({ target: ip6Field, sll: macField, tll: macField });
  choices.push(
    fc.record({
      icmpv6: exactly({ type: 135, code: 0 }, { type: 0xff, code: 0xff }),
      nd,
    }).map((parts) => ({ proto: 58, parts })),
  );
  return fc.oneof(...choices);
}

/** EtherType and what it stands for. */
const layer3: fc.Arbitrary<{ etherType: number; parts: Record<string, Masked> }> = fc
  .oneof(
    fc.record({
      ip: struct({
        src: ip4Field,
        dst: ip4Field,
        proto: exactly(0, 0xff),
        tos: number(0xff),
        ttl: number(0xff),
        frag: fc.constantFrom("no", "first").map((value) => ({ value, mask: 0xff })),
      }),
      l4: layer4(false),
    }).map(({ ip, l4 }) => ({
      etherType: 0x0800,
      parts: { ipv4: withProto(ip, l4.proto), ...l4.parts },
    })),
    fc.record({
      ip: struct({
        src: ip6Field,
        dst: ip6Field,
        label: number(0xfffff),
        proto: exactly(0, 0xff),
        tclass: number(0xff),
        hlimit: number(0xff),
        frag: fc.constantFrom("no", "first").map((value) => ({ value, mask: 0xff })),
      }),
      l4: layer4(true),
    }).map(({ ip, l4 }) => ({
      etherType: 0x86dd,
      parts: { ipv6: withProto(ip, l4.proto), ...l4.parts },
    })),
    struct({
      sip: ip4Field,
      tip: ip4Field,
      // Open vSwitch keeps 8 bits, matches all or none, and prints 255 as 65535.
      op: fc.oneof(num(0xfe).map((value) => ({ value, mask: 0xffff })), exactly(0, 0)),
      sha: macField,
      tha: macField,
    }).map((arp) => ({ etherType: 0x0806, parts: { arp } })),
    struct({
      label: number(0xfffff),
      tc: number(7),
      ttl: number(0xff),
      bos: exactly(1, 1),
    }).map(({ value, mask }) => ({
      etherType: 0x8847,
      parts: { mpls: { value: [value], mask: [mask] } },
    })),
    fc.constant({ etherType: 0x1234, parts: {} }),
  );

function withProto(ip: Masked, proto: number): Masked {
  return { value: { ...ip.value as object, proto }, mask: ip.mask };
}

const vlan = struct({
  tpid: fc.constantFrom(0x8100, 0x88a8).map((value) => ({ value, mask: 0xffff })),
  vid: number(0xfff),
  pcp: number(7),
  cfi: exactly(1, 1),
});

const metadata = fc.record({
  dpHash: number(0xffffffff),
  priority: number(0xffffffff),
  skbMark: number(0xffffffff),
  ctZone: number(0xffff),
  ctMark: number(0xffffffff),
  ctState: number(0xff),
  ctLabels: fc.tuple(fc.bigInt(0n, (1n << 128n) - 1n), fc.bigInt(0n, (1n << 128n) - 1n))
    .map(([value, mask]) => ({ value: value & mask, mask })),
}, { requiredKeys: [] });

/** A flow that every datapath takes, apart from port numbers. */
export interface RandomFlow {
  readonly key: FlowKey;
  readonly mask: FlowMask;
}

/** Flows of one port, told apart by `recircId` by whoever uses them. */
export const flow: fc.Arbitrary<RandomFlow> = fc.record({
  inPort: fc.integer({ min: 1, max: 8 }),
  metadata,
  ethernet: struct({ src: macField, dst: macField }),
  vlans: fc.array(vlan, { maxLength: 2 }),
  layer3,
}).map((parts) => {
  const key = { recircId: 0, inPort: parts.inPort } as Draft;
  const mask: DraftMask = { recircId: 0xffffffff, inPort: 0xffffffff };
  for (const [name, part] of Object.entries(parts.metadata)) {
    if (part !== undefined) withMasks(key, mask, { [name]: part });
  }
  withMasks(key, mask, { ethernet: parts.ethernet });
  if (parts.vlans.length > 0) {
    withMasks(key, mask, {
      vlans: {
        value: parts.vlans.map(({ value }) => value),
        mask: parts.vlans.map((tag) => tag.mask),
      },
    });
  }
  withMasks(key, mask, {
    etherType: { value: parts.layer3.etherType, mask: 0xffff },
    ...parts.layer3.parts,
  });
  return { key: key as FlowKey, mask: mask as FlowMask };
});

const wide = fc.tuple(fc.bigInt(0n, (1n << 64n) - 1n), fc.bigInt(0n, (1n << 64n) - 1n))
  .map(([value, mask]): Masked => ({ value: value & mask, mask }));

/**
 * Open vSwitch and the kernel leave fields of a tunnel out that are 0, so that their mask does not
 * show.
 */
const orWild = (field: fc.Arbitrary<Masked>): fc.Arbitrary<Masked> =>
  field.map(({ value, mask }) => {
    const nothing = typeof value === "string" ? value : 0;
    return { value, mask: isZero(value) ? nothing : mask };
  });

const isZero = (value: unknown): boolean =>
  typeof value === "string" ? /^[0.:]*$/.test(value) : value === 0;

/** Without a destination Open vSwitch takes it for no tunnel. */
const there = (field: fc.Arbitrary<Masked>): fc.Arbitrary<Masked> =>
  field.filter(({ value }) => !isZero(value));

const flag = fc.boolean().map((value): Masked => ({ value, mask: true }));

const geneveOption = fc.nat({ max: 3 }).chain((words) =>
  fc.record({
    class: u16.map((value) => ({ value, mask: 0xffff })),
    type: u8.map((value) => ({ value, mask: 0xff })),
    data: fc.tuple(bytes(4 * words), masks(4 * words)).map(([value, mask]) => ({
      value: value.map((byte, i) => byte & (mask[i] as number)),
      mask,
    })),
  })
).map((parts): Masked => ({
  value: {
    class: parts.class.value,
    type: parts.type.value,
    data: parts.data.value,
  },
  mask: { class: parts.class.mask, type: parts.type.mask, data: parts.data.mask },
}));

/** What a tunnel adds to its header: nothing, options of Geneve, or the policy of VXLAN. */
const tunnelMetadata: fc.Arbitrary<Record<string, Masked>> = fc.oneof(
  fc.constant({}),
  fc.array(geneveOption, { minLength: 1, maxLength: 3 }).map((options) => ({
    geneve: {
      value: options.map(({ value }) => value),
      mask: options.map(({ mask }) => mask),
    },
  })),
  struct({ id: there(number(0xffff)), flags: number(0xff) }).map((vxlanGbp) => ({
    vxlanGbp,
  })),
);

/** How fields of a tunnel are: any, or those that may be 0, and the destination. */
interface TunnelFields {
  readonly any: (field: fc.Arbitrary<Masked>) => fc.Arbitrary<Masked>;
  readonly destination: (
    field: fc.Arbitrary<Masked>,
    otherwise: string,
  ) => fc.Arbitrary<Masked>;
}

/** Keys of packets that came by a tunnel. */
const tunnel = ({ any, destination }: TunnelFields): fc.Arbitrary<Masked> =>
  fc.tuple(
    fc.oneof(
      fc.record({ src: any(ip4Field), dst: destination(ip4Field, "10.0.0.1") }),
      fc.record({ ipv6Src: any(ip6Field), ipv6Dst: destination(ip6Field, "fe80::1") }),
    ),
    fc.record({
      id: wide,
      tos: any(number(0xff)),
      ttl: number(0xff),
      srcPort: any(number(0xffff)),
      dstPort: any(number(0xffff)),
      dontFragment: flag,
      checksum: flag,
      oam: flag,
    }),
    tunnelMetadata,
  ).map(([addresses, header, metadata]) => {
    const entries = Object.entries({ ...addresses, ...header, ...metadata });
    const isSet = ([, { value }]: [string, Masked]) => value !== false;
    return {
      value: Object.fromEntries(
        entries.filter(isSet).map(([name, part]) => [name, part.value]),
      ),
      mask: Object.fromEntries(entries.map(([name, part]) => [name, part.mask])),
    };
  });

const tunnelled = (fields: TunnelFields): fc.Arbitrary<RandomFlow> =>
  fc.tuple(flow, tunnel(fields)).map(([{ key, mask }, { value, mask: bits }]) => ({
    key: { ...key, tunnel: value } as FlowKey,
    mask: { ...mask, tunnel: bits } as FlowMask,
  }));

/** Flows of packets that came by a tunnel, as Open vSwitch shows them in whole. */
export const tunnelFlow: fc.Arbitrary<RandomFlow> = tunnelled({
  any: orWild,
  destination: there,
});

/** Flows of packets that came by any tunnel: fields that must be 0, no address that matters. */
export const anyTunnelFlow: fc.Arbitrary<RandomFlow> = tunnelled({
  any: (field) => field,
  destination: (field, otherwise) =>
    field.map((one) => isZero(one.value) ? { value: otherwise, mask: "::" } : one)
      .map(({ value, mask }) => ({
        value,
        mask: mask === "::" && !otherwise.includes(":") ? "0.0.0.0" : mask,
      })),
});

/** The attributes of a flow's text, sorted: datapaths print them in an order of their own. */
export function attributes(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i <= text.length; i++) {
    const c = text[i];
    if (c === "(") depth++;
    else if (c === ")") depth--;
    else if (depth === 0 && (c === "," || c === undefined)) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  return parts.sort();
}
