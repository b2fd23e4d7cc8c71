// SPDX-License-Identifier: Apache-2.0
/** What a batch, a dump and a put with a packet promise, where the kernel makes it hard to keep. */
import {
  deepStrictEqual as deepEqual,
  ok,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { type Datapath, type Op, openDatapath, output } from "../../mod.ts";
import { shell } from "../support/command.ts";
import { udpFrame } from "../support/frames.ts";
import { makeHosts } from "../support/netns.ts";
import { Tap } from "../support/tap.ts";
import { makeDatapath, newName, systemTest } from "./system.ts";

const key = (n: number): string =>
  `in_port(1),eth(),eth_type(0x0800),ipv4(src=${n >> 16 & 255}.${n >> 8 & 255}.${
    n & 255
  }.1)`;

systemTest("answers that do not fit make no operation fail, or run twice", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  using tap = new Tap(`t${newName()}`);
  const { no } = await dp.ports.add({ name: tap.name });
  // As long as the answer to "get" can be: 256 of them are four times the queue.
  const actions = Array.from({ length: 7900 }, () => output(no));
  dp.flows.put({ key: key(1), actions });
  const gets = Array.from({ length: 250 }, (): Op => ({ op: "get", key: key(1) }));
  for (const order of ["before", "behind", "between"]) {
    for (let n = 10; n < 20; n++) dp.flows.put({ key: key(n), actions });
    tap.readAll();
    const does: Op[] = [
      { op: "put", key: key(7), actions: "2" },
      { op: "execute", packet: udpFrame(), actions: `${no}` },
      ...Array.from({ length: 10 }, (_, i): Op => ({
        op: "delete",
        key: key(10 + i),
        wantStats: true,
      })),
    ];
    const ops = order === "before"
      ? [...does, ...gets]
      : order === "behind"
      ? [...gets, ...does]
      : does.flatMap((op, i) => [op, ...gets.slice(20 * i, 20 * i + 20)]);
    const results = dp.operate(ops);
    deepEqual(results.filter((result) => !result.ok).map(({ error }) => error.code), []);
    equal(tap.readAll().length, 1, `one packet, ${order}`);
    equal(dp.stats().flows, 2);
    dp.flows.delete({ key: key(7) });
  }
});

systemTest("a dump has each flow once while the table grows", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  const put = (from: number, to: number, actions = "2"): void => {
    for (let i = from; i < to; i += 1000) {
      const ops = Array.from({ length: Math.min(1000, to - i) }, (_, j): Op => ({
        op: "put",
        key: key(i + j),
        actions,
        ...((i + j) % 2 === 0 && {
          ufid: `00000000-0000-0000-0000-${(i + j).toString(16).padStart(12, "0")}`,
        }),
      }));
      ok(dp.operate(ops).every((result) => result.ok));
    }
  };
  put(1, 1001);
  for (const terse of [false, true]) {
    const seen = new Map<string, number>();
    let listed = 0;
    for (const flow of dp.flows.dump({ terse })) {
      const name = flow.ufid ?? flow.key?.ipv4?.src ?? "";
      seen.set(name, (seen.get(name) ?? 0) + 1);
      if (!terse) equal(flow.actions?.length, 1);
      // By itself and by somebody else.
      if (++listed === 600) put(1001, 20_001);
    }
    const times = Array.from({ length: 1000 }, (_, i) => {
      const n = i + 1;
      const ufid = `00000000-0000-0000-0000-${n.toString(16).padStart(12, "0")}`;
      return seen.get(n % 2 === 0 ? ufid : `0.${n >> 8}.${n & 255}.1`) ?? 0;
    });
    deepEqual(times.filter((count) => count !== 1), [], `terse: ${terse}`);
    deepEqual([...seen.values()].filter((count) => count !== 1), []);
    for (let i = 1001; i < 20_001; i += 1000) {
      dp.operate(Array.from({ length: 1000 }, (_, j): Op => {
        const n = i + j;
        return n % 2 === 0
          ? {
            op: "delete",
            ufid: `00000000-0000-0000-0000-${n.toString(16).padStart(12, "0")}`,
          }
          : { op: "delete", key: key(n) };
      }));
    }
    equal(dp.stats().flows, 1000);
  }
});

systemTest(
  "packets that were put together are executed by verdicts and puts",
  async () => {
    await using net = await makeHosts("an", 2);
    const [a, b] = net.hosts as [typeof net.hosts[0], typeof net.hosts[0]];
    const ways: Record<string, (dp: Datapath) => Promise<void>> = {
      "answer()": async (dp) => {
        for await (const upcall of dp.upcalls()) {
          const actions = [output(upcall.key.inPort === 1 ? 2 : 1)];
          dp.answer([upcall], () => ({ actions }));
        }
      },
      "put with a packet": async (dp) => {
        for await (const { key, packet, mru, hash } of dp.upcalls()) {
          const actions = [output(key.inPort === 1 ? 2 : 1)];
          dp.operate([{
            op: "put",
            key,
            packet,
            actions,
            ...(mru !== undefined && { mru }),
            ...(hash !== undefined && { hash }),
          }]);
        }
      },
    };
    for (const [way, loop] of Object.entries(ways)) {
      const { dp } = await makeDatapath();
      for (const { device } of [a, b]) await dp.ports.add({ name: device });
      for (const [from, to] of [[1, 2], [2, 1]]) {
        dp.flows.put({
          key: `in_port(${from}),eth(),eth_type(0x0806),arp()`,
          actions: `${to}`,
        });
        dp.flows.put({
          key: `recirc_id(0),in_port(${from}),eth(),eth_type(0x0800),ipv4()`,
          actions: "ct,recirc(1)",
        });
      }
      const running = loop(dp);
      const said = await shell(
        `ip netns exec ${a.namespace} ping -n -c 3 -i 0.3 -W 2 -s 3000 ${b.ipv4} || true`,
      );
      ok(said.includes("3 received"), `${way}: ${said}`);
      await dp.destroy();
      await running;
      await dp.close();
    }
  },
);

systemTest("names are those of Linux: in bytes, without zeros and patterns", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  const add = (name: string, type = "internal") => dp.ports.add({ name, type });
  for (
    const [name, code] of [["x".repeat(16), "ENAMETOOLONG"], [
      "ä".repeat(8),
      "ENAMETOOLONG",
    ], ["p%d", "EINVAL"]]
  ) {
    await throwsLater(() => add(name as string), code as string);
    await throwsLater(
      () => openDatapath(`system@${name}`, { create: true }),
      code as string,
    );
    equal(dp.ports.get(name as string), undefined);
  }
  await throwsLater(() => add("a\0b"), TypeError);
  throws(() => dp.ports.get("a\0b"), TypeError);
  const { name } = await add("ä".repeat(7));
  equal(dp.ports.get(name)?.name, "ä".repeat(7));
  await dp.ports.delete(name);
});

/** Asserts that a promise rejects with an error of a code or kind. */
async function throwsLater(
  run: () => Promise<unknown>,
  what: string | typeof TypeError,
): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (typeof what === "string") equal((error as { code: string }).code, what);
    else ok(error instanceof what, `${error}`);
    return;
  }
  throw new Error(`It did not fail: ${what}`);
}
