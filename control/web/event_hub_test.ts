// SPDX-License-Identifier: Apache-2.0
/** Clients that take what they are sent, and clients that do not. */
import assert from "node:assert/strict";
import { EventHub, eventText } from "./event_hub.ts";

function hub(
  maxClients: number,
  maxBuffered: number,
): { hub: EventHub; active: boolean[] } {
  const active: boolean[] = [];
  const onActive = (is: boolean): void => void active.push(is);
  return { hub: new EventHub({ maxClients, maxBuffered, onActive }), active };
}

Deno.test("a client that takes nothing is dropped when its buffer is full, others get all", async () => {
  const { hub: events, active } = hub(4, 64 * 1024);
  const slow = events.connect("first\n\n")?.getReader();
  const quick = events.connect("first\n\n")?.getReader();
  assert.ok(slow && quick);
  await quick.read();
  const data = JSON.stringify("x".repeat(1000));
  const wanted = eventText("status", data).length;
  let sentBeforeDrop = 0;
  for (let i = 0; i < 1000; i++) {
    if (events.dropped === 0) sentBeforeDrop++;
    events.send("status", data);
    assert.equal((await quick.read()).value?.length, wanted);
  }
  assert.equal(events.dropped, 1);
  assert.equal(events.count, 1);
  // It was bounded: 64 KiB and one event at most.
  assert.ok(sentBeforeDrop * wanted <= 64 * 1024 + 2 * wanted, `${sentBeforeDrop}`);
  await assert.rejects(slow.read(), /does not take/);
  await quick.cancel();
  assert.equal(events.count, 0);
  assert.deepEqual(active, [true, false]);
});

Deno.test("more clients than there may be are refused, and a closed hub takes none", async () => {
  const { hub: events } = hub(2, 1024);
  const streams = [1, 2].map(() => events.connect("first\n\n")?.getReader());
  assert.equal(events.connect("first\n\n"), undefined);
  events.close();
  for (const stream of streams) {
    await stream?.read();
    assert.equal((await stream?.read())?.done, true);
  }
  assert.equal(events.connect("first\n\n"), undefined);
});
