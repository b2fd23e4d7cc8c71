// SPDX-License-Identifier: Apache-2.0
/**
 * What another program sends as it happens, through a socket of this one.
 *
 * @module
 */
import { ToolError } from "./failure.ts";

/**
 * Has another program send to a socket, whose path `ask` is given, until that program is done, the
 * signal aborts or nobody reads any more; the program's answer, undefined in the latter two cases.
 */
export async function receivePiped(
  ask: (socket: string) => Promise<string>,
  { take, signal }: {
    /** Given what comes. */
    readonly take: (bytes: Uint8Array) => void;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<string | undefined> {
  if (signal?.aborted) return undefined;
  const folder = await Deno.makeTempDir({ prefix: "dpctl-" });
  try {
    const path = `${folder}/pipe`;
    const listener = Deno.listen({ transport: "unix", path });
    let isListening = true;
    const stopListening = (): void => {
      if (isListening) listener.close();
      isListening = false;
    };
    let conn: Deno.UnixConn | undefined;
    const end = (): void => {
      stopListening(); // The program may never connect.
      conn?.close();
    };
    signal?.addEventListener("abort", end, { once: true });
    try {
      const asked = ask(path);
      asked.catch(stopListening); // Nobody is going to connect.
      const connected = await listener.accept().catch(() => undefined);
      if (signal?.aborted) {
        connected?.close();
        return undefined;
      }
      conn = connected;
      return await receive(conn, asked, { take, signal });
    } finally {
      signal?.removeEventListener("abort", end);
      stopListening();
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function receive(
  conn: Deno.UnixConn | undefined,
  asked: Promise<string>,
  { take, signal }: Parameters<typeof receivePiped>[1],
): Promise<string | undefined> {
  try {
    for await (const bytes of conn?.readable ?? []) take(bytes);
  } catch (error) {
    // It was told to end, or nobody reads any more: that is how such things end.
    const isOver = signal?.aborted === true || error instanceof Deno.errors.BrokenPipe;
    if (!isOver) throw error;
    return undefined;
  }
  try {
    return await asked;
  } catch (cause) {
    if (signal?.aborted) return undefined;
    throw new ToolError((cause as Error).message.trim(), { cause });
  }
}
