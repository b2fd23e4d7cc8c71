// SPDX-License-Identifier: Apache-2.0
/**
 * Fragments.
 *
 * @module
 */
import assert from "node:assert/strict";
import { bytes, ethernet, udpFrame } from "../../support/frames.ts";
import { pinged } from "../../support/netns.ts";
import { firewall } from "./basic.ts";
import { snat } from "./nat.ts";
import { address, type Scenario, type Version, type World } from "./world.ts";

const ips = { 4: "ip", 6: "ip6" } as const;

async function bigPing(world: World, to: string): Promise<void> {
  for (const size of ["1600", "3200"]) {
    const back = await pinged(world.a.host, to, { count: 3, options: ["-s", size] });
    assert.equal(new Set(back).size, 3, `ping of ${size} bytes`);
  }
}

async function plain(world: World, version: Version): Promise<void> {
  firewall(world, { ip: ips[version] });
  await bigPing(world, address(version, 2));
  assert.equal((await world.udp({ version, size: 3000 })).size, 3000);
}

/** An IP packet of UDP with 3,000 bytes, in pieces: bytes of the payload from, to. */
function pieces(
  world: World,
  version: Version,
  cuts: readonly (readonly [from: number, to: number])[],
  headers: readonly { readonly kind: number; readonly bytes: readonly number[] }[] = [],
): string[] {
  const whole = udpFrame({
    version,
    src: address(version, 1),
    dst: address(version, 2),
    srcPort: 4001,
    dstPort: 7777,
    payload: new Uint8Array(3000),
  }).slice(14);
  const l4 = whole.slice(version === 4 ? 20 : 40);
  number++;
  const { a, b } = world;
  const frame = (packet: Uint8Array) =>
    ethernet(version === 4 ? 0x0800 : 0x86dd, packet, {
      src: a.host.mac,
      dst: b.host.mac,
    })
      .toHex();
  return cuts.map(([from, to]) => {
    const payload = l4.slice(from, to);
    const more = to < l4.length ? 1 : 0;
    return frame(
      version === 4
        ? piece4(whole, payload, from, more)
        : piece6(whole, payload, from, more, headers),
    );
  });
}

