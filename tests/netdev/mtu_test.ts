// SPDX-License-Identifier: Apache-2.0
/** Frames of every size, and devices whose MTU changes while they are ports. */
import assert from "node:assert/strict";
import type { Datapath } from "../../providers/datapath.ts";
import type { PortNo } from "../../providers/ids.ts";
import { decideMisses } from "../../cli/miss_policy.ts";
import { Log } from "../../control/log.ts";
import { run, shell, tryRun } from "../support/command.ts";
import { udpFrame } from "../support/frames.ts";
import { type Host, makeHosts, on, ping, pinged } from "../support/netns.ts";
import { NetdevBench } from "../support/netdev.ts";
import { needRoot, skippable, Unsupported } from "../support/skip.ts";
import { until } from "../support/wait.ts";
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
      const tcp = await iperf(left, right, right.ipv4, "--bytes", "24M");
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
      const tcp = await iperf(left, right, right.ipv4, "--bytes", "24M");
      assert.ok(tcp.sum_received.bits_per_second > 0.02e9);

      // And up.
      await setMtu(right, "port", 9000);
      assert.ok(await whole(left, right, 8000) >= 2);
    })
  ),
);

Deno.test(
  "mtu: a setting changes it while packets pass, and stays when the device comes again",
  skippable(async () => {
    needRoot("netdev");
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [from, to] = await bench.ports("from", "to");
    dp.flows.put({
      key: `in_port(${from}),eth(),eth_type(0x0800),ipv4(frag=no)`,
      actions: `${to}`,
    });
    const sent = async (): Promise<number> => {
      bench.inject(from, udpFrame({ payload: new Uint8Array(100) }));
      await bench.settle();
      return dp.ports.collect?.(to) === undefined ? 0 : 1;
    };
    assert.equal(await sent(), 1);
    await dp.ports.setConfig?.(to, { mtu: "100" });
    assert.equal(dp.ports.get(to)?.mtu, 100);
    assert.equal(await sent(), 0);
    assert.equal(oversize(dp), 1n);
    await dp.ports.setConfig?.(to, { mtu_request: "1500" });
    assert.equal(await sent(), 1);

    const name = `nms${Deno.pid % 100000}`;
    const { no } = await dp.ports.add({ name, type: "tap" });
    const mtu = async () =>
      (await Deno.readTextFile(`/sys/class/net/${name}/mtu`)).trim();
    await dp.ports.setConfig?.(no, { mtu: "9000" });
    assert.deepEqual([await mtu(), dp.ports.get(no)?.mtu], ["9000", 9000]);
    await run("ip", "link", "delete", name);
    await until(
      "the device to be made anew",
      () => mtu().then((n) => n === "9000", () => false),
    );

    const devargs = `net_null_ms${Deno.pid}`;
    const null0 = await dp.ports.add({
      name: "null",
      type: "dpdk",
      options: { devargs },
    });
    await dp.ports.setConfig?.(null0.no, { mtu: "1400" });
    assert.equal(dp.ports.get(null0.no)?.mtu, 1400);
    // A driver that does not know how.
    const socket = `upcall-mtu-${Deno.pid}`;
    const memif = { name: "memif", type: "memif", options: { role: "server", socket } };
    const added = await dp.ports.add(memif);
    const wrong: [PortNo, Record<string, string>, RegExp][] = [
      [added.no, { mtu: "1400" }, /delete the port, and add it with mtu=1400 \(/],
      [to, { mtu: "67" }, /mtu is "67", expected a number from 68 to /],
      [to, { mtu: "many" }, /mtu is "many", expected/],
      [to, { queue: "5" }, /no setting "queue" \(there are: mtu, pmd-rxq-affinity\)/],
    ];
    for (const [port, config, text] of wrong) {
      const { mtu } = dp.ports.get(port) ?? {};
      await assert.rejects(async () => await dp.ports.setConfig?.(port, config), text);
      assert.equal(dp.ports.get(port)?.mtu, mtu);
    }
  }),
);

const python = "/usr/bin/python3";

/**
 * Lets a device have segments larger than IP packets (BIG TCP); iproute2 before 6.3 knows the half
 * of it.
 */
const enlarge = `
import socket, struct, sys
link = socket.socket(16, 3, 0)
index = socket.if_nametoindex(sys.argv[1])
sizes = b"".join(struct.pack("HHI", 8, name, 185000) for name in (41, 58, 63, 64))
link.send(struct.pack("IHHIIBxHiII", 32 + len(sizes), 16, 5, 1, 0, 0, 0, index, 0, 0) + sizes)
sys.exit(-struct.unpack("i", link.recv(4096)[16:20])[0])`;

/**
 * Prints "ready", then what came by TCP, and how many frames above 64 KiB came to a device
 * meanwhile.
 */
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

/** Runs a script on a host that prints "ready", and later, once, what it has to say. */
function listen(
  host: Host,
  script: string,
  ...words: string[]
): { ready: Promise<void>; said: Promise<string> } {
  const [, ...args] = on(host, "timeout", "60", python, "-c", script, ...words);
  const child = new Deno.Command("ip", { args, stdin: "null", stdout: "piped" }).spawn();
  const { promise: ready, resolve } = Promise.withResolvers<void>();
  const said = (async () => {
    let text = "";
    for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
      text += part;
      if (text.includes("ready")) resolve();
    }
    resolve();
    await child.status;
    return text.trim().split("\n").slice(1).join();
  })();
  return { ready, said };
}

