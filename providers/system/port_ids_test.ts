// SPDX-License-Identifier: Apache-2.0
import {
  deepStrictEqual as deepEqual,
  ok,
  strictEqual as equal,
} from "node:assert/strict";
import { NetlinkSocket, Protocol } from "../netlink/mod.ts";
import { bindPortId, livingPortIds, maxHandlers, parsePortId } from "./port_ids.ts";

const options = { receiveBuffer: 4096, datagramSize: 0 };

Deno.test("a port id says which handler it is of, and of how many", () => {
  for (const count of [0, 1, maxHandlers]) {
    for (const handler of [0, maxHandlers - 1, undefined]) {
      const socket = bindPortId({ count, handler }, options);
      try {
        deepEqual(parsePortId(socket.portId), { count, handler });
      } finally {
        socket.close();
      }
    }
  }
  for (const other of [0, 4711, 0x3fffffff, 0x80000000, 0xffffffff]) {
    equal(parsePortId(other), undefined);
  }
});

Deno.test("no two sockets get the same port id, though they are of one handler", () => {
  const sockets = Array.from(
    { length: 50 },
    () => bindPortId({ count: 1, handler: 0 }, options),
  );
  try {
    equal(new Set(sockets.map(({ portId }) => portId)).size, 50);
  } finally {
    for (const socket of sockets) socket.close();
  }
});

Deno.test("a port id lives as long as its socket, and only in its protocol", () => {
  const socket = bindPortId({ count: 1, handler: 0 }, options);
  const route = new NetlinkSocket(Protocol.route);
  const wanted = [socket.portId, route.portId];
  try {
    const living = livingPortIds(wanted);
    // Without the right to change datapaths this very process is an intruder.
    ok(
      living.size === 0 || [...living].join() === `${socket.portId}`,
      [...living].join(),
    );
  } finally {
    socket.close();
    route.close();
  }
  equal(livingPortIds(wanted).size, 0);
});

Deno.test("a Worker that is terminated leaves no socket bound", async () => {
  const module = new URL("../netlink/mod.ts", import.meta.url).href;
  // Those that the kernel deals out do not fit into libmnl's pid_t.
  const base = 0x20000000 + Deno.pid * 16 % 0x10000000;
  const code = `
    import { NetlinkSocket, Protocol } from "${module}";
    const sockets = [1, 2, 3].map((id) =>
      new NetlinkSocket(Protocol.generic, { portId: ${base} + id }));
    sockets[0].close();
    const waiter = sockets[1].waiter();
    postMessage(sockets.map(({ portId }) => portId));
    await waiter.wait();`;
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  const [closed = 0, ...open]: number[] = await new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
  });
  URL.revokeObjectURL(url);
  const isFree = (portId: number): boolean => {
    try {
      new NetlinkSocket(Protocol.generic, { portId }).close();
      return true;
    } catch {
      return false;
    }
  };
  deepEqual([closed, ...open].map(isFree), [true, false, false]);
  worker.terminate();
  const end = performance.now() + 30_000;
  while (!open.every(isFree)) {
    ok(performance.now() < end, "still bound");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
});
