// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { type Random, random as sequence } from "../../tests/support/random.ts";
import { toKeyAndMaskBytes } from "./input.ts";
import { encodeKey } from "./key.ts";
import { encodeMask, exact, namedMask } from "./mask.ts";
import { normalize } from "./normalize.ts";
import { plainKey } from "./plain_key.ts";

/** Values that fields may have besides good ones: some good in another notation, most wrong. */
const oddValues = (): unknown[] => [
  undefined,
  null,
  -1,
  -0,
  0.5,
  256,
  65536,
  2 ** 32,
  NaN,
  1n,
  "1",
  true,
  {},
  [],
  "02:00:00:00:00",
  "2:0:0:0:0:1",
  "02:00:00:00:00:01 ",
  "10.0.0.1.",
  "10.0.0.010",
  "10.0.0.300",
  "first",
];

function randomKey(random: Random): Record<string, unknown> {
  const byte = () => random(256);
  const mac = () =>
    Array.from({ length: 6 }, () => byte().toString(16).padStart(2, "0")).join(":");
  const address = () => Array.from({ length: 4 }, byte).join(".");
  const isTcp = random(2) === 0;
  const ports = { src: random(65536), dst: random(65536) };
  const metadata = ["recircId", "dpHash", "priority", "inPort", "skbMark"]
    .filter(() => random(2) === 0)
    .map((name) => [name, random(2 ** 32)]);
  return {
    ...Object.fromEntries(metadata),
    ethernet: { src: mac(), dst: mac() },
    etherType: 0x0800,
    ipv4: {
      src: address(),
      dst: address(),
      proto: isTcp ? 6 : 17,
      tos: byte(),
      ttl: byte(),
      frag: "no",
    },
    ...(isTcp ? { tcp: ports, tcpFlags: random(4096) } : { udp: ports }),
  };
}

/** Changes one field, drops it, or adds one. */
function spoil(key: Record<string, unknown>, random: Random): void {
  const parts = [key, key.ethernet, key.ipv4, key.udp ?? key.tcp] as Record<
    string,
    unknown
  >[];
  const chosen = parts[random(parts.length)];
  const part = typeof chosen === "object" && chosen !== null ? chosen : key;
  const names = [...Object.keys(part), "udp", "sctp", "vlans", "tos", "more"];
  const name = names[random(names.length)] ?? "more";
  if (random(3) === 0) delete part[name];
  else part[name] = oddValues()[random(21)];
}

function outcome(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return `${error}`;
  }
}

Deno.test("plain keys are the bytes that the table of attributes gives", () => {
  const random = sequence(7);
  for (let i = 0; i < 4000; i++) {
    const key = randomKey(random);
    const bytes = plainKey(key);
    assert.ok(bytes !== undefined, JSON.stringify(key));
    assert.deepEqual(bytes.slice(), encodeKey(key));
  }
});

Deno.test("what is odd about a key is left to the table of attributes", () => {
  const random = sequence(11);
  const mask = exact("inPort", "ipv4");
  let plain = 0;
  for (let i = 0; i < 20000; i++) {
    const key = randomKey(random);
    for (let n = random(3); n >= 0; n--) spoil(key, random);
    const bytes = outcome(() => plainKey(key));
    if (bytes instanceof Uint8Array) {
      plain++;
      assert.deepEqual(bytes.slice(), outcome(() => encodeKey(key)), JSON.stringify(key));
    } else {
      assert.equal(bytes, undefined, String(bytes));
    }
    // By the long way: what is missing is added, and the mask is of what is named.
    const long = outcome(() => {
      const made = encodeKey(key);
      const { key: whole, mask: bits } = normalize(
        made,
        encodeMask(namedMask(key, mask), made),
      );
      return { key: whole, mask: bits };
    });
    const short = outcome(() => {
      const made = toKeyAndMaskBytes(key, mask);
      return { key: made.key.slice(), mask: made.mask };
    });
    assert.deepEqual(short, long);
  }
  assert.ok(plain > 1000);
});

Deno.test("a key whose accessor makes another key, and a buffer that went, harm no others", () => {
  const random = sequence(13);
  const [key, other] = [randomKey(random), randomKey(random)];
  const { ethernet } = key;
  const odd = Object.defineProperty({ ...key }, "ethernet", {
    enumerable: true,
    get() {
      assert.equal(plainKey(other), undefined);
      return ethernet;
    },
  });
  assert.deepEqual(plainKey(odd)?.slice(), encodeKey(key));
  const throwing = Object.defineProperty({ ...key }, "ethernet", {
    enumerable: true,
    get() {
      throw new Error("no");
    },
  });
  assert.throws(() => plainKey(throwing), /no/);
  const { buffer } = plainKey(other) as Uint8Array<ArrayBuffer>;
  buffer.transfer();
  assert.deepEqual(plainKey(key)?.slice(), encodeKey(key));
});