/**
 * Sends 48 MiB from a host to another; returns how many frames of it reached the receiver's stack
 * that were above 64 KiB.
 */
async function transfer(from: Host, to: Host, address: string): Promise<number> {
  const listener = listen(to, sink, address, to.inner);
  await listener.ready;
  const sent = await run(...on(from, "timeout", "60", python, "-c", source, address));
  const [digest, large] = (await listener.said).split(" ");
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

/** Prints "ready", and then the sizes of datagrams that came, and how many of each. */
const datagramSink = `
import collections, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.socket(family, socket.SOCK_DGRAM); server.bind((sys.argv[1], 6000)); server.settimeout(15)
print("ready", flush=True)
sizes = collections.Counter()
try:
    while sizes.total() < int(sys.argv[2]): sizes[len(server.recv(65536))] += 1
except OSError: pass
print(*(f"{count}x{size}" for size, count in sizes.items()))`;

/**
 * 5 times 40 datagrams of 1200 bytes, each 40 in one call (UDP_SEGMENT, as programs that speak QUIC
 * send).
 */
const datagramSource = `
import socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
client = socket.socket(family, socket.SOCK_DGRAM); client.setsockopt(socket.IPPROTO_UDP, 103, 1200)
for _ in range(5): client.sendto(b"y" * 48000, (sys.argv[1], 6000)); time.sleep(0.1)`;

Deno.test(
  "mtu: segments of UDP stay what they are while a program executes each packet",
  skippable(async () => {
    needRoot("netdev");
    await using network = await makeHosts("nme", 2, { net: 79 });
    const [left, right] = network.hosts;
    assert.ok(left !== undefined && right !== undefined);
    await using bench = await NetdevBench.open();
    for (const { device } of network.hosts) await bench.dp.ports.add({ name: device });
    const { signal } = new AbortController();
    const policy = "flood"; // It puts no flow.
    const loop = decideMisses(bench.dp, { policy, log: new Log(() => {}), signal });
    try {
      for (const to of [right.ipv4, right.ipv6]) {
        await ping(left, to);
        const sink = listen(right, datagramSink, to, "200");
        await sink.ready;
        await run(...on(left, python, "-c", datagramSource, to));
        assert.equal(await sink.said, "200x1200", to);
      }
    } finally {
      await bench.dp.close();
      await loop;
    }
  }),
);

/** The most that one call sends, 47 datagrams: with an Ethernet header it is above 64 KiB. */
const fullSource = `
import socket, sys, time
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); client.setsockopt(socket.IPPROTO_UDP, 103, 1400)
for _ in range(5): client.sendto(b"y" * 65507, (sys.argv[1], 6000)); time.sleep(0.1)`;

Deno.test(
  "mtu: segments of UDP as large as an IP packet come in by a TAP device, all of them",
  skippable(async () => {
    needRoot("netdev");
    await using network = await makeHosts("nmg", 1, { net: 79 });
    const [right] = network.hosts;
    assert.ok(right !== undefined);
    await using bench = await NetdevBench.open();
    const { ports, flows } = bench.dp;
    const device = `nmg${Deno.pid % 1_000_000}`;
    const tap = await ports.add({ name: device, type: "tap" });
    const { no } = await ports.add({ name: right.device });
    await run("ip", "address", "add", "10.79.0.200/24", "dev", device);
    for (const type of ["0x0800", "0x0806"]) {
      const key = (from: number) => `in_port(${from}),eth(),eth_type(${type})`;
      flows.put({ key: key(tap.no), actions: `${no}` });
      flows.put({ key: key(no), actions: `${tap.no}` });
    }
    const sink = listen(right, datagramSink, right.ipv4, "235");
    await sink.ready;
    await run(python, "-c", fullSource, right.ipv4);
    assert.equal(await sink.said, "230x1400 5x1107");
    assert.equal(ports.stats(tap.no).rxErrors, 0n);
  }),
);

Deno.test(
  "mtu: of forty ports, each receives frames larger than a packet buffer",
  skippable(async () => {
    needRoot("netdev");
    const count = 40;
    const own = `nmf${Deno.pid % 1_000_000}`;
    const all = Array.from({ length: count }, (_, i) => i);
    await using bench = await NetdevBench.open();
    const { ports } = bench.dp;
    try {
      const make = all.flatMap((i) => [
        `ip link add ${own}a${i} mtu 30000 type veth peer name ${own}b${i} mtu 30000`,
        `ip link set ${own}a${i} up; ip link set ${own}b${i} up`,
      ]);
      await shell(make.join("\n"));
      const numbers = [];
      for (const i of all) numbers.push((await ports.add({ name: `${own}a${i}` })).no);
      const send = `
import socket
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
for name in [f"${own}b{i}" for i in range(${count})] * 10:
    sender.sendto(bytes.fromhex("0200000000010200000000021234").ljust(20000, b"x"), (name, 0x1234))`;
      await run(python, "-c", send);
      for (const no of numbers) {
        const received = () => Number(ports.stats(no).rxBytes) >= 10 * 20000;
        const state = () => `port ${no}: ${JSON.stringify(ports.stats(no), String)}`;
        await until("ten large frames", received, { state });
        assert.equal(ports.stats(no).rxErrors, 0n);
      }
    } finally {
      await bench.dp.close();
      await tryRun("sh", "-c", all.map((i) => `ip link del ${own}a${i}`).join(";"));
    }
  }),
);
