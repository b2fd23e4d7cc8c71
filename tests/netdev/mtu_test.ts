// SPDX-License-Identifier: Apache-2.0
/** Frames of every size, and devices whose MTU changes while they are ports. */
import assert from "node:assert/strict";
import type { Datapath } from "../../providers/datapath.ts";
import { run, tryRun } from "../support/command.ts";
import { type Host, makeHosts, on, ping, pinged } from "../support/netns.ts";
import { needRoot, skippable, Unsupported } from "../support/skip.ts";
import { iperf, withSwitch } from "./switch.ts";

/** Answers to three pings of `size` bytes that must not be fragmented. */
async function whole(
  from: Host,
  to: Host,
  size: number,
  seconds?: number,
): Promise<number> {
  const options = ["-M", "do", "-s", `${size}`];
  const limit = seconds === undefined ? {} : { seconds };
  return (await pinged(from, to.ipv4, { count: 3, options, ...limit })).length;
}

async function setMtu(host: Host, device: "inner" | "port", mtu: number): Promise<void> {
  const [place, name] = device === "inner"
    ? [["-n", host.namespace], host.inner]
    : [[], host.device];
  await run("ip", ...place, "link", "set", name, "mtu", `${mtu}`);
}

function oversize(dp: Datapath): bigint {
  return dp.stats().counters?.drop_tx_oversize ?? assert.fail("no such counter");
}

Deno.test(
  "mtu: ping and TCP of 9000 bytes between devices that take them",
  skippable(() =>
    withSwitch({ prefix: "nma", mtu: 9000 }, async ({ dp }, left, right) => {
      assert.equal(await whole(left, right, 8000), 3);
      assert.equal(await whole(right, left, 8972), 3);
      const tcp = await iperf(left, right, right.ipv4);
      assert.ok(tcp.sum_received.bits_per_second > 0.02e9);
      assert.equal(oversize(dp), 0n);
    })
  ),
);

Deno.test(
  "mtu: a port follows its device up and down, and counts what is too large",
  skippable(() =>
    withSwitch({ prefix: "nmb", mtu: 9000 }, async ({ dp }, left, right) => {
      assert.equal(await whole(left, right, 8000), 3);

      // Down: the first frame, which the device refuses, finds out.
      await setMtu(right, "port", 1500);
      const before = oversize(dp);
      assert.equal(await whole(left, right, 8000, 1), 0);
      assert.ok(oversize(dp) - before >= 4n, `${oversize(dp) - before} counted`);
      await ping(left, right.ipv4);

      // Segments of TCP that are too large for the device leave it in smaller ones.
      const tcp = await iperf(left, right, right.ipv4);
      assert.ok(tcp.sum_received.bits_per_second > 0.02e9);

      // And up.
      await setMtu(right, "port", 9000);
      assert.ok(await whole(left, right, 8000) >= 2);
    })
  ),
);

const python = "/usr/bin/python3";

/** Lets a device have segments larger than IP packets (BIG TCP); iproute2 before 6.3 knows the half of it. */
const enlarge = `
import socket, struct, sys
link = socket.socket(16, 3, 0)
index = socket.if_nametoindex(sys.argv[1])
sizes = b"".join(struct.pack("HHI", 8, name, 185000) for name in (41, 58, 63, 64))
link.send(struct.pack("IHHIIBxHiII", 32 + len(sizes), 16, 5, 1, 0, 0, 0, index, 0, 0) + sizes)
sys.exit(-struct.unpack("i", link.recv(4096)[16:20])[0])`;

/** Prints "ready", then what came by TCP, and how many frames above 64 KiB came to a device meanwhile. */
const sink = `
import hashlib, socket, sys, threading
address, device = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
server = socket.socket(family); server.bind((address, 5001)); server.listen()
large = 0
def watch():
    global large
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); packets.bind((device, 0))
    while True:
        large += packets.recv_into(bytearray(16), 16, socket.MSG_TRUNC) > 65549
threading.Thread(target=watch, daemon=True).start()
print("ready", flush=True)
stream, _ = server.accept()
digest = hashlib.sha256()
while data := stream.recv(1 << 20): digest.update(data)
print(digest.hexdigest(), large)`;

const source = `
import hashlib, random, socket, sys
stream = socket.create_connection((sys.argv[1], 5001))
digest, data = hashlib.sha256(), random.randbytes(1 << 20)
for _ in range(48): stream.sendall(data); digest.update(data)
stream.shutdown(socket.SHUT_WR); stream.recv(1)
print(digest.hexdigest())`;

/** Sends 48 MiB from a host to another; returns how many frames of it reached the receiver's stack that were above 64 KiB. */
async function transfer(from: Host, to: Host, address: string): Promise<number> {
  const [, ...args] = on(to, "timeout", "60", python, "-c", sink, address, to.inner);
  const child = new Deno.Command("ip", { args, stdin: "null", stdout: "piped" }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  while (!said.includes("ready")) {
    const { done, value } = await reader.read();
    if (done) break;
    said += value;
  }
  const sent = await run(...on(from, "timeout", "60", python, "-c", source, address));
  for (let end = false; !end;) {
    const { done, value = "" } = await reader.read();
    said += value;
    end = done;
  }
  await child.status;
  const [digest, large] = said.trim().split("\n").at(-1)?.split(" ") ?? [];
  assert.equal(digest, sent.trim());
  return Number(large);
}

async function enlargeAll(hosts: readonly Host[]): Promise<void> {
  const places = hosts.flatMap((host) => [
    [python, "-c", enlarge, host.device],
    on(host, python, "-c", enlarge, host.inner),
  ]);
  for (const words of places) {
    const { code } = await tryRun(...words);
    if (code === 0) continue;
    throw new Unsupported(`segments above 64 KiB: status ${code}`, {
      requirement: "peer",
    });
  }
}

Deno.test(
  "mtu: segments above 64 KiB pass a bridge of Linux as they are, and the datapath in parts",
  skippable(async () => {
    needRoot("netdev");
    await using network = await makeHosts("nmc", 2, { net: 79 });
    const [left, right] = network.hosts;
    assert.ok(left !== undefined && right !== undefined);
    const bridge = `nmc${Deno.pid % 1_000_000}br`;
    await run("ip", "link", "add", bridge, "type", "bridge");
    try {
      for (const { device } of network.hosts) {
        await run("ip", "link", "set", device, "master", bridge);
      }
      await run("ip", "link", "set", bridge, "up");
      await enlargeAll(network.hosts);
      for (const to of [right.ipv4, right.ipv6]) {
        assert.ok(await transfer(left, right, to) > 0, `none that large came to ${to}`);
      }
    } finally {
      await run("ip", "link", "delete", bridge);
    }
    await withSwitch({ prefix: "nmd" }, async ({ dp }, left, right) => {
      await enlargeAll([left, right]);
      for (const to of [right.ipv4, right.ipv6]) {
        assert.equal(await transfer(left, right, to), 0);
      }
      const { rxPackets, rxBytes, rxErrors } = dp.ports.stats(1);
      console.log(`on average ${Number(rxBytes) / Number(rxPackets)} bytes`);
      assert.equal(rxErrors, 0n);
      assert.ok(rxBytes >= 96n << 20n);
    });
  }),
);
