// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual as equal, ok, throws } from "node:assert/strict";
import { Burst } from "./burst.ts";
import { MessageWriter, parseMessages, s32, u16, u32, u8, viewOf } from "./message.ts";
import { NetlinkSocket, Protocol } from "./socket.ts";
import { Waiter } from "../../ffi/waiter.ts";

/** RTM_GETLINK of the loopback device, `count` times. */
function links(count: number): Uint8Array {
  const writer = new MessageWriter();
  for (let i = 0; i < count; i++) {
    writer.begin({ type: 18 });
    writer.put(u8, 0);
    writer.put(u8, 0);
    writer.put(u16, 0);
    writer.put(s32, 1);
    writer.put(u32, 0);
    writer.put(u32, 0);
    viewOf(writer.bytes).setUint32(writer.length - 32 + 8, i + 1, true);
    writer.end();
  }
  return writer.bytes.slice();
}

Deno.test("a port id can be had once", () => {
  const portId = 0x40000000 + Deno.pid;
  const socket = new NetlinkSocket(Protocol.generic, { portId });
  try {
    equal(socket.portId, portId);
    throws(() => new NetlinkSocket(Protocol.generic, { portId }), { code: "EADDRINUSE" });
  } finally {
    socket.close();
  }
  new NetlinkSocket(Protocol.generic, { portId }).close();
});

Deno.test("a socket that cannot be opened leaves nothing behind", () => {
  throws(() => new NetlinkSocket(99), { code: "EPROTONOSUPPORT" });
});

Deno.test("a closed socket says so", () => {
  const socket = new NetlinkSocket(Protocol.route);
  socket.close();
  socket.close();
  throws(() => socket.send(new Uint8Array(16)), { code: "EBADF" });
  throws(() => socket.receive(), { code: "EBADF" });
  throws(() => socket.waitReadable(0), { code: "EBADF" });
});

Deno.test("nothing to receive is undefined, and no wait is longer than asked", () => {
  const socket = new NetlinkSocket(Protocol.route);
  try {
    equal(socket.receive(), undefined);
    equal(socket.waitReadable(1), false);
    socket.send(links(1));
    equal(socket.waitReadable(1000), true);
    equal(parseMessages(socket.receive() ?? new Uint8Array())[0]?.type, 16);
  } finally {
    socket.close();
  }
});

Deno.test("a datagram longer than the buffer is an error, and the next one is not", () => {
  const socket = new NetlinkSocket(Protocol.route, { datagramSize: 64 });
  try {
    socket.send(links(1));
    throws(() => socket.receive(), { code: "ENOSPC" });
    equal(socket.receive(), undefined);
  } finally {
    socket.close();
  }
});

Deno.test("a burst takes many datagrams, each whole", () => {
  const socket = new NetlinkSocket(Protocol.route);
  const burst = new Burst(socket, 4, 8192);
  try {
    equal(burst.receive(4), 0);
    socket.send(links(6));
    const sequences: number[] = [];
    for (let count = burst.receive(4); count > 0; count = burst.receive(4)) {
      ok(count <= 4);
      for (let i = 0; i < count; i++) {
        sequences.push(...parseMessages(burst.datagram(i)).map((m) => m.sequence));
      }
    }
    equal(sequences, [1, 2, 3, 4, 5, 6]);
  } finally {
    burst.close();
    socket.close();
  }
});

Deno.test("a burst tells of datagrams that were too long", () => {
  const socket = new NetlinkSocket(Protocol.route);
  const burst = new Burst(socket, 2, 64);
  try {
    socket.send(links(1));
    equal(burst.receive(2), 1);
    throws(() => burst.datagram(0), { code: "EMSGSIZE" });
  } finally {
    burst.close();
    socket.close();
  }
});

Deno.test("a full queue is reported once and counted exactly", () => {
  const socket = new NetlinkSocket(Protocol.route, { receiveBuffer: 4096 });
  const burst = new Burst(socket, 64, 8192);
  try {
    equal(socket.drops(), 0);
    for (let i = 0; i < 20; i++) socket.send(links(10));
    throws(() => burst.receive(64), { code: "ENOBUFS" });
    let received = 0;
    for (let count = burst.receive(64); count > 0; count = burst.receive(64)) {
      received += count;
    }
    ok(received < 200);
    // A reply that finds no room becomes an error message, which finds none either.
    equal(socket.drops(), 2 * (200 - received));
  } finally {
    burst.close();
    socket.close();
  }
});

Deno.test("a wait ends when a datagram comes, on wake and on close", async () => {
  const socket = new NetlinkSocket(Protocol.route);
  const waiter = new Waiter(socket.fd);
  try {
    const first = waiter.wait();
    equal(waiter.wait(), first);
    socket.send(links(1));
    await first;
    ok(socket.receive());
    const second = waiter.wait();
    waiter.wake();
    await second;
    // A wake between two waits is not forgotten.
    waiter.wake();
    await waiter.wait();
    const third = waiter.wait();
    await Promise.all([waiter.close(), third]);
    await waiter.close();
    await waiter.wait();
  } finally {
    socket.close();
  }
});
