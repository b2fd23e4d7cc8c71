// SPDX-License-Identifier: Apache-2.0
/** Room for keys: as much as there are keys, whatever lengths they had. */
import { ok } from "node:assert/strict";
import { type KeyPlace, KeyStore, NO_CHUNK } from "../../policy/run/key_store.ts";
import { seeded } from "../../policy/check/random.ts";

Deno.test("keys: chunks go with their last keys, whatever their lengths", () => {
  const store = new KeyStore();
  const words = new Uint32Array(128);
  for (let count = 60; count < 90; count++) {
    const places: KeyPlace[] = [];
    for (let i = 0; i < 2000; i++) {
      const place = { chunk: NO_CHUNK, keyAt: 0 };
      store.keep(words, count, place);
      places.push(place);
    }
    for (const place of places) store.release(place, count);
  }
  // They took 18 MB.
  ok(store.spare <= 30 * 32_768, `${store.spare} bytes`);
});

Deno.test("keys: each has room of its own", () => {
  const random = seeded(7);
  const store = new KeyStore();
  const kept: { place: KeyPlace; count: number; value: number }[] = [];
  const check = ({ place, count, value }: typeof kept[number]): void => {
    const words = place.chunk.words.subarray(place.keyAt, place.keyAt + count);
    ok(words.length === count && words.every((word) => word === value));
  };
  for (let value = 1; value <= 6000; value++) {
    if (kept.length > 0 && random(kept.length > 300 ? 3 : 2) > 0) {
      const [gone] = kept.splice(random(kept.length), 1);
      if (gone === undefined) continue;
      check(gone);
      store.release(gone.place, gone.count);
      continue;
    }
    const count = [3, 40, 8192, 9000][random(4)] as number;
    const place = { chunk: NO_CHUNK, keyAt: 0 };
    store.keep(new Uint32Array(count).fill(value), count, place);
    kept.push({ place, count, value });
  }
  for (const one of kept) check(one);
});
