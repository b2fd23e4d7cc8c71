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
  const folder = await Deno.makeTempDir({ prefix: "dpctl-" });
  try {
    using listener = Deno.listen({ transport: "unix", path: `${folder}/pipe` });
    const asked = ask(`${folder}/pipe`);
    asked.catch(() => listener.close()); // Nobody is going to connect.
    const conn = await listener.accept().catch(() => undefined);
    const end = (): void => conn?.close();
    signal?.addEventListener("abort", end, { once: true });
    try {
      for await (const bytes of conn?.readable ?? []) take(bytes);
    } catch (error) {
      // It was told to end, or nobody reads any more: that is how such things end.
      const isOver = signal?.aborted === true || error instanceof Deno.errors.BrokenPipe;
      if (!isOver) throw error;
      return undefined;
    } finally {
      signal?.removeEventListener("abort", end);
    }
    return await asked.catch((cause: Error) => {
      throw new ToolError(cause.message.trim(), { cause });
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
