// SPDX-License-Identifier: Apache-2.0
/** Ids of stages: packets that choose what is carried do not fill the memory. */
import { ok, strictEqual, throws } from "node:assert/strict";
import { advanceClock, clockMs } from "../../policy/clock.ts";
import { Continuations, type Stage, stage, track } from "../../policy/stage.ts";
import { ActionTable } from "../../policy/verdicts.ts";

const one = stage<string>("one", () => []) as unknown as Stage<never>;
const MINUTE = 60_000;

Deno.test("stages: there are so many ids, and others once these are not named any more", () => {
  const ids = new Continuations();
  for (let i = 0; i < 65_536; i++) ids.hold(ids.of(one, i).id);
  throws(() => ids.of(one, 65_536), /^RangeError: no id for stage "one": 65536 carry/);
  strictEqual(ids.of(one, 7).id, 8, "those that are known stay");
  for (let id = 1; id <= 65_536; id++) if (id !== 8) ids.release(id, 0);
  strictEqual(ids.size, 32_769, "the oldest of those that nobody names go at once");
  ids.sweep(MINUTE);
  strictEqual(ids.size, 1, "one is held");
  strictEqual(ids.of(one, 65_536).id, 65_537);
});

Deno.test("stages: what nobody names has room of its own", () => {
  const ids = new Continuations();
  for (let i = 0; i < 32_769; i++) ids.of(one, i);
  strictEqual(ids.size, 32_768);
  strictEqual(ids.get(1), undefined, "the oldest went");
  strictEqual(ids.of(one, 1).id, 2, "the next did not");
});

Deno.test("stages: they carry so much text together", () => {
  const ids = new Continuations();
  const text = (i: number) => String(i).padStart(1 << 20);
  for (let i = 0; i < 63; i++) ids.hold(ids.of(one, text(i)).id);
  throws(() => ids.of(one, text(63)), RangeError);
  for (let id = 1; id <= 63; id++) ids.release(id, 0);
  strictEqual(ids.of(one, text(63)).id, 64, "they are not named any more");
});

Deno.test("stages: a policy that was looked at and not taken leaves no stage behind", () => {
  const ids = new Continuations();
  const other = stage<string>("one", () => []) as unknown as Stage<never>;
  strictEqual(ids.get(ids.of(one, 1).id)?.stage, one);
  ids.beginOther();
  for (const carry of [1, 2]) ids.of(other, carry);
  ids.of(stage<string>("two", () => []) as unknown as Stage<never>, 1);
  ids.endOther(false);
  strictEqual(ids.size, 1);
  for (const carry of [1, 2]) strictEqual(ids.get(ids.of(one, carry).id)?.stage, one);
  const two = stage<string>("two", () => []) as unknown as Stage<never>;
  strictEqual(ids.get(ids.of(two, 1).id)?.stage, two, "the name is free");
});

Deno.test("stages: a policy that was taken may name its stages later", () => {
  const ids = new Continuations();
  const other = stage<string>("one", () => []) as unknown as Stage<never>;
  const { id } = ids.of(one, 1);
  ids.beginOther(); // No flow led to a stage, so that none of the other's is known.
  ids.endOther(true);
  const found = ids.of(other, 1);
  strictEqual(found.stage, other);
  strictEqual(
    ids.get(id)?.stage,
    one,
    "packets and flows on their way go on as they began",
  );
  throws(() => ids.of(one, 1), /two stages have the name "one"/);
  ids.sweep(Date.now() + MINUTE);
  strictEqual(ids.size, 0);
  strictEqual(ids.get(ids.of(one, 1).id)?.stage, one, "the name is free again");
});

Deno.test("stages: an id that verdicts name is not forgotten though no flow has it", () => {
  const ids = new Continuations();
  const table = new ActionTable(ids);
  const list = track({ zone: 1 }, stage("next", () => []));
  const [id = 0] = table.of(list).stages;
  const startMs = Date.now();
  for (let second = 1; second <= 70; second++) {
    advanceClock(1000);
    strictEqual(table.of(list).stages[0], id);
    ids.sweep(clockMs());
  }
  ok(clockMs() - startMs >= 70_000);
  ok(ids.get(id) !== undefined);
  advanceClock(60_000);
  ids.sweep(clockMs());
  strictEqual(ids.get(id), undefined);
});
