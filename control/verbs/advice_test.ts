// SPDX-License-Identifier: Apache-2.0
/** What was meant, and how it is said. */
import assert from "node:assert/strict";
import { DatapathError } from "../../providers/errors.ts";
import { adviceLines, adviceOf, adviceText, nearest, suggestionIn } from "./advice.ts";

Deno.test("a slip of the keyboard is known, another word is not", () => {
  const words = ["show", "add-flow", "add-flows", "del-if", "tap", "null"];
  for (
    const [word, meant] of [
      ["shwo", "show"],
      ["sho", "show"],
      ["shows", "show"],
      ["SHOW", "show"],
      ["addflow", "add-flow"],
      ["add-fows", "add-flows"],
      ["del-fi", "del-if"],
      ["tpa", "tap"],
      ["add-flow-entry", undefined],
      ["delete", undefined],
      ["", undefined],
      ["x", undefined],
      ["x".repeat(100_000), undefined],
    ] as const
  ) assert.equal(nearest(word, words), meant, word.slice(0, 20));
});

Deno.test("a reason that lists what there is tells what was meant", () => {
  assert.equal(
    suggestionIn('there is no port type "tpa" (there are: dummy, tap)'),
    'did you mean "tap"?',
  );
  assert.equal(
    suggestionIn('no option "mut" (there are: device mtu)'),
    'did you mean "mtu"?',
  );
  assert.equal(suggestionIn('no option "nome" (there are: none)'), undefined);
  assert.equal(suggestionIn("no such device"), undefined);
  const detail = 'there is no port type "rong" (there are: ring)';
  const error = new DatapathError({
    operation: "add port",
    code: "EAFNOSUPPORT",
    detail,
  });
  assert.deepEqual(adviceOf(error), { reason: detail, hint: 'did you mean "ring"?' });
  assert.deepEqual(adviceOf(new DatapathError({ operation: "x", code: "EIO" })), {});
});

Deno.test("advice is one line, which programs can leave out", () => {
  const texts = [
    adviceText({ reason: "a", hint: "b" }),
    adviceText({ reason: "a" }),
    adviceText({ hint: "b" }),
    adviceText({}),
  ];
  assert.deepEqual(texts, ["  reason: a; b\n", "  reason: a\n", "  hint: b\n", ""]);
  assert.equal(
    `dpctl: x\n${texts.join("")}y\n`.replaceAll(adviceLines, ""),
    "dpctl: x\ny\n",
  );
});
