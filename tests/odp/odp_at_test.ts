// SPDX-License-Identifier: Apache-2.0
// Every line of Open vSwitch's own corpus prints back to the same text and the same bytes.

import assert from "node:assert/strict";
import {
  decodeActions,
  decodeKey,
  encodeActions,
  encodeKey,
  formatActions,
  formatKey,
  parseActions,
  parseKey,
  parseKeyBytes,
} from "../../providers/odp/mod.ts";
import { expandOdpAt } from "../corpus/odp_at.ts";
import { skippable } from "../support/skip.ts";

Deno.test(
  "every line of odp.at round-trips",
  skippable(async (t) => {
    const corpus = await expandOdpAt();

    await t.step(`${corpus.keys.length} keys without masks`, () => {
      assert.ok(corpus.keys.length >= 260, `only ${corpus.keys.length} lines`);
      for (const line of corpus.keys) {
        const { key } = parseKeyBytes(line);
        assert.equal(formatKey({ key }, { verbose: true }), line);
        assert.deepEqual(parseKeyBytes(formatKey({ key }, { verbose: true })).key, key);
        const bytes = encodeKey(decodeKey(key));
        assert.deepEqual(encodeKey(decodeKey(bytes)), bytes);
      }
    });

    await t.step(`${corpus.maskedKeys.length} keys with masks`, () => {
      assert.ok(
        corpus.maskedKeys.length >= 170,
        `only ${corpus.maskedKeys.length} lines`,
      );
      for (const line of corpus.maskedKeys) {
        const bytes = parseKeyBytes(line);
        assert.equal(formatKey(bytes), line);
        const objects = parseKey(line);
        const text = formatKey(objects);
        assert.deepEqual(parseKey(text), objects, line);
      }
    });

    await t.step(`${corpus.actions.length} lists of actions`, () => {
      assert.ok(corpus.actions.length >= 110, `only ${corpus.actions.length} lines`);
      for (const line of corpus.actions) {
        const actions = parseActions(line);
        assert.equal(formatActions(actions), line);
        const bytes = encodeActions(actions);
        assert.deepEqual(decodeActions(bytes), actions);
        assert.deepEqual(encodeActions(decodeActions(bytes)), bytes);
      }
    });

    await t.step(`${corpus.badActions.length} lists that are refused`, () => {
      assert.ok(corpus.badActions.length >= 4);
      for (const line of corpus.badActions) {
        assert.throws(() => encodeActions(parseActions(line)), line.slice(0, 40));
      }
    });
  }),
);
