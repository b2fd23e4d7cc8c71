// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { Patience, sizeOf } from "./patience.ts";
import { until } from "../tests/support/wait.ts";

Deno.test("patience: says nothing of quick work, and nothing at all without a screen", async () => {
  const notes: string[] = [];
  {
    using patience = new Patience("quick", { note: (text) => notes.push(text) });
    patience.watch(() => "0 %");
    patience.step(() => "0 %");
  }
  deepStrictEqual(notes, []);
  using patience = new Patience("unseen", {});
  patience.watch(() => {
    throw new Error("nobody asked");
  });
  await Promise.resolve();
});

Deno.test("patience: work that is watched is told of, and the line goes with it", async () => {
  const notes: string[] = [];
  const file = await Deno.makeTempFile();
  await Deno.writeFile(file, new Uint8Array(2_345_000));
  try {
    {
      using patience = new Patience("capture", { note: (text) => notes.push(text) });
      patience.watch(sizeOf(file));
      await until("a note", () => notes.length > 0);
    }
    match(notes[0] ?? "", /^capture: \d+ s, 2\.3 MB$/);
    strictEqual(notes.at(-1), "");
    strictEqual(await sizeOf(`${file}-`)(), "");
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("patience: work that lets no timer run tells of itself, about once a second", () => {
  const notes: string[] = [];
  let steps = 0;
  {
    using patience = new Patience("replay", { note: (text) => notes.push(text) });
    for (; notes.length < 2; steps++) patience.step(() => `${steps} lines`);
  }
  match(notes[0] ?? "", /^replay: \d+ s, \d+ lines$/);
  ok(steps > 2, "not with every step");
  strictEqual(notes.at(-1), "");
});
