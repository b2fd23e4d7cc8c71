// SPDX-License-Identifier: Apache-2.0
/** Conversations without a server: what is no protocol ends them, and is bounded. */
import {
  deepStrictEqual,
  match,
  ok,
  rejects,
  strictEqual,
  throws,
} from "node:assert/strict";
import {
  counter,
  flag,
  integer,
  map,
  optional,
  row,
  set,
  text,
} from "../../ovsdb/column.ts";
import { formatJson, parseJson } from "../../ovsdb/json.ts";
import { Replica } from "../../ovsdb/replica.ts";
import { type ByteStream, Session } from "../../ovsdb/session.ts";
import { random } from "../support/random.ts";

/** A stream whose other end is the test. */
class Line implements ByteStream {
  readonly #come: Uint8Array[] = [];
  #more = Promise.withResolvers<void>();
  heard = "";
  isClosed = false;

  async read(to: Uint8Array): Promise<number | null> {
    while (this.#come.length === 0 && !this.isClosed) await this.#more.promise;
    const bytes = this.#come.shift();
    if (bytes === undefined) return null;
    to.set(bytes.subarray(0, to.length));
    if (bytes.length > to.length) this.#come.unshift(bytes.subarray(to.length));
    return Math.min(bytes.length, to.length);
  }

  write(bytes: Uint8Array): Promise<number> {
    this.heard += new TextDecoder().decode(bytes);
    return Promise.resolve(bytes.length);
  }

  close(): void {
    this.isClosed = true;
    this.#more.resolve();
  }

  say(text: string): void {
    this.#come.push(new TextEncoder().encode(text));
    this.#more.resolve();
    this.#more = Promise.withResolvers();
  }
}

Deno.test("ovsdb session: questions, answers, echoes, notifications", async () => {
  const line = new Line();
  const told: unknown[] = [];
  const session = new Session(line, {
    onNotification: (...what) => void told.push(what),
  });
  const asked = session.request("get_schema", ["x"]);
  const refused = rejects(session.request("lock", []), /Cannot lock: no \(why\)/);
  line.say('{"id":2,"error":{"error":"no","details":"why"},"result":null}{"id":1,"resu');
  line.say('lt":[1,18446744073709551615],"error":null} ');
  line.say('{"method":"echo","params":[5],"id":"x"}');
  line.say(
    '{"method":"update3","params":[],"id":null}{"method":"odd","params":[],"id":3}',
  );
  deepStrictEqual(await asked, [1, 18446744073709551615n]);
  await refused;
  await new Promise((resolve) => setTimeout(resolve, 5));
  deepStrictEqual(told, [["update3", []]]);
  match(line.heard, /\{"id":"x","result":\[5\],"error":null\}/);
  match(line.heard, /"unknown method"/);
  const left = rejects(session.request("x", []), /the connection ended/);
  session.close();
  strictEqual(await session.ended, undefined);
  await left;
  await rejects(session.request("x", []), /closed/);
});

Deno.test("ovsdb session: what is no message ends it", async () => {
  const cases = [
    "x",
    "[]",
    '{"id":7,"result":1,"error":null}',
    '{"method":"a"}',
    "{}",
    '{"method":"update3","params":{},"id":null}',
    `{"a":"${"x".repeat(5000)}"}`,
    "[".repeat(2000),
  ];
  for (const one of cases) {
    const line = new Line();
    const session = new Session(line, { onNotification: () => {}, maxMessage: 4096 });
    line.say(one);
    ok(await session.ended instanceof Error, one.slice(0, 40));
    ok(line.isClosed);
  }
});

Deno.test("ovsdb session: a silent server is asked, and given up", async () => {
  const line = new Line();
  const session = new Session(line, { onNotification: () => {}, probeMs: 50 });
  const keep = setTimeout(() => {}, 2000); // The probe's timer keeps no program alive.
  ok(await session.ended instanceof Error);
  clearTimeout(keep);
  match(line.heard, /"echo"/);
});

Deno.test("ovsdb values: what they are in JSON, and what is none", () => {
  const uuid = "01234567-89ab-cdef-0123-456789abcdef";
  deepStrictEqual(set(integer).read(5), new Set([5]));
  deepStrictEqual(set(integer).read(["set", [1, 2]]), new Set([1, 2]));
  deepStrictEqual(optional(text).read(["set", []]), undefined);
  const rows = map(text, row);
  deepStrictEqual(rows.read(["map", [["a", ["uuid", uuid]]]]), new Map([["a", uuid]]));
  deepStrictEqual(row.write(uuid), ["uuid", uuid]);
  deepStrictEqual(row.write("row1"), ["named-uuid", "row1"]);
  strictEqual(formatJson(counter.write(-(2n ** 63n))), "-9223372036854775808");
  strictEqual(counter.read(parseJson("9223372036854775807")), 2n ** 63n - 1n);
  const bad: (() => unknown)[] = [
    () => text.read(5),
    () => flag.read("true"),
    () => integer.read(1.5),
    () => integer.read(2n ** 60n),
    () => counter.read("5"),
    () => optional(text).read(["set", ["a", "b"]]),
    () => map(text, text).read(["set", []]),
    () => map(text, text).read(["map", [["a"]]]),
    () => map(text, text).read(["map", [["a", "b", "c"]]]),
    () => row.read("x"),
    () => row.read(["uuid", "x"]),
  ];
  for (const read of bad) throws(read, /is not/);
});

Deno.test("ovsdb replica: values that cannot be read are left out, and only they", () => {
  const uuid = "01234567-89ab-cdef-0123-456789abcdef";
  const odd: string[] = [];
  const rows = new Replica((text) => void odd.push(text));
  const pairs = (...list: unknown[]) => ["map", list];
  const apply = (kind: string, row: unknown) =>
    rows.apply({ Port: { [uuid]: { [kind]: row } } } as never);
  const now = () => rows.get("Port", uuid);
  apply("initial", {
    name: "p",
    tag: 2n ** 60n,
    trunks: ["set", [1, "x", 2n ** 60n, 3]],
    other_config: pairs(["a", "1"], ["b", 5], [6, "c"], ["d"]),
  });
  deepStrictEqual([now()?.name, now()?.tag], ["p", undefined]);
  deepStrictEqual(now()?.trunks, new Set([1, 3]));
  deepStrictEqual(now()?.other_config, new Map([["a", "1"]]));
  strictEqual(odd.length, 6);
  match(odd[0] ?? "", /^Port p, column tag: \d+ is not an integer below/);
  apply("modify", {
    tag: 7,
    trunks: ["set", ["x", 3, 4]],
    other_config: pairs(["a", 5], ["b", "2"]),
  });
  deepStrictEqual([now()?.tag, now()?.trunks], [7, new Set([1, 4])]);
  deepStrictEqual(now()?.other_config, new Map([["b", "2"]]));
});

Deno.test("ovsdb replica: no change, however odd, does more than end a conversation", () => {
  const next = random(7);
  const uuid = "01234567-89ab-cdef-0123-456789abcdef";
  const atoms: readonly unknown[] = [
    ...[null, 5, "a", true, [], {}, ["set", []], ["map", []], ["uuid", uuid]],
    ...[["set", ["a", 5]], ["map", [["a", "b"]]], ["uuid"], 2n ** 70n],
  ];
  const pick = <T>(list: readonly T[]): T => list[next(list.length)] as T;
  const rows = new Replica();
  rows.apply({ Bridge: { [uuid]: { initial: { name: "b" } } } });
  let taken = 0;
  for (let i = 0; i < 20_000; i++) {
    const kind = pick(["initial", "insert", "modify", "delete", "odd"]);
    const column = pick([
      "name",
      "ports",
      "other_config",
      "stp_enable",
      "fail_mode",
      "x",
    ]);
    const change = pick([
      { [kind]: { [column]: pick(atoms) } },
      { [kind]: pick(atoms) },
      5,
    ]);
    const update = pick([{ Bridge: { [uuid]: change } }, { Bridge: change }, change]);
    try {
      rows.apply(update as never);
      taken++;
    } catch (error) {
      strictEqual((error as Error).name, "OvsdbProtocolError", String(error));
    }
  }
  ok(taken > 100);
});
