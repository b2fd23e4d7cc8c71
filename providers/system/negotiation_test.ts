// SPDX-License-Identifier: Apache-2.0
/** What is asked of kernels that this project is not tested on, from 4.x to those that may come. */
import {
  deepStrictEqual as deepEqual,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { Feature, getDatapath, negotiateDatapath } from "./datapaths.ts";
import { hasBrokenMeters, systemMeters } from "./meters.ts";
import { systemLimits } from "./ct_limits.ts";
import {
  acknowledge,
  Attributes,
  be16,
  FakePeer,
  type FakeReply,
  type Message,
  MessageWriter,
  NetlinkFlag,
  s32,
  u16,
  u32,
} from "../netlink/mod.ts";
import { attributesOffset, Kernel } from "./ovs.ts";
import { TunnelLinks } from "./tunnel_links.ts";
import { parseVport } from "./vports.ts";

/** What a kernel can do. */
interface Release {
  readonly families: readonly string[];
  /** Bits that it takes; all of them without a look before 5.4. */
  readonly features: number;
  readonly megaflows: boolean;
  readonly masksCache: boolean;
}

const needed = ["ovs_datapath", "ovs_vport", "ovs_flow", "ovs_packet"];
const releases = {
  "3.13": { families: needed, features: -1, megaflows: false, masksCache: false },
  "4.14": { families: needed, features: -1, megaflows: true, masksCache: false },
  "4.19": {
    families: [...needed, "ovs_meter", "ovs_ct_limit"],
    features: -1,
    megaflows: true,
    masksCache: false,
  },
  "5.4": {
    families: [...needed, "ovs_meter", "ovs_ct_limit"],
    features: Feature.unaligned | Feature.vportPids | Feature.tcRecircSharing,
    megaflows: true,
    masksCache: false,
  },
  "6.1": {
    families: [...needed, "ovs_meter", "ovs_ct_limit"],
    features: Feature.unaligned | Feature.vportPids | Feature.perCpuDispatch,
    megaflows: true,
    masksCache: true,
  },
} satisfies Record<string, Release>;

function bodyOf(write: (writer: MessageWriter) => void): Uint8Array {
  const writer = new MessageWriter();
  write(writer);
  return writer.bytes.slice();
}

/** A kernel of a release, with one datapath; and the features that it was asked for, in order. */
function kernelOf(release: Release): { kernel: Kernel; asked: number[] } {
  let features = 0;
  const asked: number[] = [];
  const family = (request: Message): FakeReply[] => {
    const name = new Attributes(request.body, 4).text(2) ?? "";
    const index = release.families.indexOf(name);
    if (index < 0) return [acknowledge(request, 2)];
    const body = bodyOf((writer) => {
      writer.put(u32, 0x201);
      writer.attributeText(2, name);
      writer.attribute(1, u16, 30 + index);
      writer.attribute(4, u32, 4);
    });
    return [{ type: 16, body }, acknowledge(request)];
  };
  const datapath = (request: Message): FakeReply[] => {
    const wanted = new Attributes(request.body, attributesOffset).get(5, u32);
    if (wanted !== undefined) {
      asked.push(wanted);
      if ((wanted & ~release.features) !== 0) return [acknowledge(request, 95)];
      features = wanted;
    }
    const body = bodyOf((writer) => {
      writer.put(u32, 0x201);
      writer.put(s32, 8);
      writer.attributeText(1, "dp");
      writer.attributeBytes(3, new Uint8Array(32));
      if (release.megaflows) writer.attributeBytes(4, new Uint8Array(32));
      writer.attribute(5, u32, features);
      if (release.masksCache) writer.attribute(7, u32, 256);
    });
    const replies = request.flags & NetlinkFlag.echo || request.body[0] === 3;
    return [...replies ? [{ type: request.type, body }] : [], acknowledge(request)];
  };
  const peer = () =>
    new FakePeer((requests) =>
      requests.map((request) => request.type === 16 ? family(request) : datapath(request))
    );
  return { kernel: new Kernel(peer), asked };
}

const untakeable = 0x80000000;
const perCpu = Feature.unaligned | Feature.perCpuDispatch;
const perVport = Feature.unaligned | Feature.vportPids;

for (
  const [name, asked, granted] of [
    ["3.13", [perCpu | untakeable, perVport], perVport],
    ["4.14", [perCpu | untakeable, perVport], perVport],
    ["4.19", [perCpu | untakeable, perVport], perVport],
    ["5.4", [perCpu | untakeable, perCpu, perVport], perVport],
    ["6.1", [perCpu | untakeable, perCpu], perCpu],
  ] as const
) {
  Deno.test(`Linux ${name} is asked for features until it grants some`, () => {
    const release: Release = releases[name];
    const { kernel, asked: seen } = kernelOf(release);
    const record = negotiateDatapath(kernel, "dp");
    deepEqual(seen, asked.map((bits) => bits >>> 0));
    equal(record.features, granted);
    equal(record.megaflows !== undefined, release.megaflows);
    equal(record.masksCacheSize, release.masksCache ? 256 : undefined);
    const later = release.families.length > needed.length;
    equal(systemMeters(kernel, 8, "system@dp") !== undefined, later);
    equal(systemLimits(kernel, "system@dp") !== undefined, later);
    kernel.close();
  });
}

Deno.test("dispatch by port is asked for alone", () => {
  const { kernel, asked } = kernelOf(releases["6.1"]);
  equal(negotiateDatapath(kernel, "dp", "per-vport").features, perVport);
  deepEqual(asked, [perVport]);
  kernel.close();
});

Deno.test("a kernel without the module says so", () => {
  const { kernel } = kernelOf({ ...releases["6.1"], families: [] });
  throws(() => getDatapath(kernel, "dp"), { code: "ENOENT", message: /module/ });
  kernel.close();
});

Deno.test("meters of Linux 4.15 to 4.17 are not believed", () => {
  const broken = ["4.14.1", "4.15.0-20", "4.16.18", "4.17.0", "4.18.0", "6.1.0"];
  deepEqual(broken.map(hasBrokenMeters), [false, true, true, true, false, false]);
});

Deno.test("counters of upcalls, from Linux 6.2 on, are read", () => {
  const body = bodyOf((writer) => {
    writer.put(u32, 0x101);
    writer.put(s32, 8);
    writer.attribute(1, u32, 2);
    writer.attribute(2, u32, 1);
    writer.attributeText(3, "eth0");
    writer.nested(10, () => {
      writer.attributeBytes(0, new Uint8Array(new BigUint64Array([5n]).buffer));
      writer.attributeBytes(1, new Uint8Array(new BigUint64Array([6n]).buffer));
    });
    // And an attribute of a kernel to come.
    writer.attributeBytes(99, new Uint8Array(3));
  });
  const { upcalls } = parseVport({ type: 31, flags: 0, sequence: 1, portId: 1, body });
  deepEqual(upcalls, { success: 5n, fail: 6n });
});

/** Tunnel devices behind rtnetlink; what the requests to make one asked for. */
function links(errno = 0): { links: TunnelLinks; made: () => Attributes | undefined } {
  let data: Attributes | undefined;
  const peer = () =>
    new FakePeer((requests) =>
      requests.map((request) => {
        const info = new Attributes(request.body, 16).nested(18);
        data ??= info;
        return [acknowledge(request, info ? errno : 0)];
      })
    );
  return { links: new TunnelLinks(peer), made: () => data };
}

Deno.test("a bareudp device is made for what it is to carry", () => {
  for (
    const [options, carried, port] of [
      [{}, 0x8847, 6635],
      [{ payload_type: "ip", dst_port: 6636, multiproto: true }, 0x0800, 6636],
      [{ payload_type: 0x86dd }, 0x86dd, 6635],
    ] as const
  ) {
    const { links: tunnels, made } = links();
    equal(tunnels.ensure("udp_sys_6635", "bareudp", options), true);
    equal(made()?.text(1), "bareudp");
    const data = made()?.nested(2);
    equal(data?.get(2, be16), carried);
    equal(data?.get(1, be16), port);
    equal(data?.get(3, u16), 49153);
    equal(data?.has(4), "multiproto" in options);
    tunnels.close();
  }
  const { links: tunnels } = links(95);
  for (const options of [{ payload_type: "wood" }, { dst_port: 0 }, { gbp: true }]) {
    throws(() => tunnels.ensure("b", "bareudp", options), { code: "EINVAL" });
  }
  // A kernel without CONFIG_BAREUDP.
  throws(() => tunnels.ensure("b", "bareudp", {}), { code: "EOPNOTSUPP" });
  tunnels.close();
});

Deno.test("a tunnel without Ethernet headers is a device of another kind", () => {
  const { links: tunnels, made } = links();
  tunnels.ensure("gre_sys", "gre", { packet_type: "legacy_l3" });
  equal(made()?.text(1), "gre");
  equal(made()?.nested(2)?.has(18), true);
  throws(() => tunnels.ensure("gre_sys", "gre", { packet_type: "other" }), {
    code: "EINVAL",
  });
  tunnels.close();
});
