// SPDX-License-Identifier: Apache-2.0
/**
 * Messages of the openvswitch families: as a Linux 6.1.176 kernel wrote them, and as it would not.
 */
import {
  deepStrictEqual as deepEqual,
  ok,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { parseDatapath } from "./datapaths.ts";
import { kernelKey, parseFlow } from "./flows.ts";
import { NetlinkError, parseMessages } from "../netlink/mod.ts";
import { parseUpcall } from "./packets.ts";
import { parseVport } from "./vports.ts";

/** The one message that a line of hexadecimal digits is. */
function message(hex: string) {
  const [first] = parseMessages(Uint8Array.fromHex(hex.replaceAll(/\s/g, "")));
  ok(first);
  return first;
}

const datapath = `
  800000001d0000006b000000d90200000102000008000000080001006470300004000600240003000000000000000000
  000000000000000000000000000000000000000000000000040006002400040000000000000000000000000000000000
  0000000000000000000000000000000008000500090000000800070000010000`;
const vport = `
  880000001e0000006d000000d90200000101000008000000080001000200000008000200010000000700030076620000
  0800080009000000040007004400060002000000000000000200000000000000a000000000000000a000000000000000
  000000000000000000000000000000000000000000000000000000000000000008000500ffffffff`;
const upcall = `
  d60000002000000000000000000000000101000008000000800002000800140000000000080013000000000008000200
  00000000080003000200000008000f000000000008001600000000000800180000000000140019000000000000000000
  0000000000000000100004000200000000010200000000020600060008000000100007000a0000010a00000211004000
  08000a0003e807d00c000b009d5b5e670300000032000100020000000002020000000001080045000020000100004011
  66ca0a0000010a00000203e807d0000c000061626364`;
const terse = `
  500000001f0000006f000000d9020000030100000800000014000900000102030405060708090a0b0c0d0e0f0c000500
  031900000000000004000b001400030001000000000000002e00000000000000`;

Deno.test("a recorded datapath, its padding passed over", () => {
  deepEqual(parseDatapath(message(datapath)), {
    ifindex: 8,
    name: "dp0",
    stats: { hit: 0n, missed: 0n, lost: 0n, flows: 0n },
    megaflows: { maskHit: 0n, masks: 0, cacheHit: 0n },
    features: 9,
    masksCacheSize: 256,
  });
});

Deno.test("a recorded port", () => {
  deepEqual(parseVport(message(vport)), {
    datapath: 8,
    no: 2,
    type: 1,
    name: "vb",
    isElsewhere: false,
    upcallPids: [0xffffffff],
    stats: [2n, 2n, 160n, 160n, 0n, 0n, 0n, 0n],
  });
  // In another namespace: the kernel adds that one's number.
  const elsewhere = vport.replace("88", "90") + "0800090000000000";
  equal(parseVport(message(elsewhere)).isElsewhere, true);
});

Deno.test("a recorded miss, whose packet is not padded", () => {
  const { kind, key, packet, hash, userdata } = parseUpcall(message(upcall));
  equal(kind, "miss");
  equal(key.length, 124);
  equal(packet.length, 46);
  equal(new TextDecoder().decode(packet.subarray(-4)), "abcd");
  equal(hash, 0x3675e5b9dn);
  equal(userdata, undefined);
});

Deno.test("a recorded terse flow has identifier and counters, and nothing else", () => {
  const flow = parseFlow(message(terse));
  equal(flow.ufid, "03020100-0706-0504-0b0a-09080f0e0d0c");
  deepEqual(flow.stats, { packets: 1n, bytes: 46n, tcpFlags: 0, usedMs: 6403n });
  deepEqual([flow.key, flow.mask, flow.actions, flow.hasActions], [
    undefined,
    undefined,
    undefined,
    false,
  ]);
});

Deno.test("bodies cut at any byte are refused or lack something, never more", () => {
  const parsers = [
    [datapath, parseDatapath],
    [vport, parseVport],
    [upcall, parseUpcall],
    [terse, parseFlow],
  ] as const;
  for (const [hex, parse] of parsers) {
    const whole = message(hex);
    for (let length = 0; length < whole.body.length; length++) {
      try {
        parse({ ...whole, body: whole.body.subarray(0, length) });
      } catch (error) {
        ok(error instanceof NetlinkError, String(error));
        equal(error.code, "EBADMSG");
      }
    }
  }
});

Deno.test("attributes that the kernel does not know stay behind", () => {
  const inPort = [8, 0, 3, 0, 1, 0, 0, 0];
  const packetType = [8, 0, 29, 0, 0, 0, 0, 0];
  const extensions = [12, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  const ethernet = [4, 0, 4, 0];
  const key = Uint8Array.of(...packetType, ...inPort, ...extensions, ...ethernet);
  deepEqual(kernelKey(key), Uint8Array.of(...inPort, ...ethernet));
  const plain = Uint8Array.of(...inPort);
  equal(kernelKey(plain), plain);
  // The kernel would say ERANGE to some of these.
  for (const bytes of [[1, 0, 3, 0, 9], [8, 0, 3], [12, 0, 3, 0, 1, 0, 0, 0]]) {
    throws(() => kernelKey(Uint8Array.from(bytes)), { code: "EINVAL" });
  }
});