function piece4(
  whole: Uint8Array,
  payload: Uint8Array,
  from: number,
  more: number,
): Uint8Array {
  const header = whole.slice(0, 20);
  const view = new DataView(header.buffer);
  view.setUint16(2, 20 + payload.length);
  view.setUint16(4, number);
  view.setUint16(6, more << 13 | from >> 3);
  view.setUint16(10, 0);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += view.getUint16(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(10, ~sum & 0xffff);
  return bytes(header, payload);
}

function piece6(
  whole: Uint8Array,
  payload: Uint8Array,
  from: number,
  more: number,
  headers: readonly { readonly kind: number; readonly bytes: readonly number[] }[],
): Uint8Array {
  const chain = [...headers.map(({ kind }) => kind), 44];
  const own = headers.map(({ bytes: [, ...rest] }, i) => [chain[i + 1] ?? 0, ...rest])
    .flat();
  const fragment = [
    17,
    0,
    from >> 8,
    from & 0xf8 | more,
    0,
    0,
    number >> 8,
    number & 0xff,
  ];
  const header = whole.slice(0, 40);
  header[6] = chain[0] ?? 44;
  new DataView(header.buffer).setUint16(4, own.length + 8 + payload.length);
  return bytes(header, Uint8Array.from([...own, ...fragment]), payload);
}

/** Of the packet that pieces() cut last: what an earlier one has left must not complete it. */
let number = 0x4700;

/** Bytes of the UDP header and the payload. */
const WHOLE = 3008;
const inOrder = [[0, 1360], [1360, 2720], [2720, WHOLE]] as const;

/** Whether pieces come out as whole as they went in, but for a tag. */
async function passes(
  world: World,
  version: Version,
  frames: readonly string[],
  wanted: boolean,
  tags = "",
): Promise<void> {
  const ip = `${ips[version]}${tags}`;
  world.flows(`
    1 ${ip} -> ct(commit),recirc(1)
    1 ${ip} r=1 -inv+trk -> ${tags === "" ? "2" : "pop_vlan,2"}
  `);
  await world.b.do("watch", {});
  await world.a.do("send", { frames });
  // Linux gives pieces of IPv6 another number.
  const ends = "fd000099(0000){5}0001fd000099(0000){5}0002";
  const pattern = version === 4 ? `4500.{4}${number.toString(16)}` : ends;
  const { frames: seen = [] } = await world.b.do("seen", {
    pattern,
    count: frames.length,
    limit: wanted ? 5 : 0.5,
  });
  assert.equal(seen.length, wanted ? frames.length : 0);
}

/** Frames as hex with tags. */
function tagged(frames: readonly string[], tags: string): string[] {
  return frames.map((frame) => `${frame.slice(0, 24)}${tags}${frame.slice(24)}`);
}

const hop = { kind: 0, bytes: [0, 0, 1, 4, 0, 0, 0, 0] };
const options = { kind: 60, bytes: [0, 0, 1, 4, 0, 0, 0, 0] };
const routing = { kind: 43, bytes: [0, 0, 4, 0, 0, 0, 0, 0] };
const few = [hop, options];
const many = [hop, options, routing];

/** Scenarios that either version has. */
function ofVersion(version: Version): Scenario[] {
  const title = `IPv${version} fragmentation`;
  const raw = (
    name: string,
    cuts: Parameters<typeof pieces>[2],
    wanted: boolean,
  ): Scenario => ({
    name: `${title}${name}`,
    needs: "fragments",
    run: (world) => passes(world, version, pieces(world, version, cuts), wanted),
  });
  return [
    { name: title, needs: "fragments", run: (world) => plain(world, version) },
    raw(" expiry", inOrder.slice(0, 1), false),
    {
      name: `${title} + vlan`,
      needs: "fragments",
      run: (world) =>
        passes(
          world,
          version,
          tagged(pieces(world, version, inOrder), "81000064"),
          true,
          " vlan=100",
        ),
    },
    {
      name: `${title} + cvlan`,
      needs: "fragments",
      run: (world) => {
        const frames = tagged(pieces(world, version, inOrder), "88a800c881000064");
        return passes(world, version, frames, true, " svlan=200 vlan=100");
      },
    },
    raw(" incomplete reassembled packet", [[0, 1360], [2720, WHOLE]], false),
    raw(" with fragments specified", inOrder, true),
    raw(" out of order", inOrder.toReversed(), true),
    {
      name: `${title} with ct orig match`,
      needs: "fragments",
      async run(world) {
        const tuple = `ct_tuple${version}(src=${address(version, 1)},dst=${
          address(version, 2)
        })`;
        firewall(world, { ip: ips[version], known: `+est+trk ${tuple}` });
        await bigPing(world, address(version, 2));
      },
    },
  ];
}

const overlapping = [[0, 1360], [1352, 2712], [2712, WHOLE]] as const;

export const fragments: readonly Scenario[] = [
  ...ofVersion(4),
  {
    name: "IPv4 fragmentation overlapping fragments by 1 octet",
    needs: "fragments",
    run: (world) => passes(world, 4, pieces(world, 4, overlapping), false),
  },
  {
    name: "IPv4 fragmentation overlapping fragments by 1 octet out of order",
    needs: "fragments",
    run: (world) => passes(world, 4, pieces(world, 4, overlapping.toReversed()), false),
  },
  ...ofVersion(6),
  ...([
    ["multiple extension headers", few, inOrder],
    ["multiple extension headers + out of order", few, inOrder.toReversed()],
    ["multiple extension headers 2", many, inOrder],
    ["multiple extension headers 2 + out of order", many, inOrder.toReversed()],
  ] as const).map(([name, headers, cuts]): Scenario => ({
    name: `IPv6 fragmentation, ${name}`,
    needs: "fragments",
    run: (world) => passes(world, 6, pieces(world, 6, cuts, headers), true),
  })),
  {
    name: "IPv4 Fragmentation + NAT",
    needs: "fragments",
    async run(world) {
      snat(world, address(4, 109));
      assert.equal((await world.udp({ size: 3000 })).host, address(4, 109));
      await bigPing(world, address(4, 2));
    },
  },
  {
    name: "fragment reassembly with L3 L4 protocol information",
    needs: "fragments",
    async run(world) {
      world.flows(`
        1 ip proto=17 -> ct(commit),recirc(1)
        1 ip proto=17 r=1 +new-inv+trk ct_tuple4(proto=17) -> 2
        2 ip proto=17 -> ct,recirc(2)
        2 ip proto=17 r=2 +est+trk -> 1
      `);
      assert.equal((await world.udp({ size: 3000 })).size, 3000);
    },
  },
];
