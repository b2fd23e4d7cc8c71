// SPDX-License-Identifier: Apache-2.0
/** What comes with a packet reaches the provider with it. */
import { deepStrictEqual as equal, throws } from "node:assert/strict";
import type { ProviderExecute, ProviderOp } from "./contract/flows.ts";
import { operateApart } from "./operate_apart.ts";
import { toProviderOp } from "./operations.ts";
import { Upcall } from "./upcall.ts";

const packet = new Uint8Array(60);
const put = { op: "put", key: "in_port(1)", actions: "2", packet } as const;

Deno.test("a put with a packet executes it with its mru and hash", () => {
  const asked: ProviderOp[] = [];
  const provider = {
    operate: (ops: readonly ProviderOp[]) => {
      asked.push(...ops);
      return ops.map(() => ({ ok: true } as const));
    },
  };
  const hash = 1n << 63n;
  operateApart(provider, [toProviderOp({ ...put, mru: 1500, hash })]);
  equal(asked.map(({ op }) => op), ["put", "execute"]);
  const execute = asked[1] as ProviderExecute;
  equal([execute.mru, execute.hash], [1500, hash]);
  equal("mru" in (asked[0] ?? {}), false);
});

Deno.test("an mru has 16 bits and a hash 64", () => {
  for (const mru of [-1, 1.5, NaN, 0x10000]) {
    throws(() => toProviderOp({ ...put, mru }), RangeError);
    throws(() => toProviderOp({ ...put, op: "execute", mru }), RangeError);
  }
  for (const hash of [-1n, 1n << 64n]) {
    throws(() => toProviderOp({ ...put, hash }), RangeError);
  }
  throws(() => toProviderOp({ ...put, hash: 1 as unknown as bigint }), TypeError);
});

Deno.test("the packet of an upcall brings its mru and hash back by itself", () => {
  const raw = {
    kind: "miss",
    key: new Uint8Array(),
    packet,
    mru: 576,
    hash: 7n,
  } as const;
  const upcall = new Upcall(raw);
  for (const op of ["put", "execute"] as const) {
    const made = toProviderOp({ ...put, op, packet: upcall.packet }) as ProviderExecute;
    equal([made.mru, made.hash], [576, 7n]);
    const other = toProviderOp({ ...put, op, packet: upcall.packet, mru: 0, hash: 1n });
    equal([(other as ProviderExecute).mru, (other as ProviderExecute).hash], [0, 1n]);
    const copy = toProviderOp({ ...put, op, packet: upcall.packet.slice() });
    equal((copy as ProviderExecute).mru, undefined);
  }
});
