// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { control } from "../control/socket.ts";
import { ToolError } from "./failure.ts";
import { receivePiped } from "./pipe.ts";

const take = (): void => {};

Deno.test("pipe: the client ends when told to, though the program neither connects nor answers", async () => {
  const folder = await Deno.makeTempDir();
  try {
    using silent = Deno.listen({ transport: "unix", path: `${folder}/silent` });
    const accepted = silent.accept();
    const stop = new AbortController();
    const piped = receivePiped(
      () => control(`${folder}/silent`, "anything", [], { signal: stop.signal }),
      { take, signal: stop.signal },
    );
    using conn = await accepted;
    stop.abort();
    assert.equal(await piped, undefined);
    // It was hung up on, so that nothing keeps this program alive.
    const bytes = new Uint8Array(1000);
    while (await conn.read(bytes) !== null);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("pipe: who was told to end before asks nobody", async () => {
  const signal = AbortSignal.abort();
  const ask = () => assert.fail("it asked");
  assert.equal(await receivePiped(ask, { take, signal }), undefined);
});

Deno.test("pipe: what comes is taken, then the answer; a refusal is told", async () => {
  let text = "";
  const ask = async (path: string): Promise<string> => {
    const conn = await Deno.connect({ transport: "unix", path });
    await conn.write(new TextEncoder().encode("abc"));
    conn.close();
    return "done";
  };
  const answer = await receivePiped(ask, {
    take: (bytes) => void (text += new TextDecoder().decode(bytes)),
  });
  assert.deepEqual([text, answer], ["abc", "done"]);
  const refuse = () => Promise.reject(new Error(" no \n"));
  await assert.rejects(
    receivePiped(refuse, { take }),
    (error) => error instanceof ToolError && error.message === "no",
  );
});
