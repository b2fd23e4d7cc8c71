// SPDX-License-Identifier: Apache-2.0
/**
 * Serves an open datapath on a control socket, for `dpctl` and ovs-appctl(8).
 *
 * ```ts
 * import { openDatapath } from "../mod.ts";
 * import { serve } from "./serve.ts";
 *
 * export async function run(): Promise<void> {
 *   await using dp = await openDatapath("netdev@br0", { create: true });
 *   await serve(dp); // From now on: deno run -A dpctl.ts show netdev@br0
 *   for await (const upcall of dp.upcalls()) console.log(`${upcall}`);
 * }
 * ```
 *
 * @module
 */
import type { Datapath } from "../providers/datapath.ts";
import { controlCommands } from "./commands.ts";
import { ControlSocket } from "./socket.ts";
import { controlPath } from "./socket_path.ts";
import { Log } from "./log.ts";
import { ThreadLog } from "./thread_log.ts";

export { Log, type LogLevel, type LogModule } from "./log.ts";

/** How a datapath is served. */
export interface ServeOptions {
  /** Path of the socket file; where `dpctl` looks for the datapath by its name, if absent. */
  readonly path?: string | undefined;
  /** What the command `exit` does; closes the datapath if absent. */
  readonly onExit?: (() => void) | undefined;
  /** Where messages go; stderr if absent. */
  readonly log?: Log | undefined;
}

/** A control socket that answers for a datapath. Disposing of it closes it. */
export interface ControlServer extends AsyncDisposable {
  /** Path of the socket file. */
  readonly path: string;
  /** Stops answering and removes the file. Idempotent. */
  close(): Promise<void>;
}

/**
 * Answers commands for `dp` on a socket of mode 0600, until it is closed or the datapath is.
 *
 * Permissions besides the datapath's: `--allow-net`, and to read and write the folder.
 *
 * `Deno.errors.AddrInUse`: another program serves the path.
 */
export async function serve(
  dp: Datapath,
  options: ServeOptions = {},
): Promise<ControlServer> {
  const { log = new Log() } = options;
  const { onExit = () => void dp.close().catch(complain) } = options;
  const complain = (error: Error): void => log.say("control", "err", error.message);
  const path = options.path ?? await controlPath(dp.fullName);
  const socket = await ControlSocket.serve(path, controlCommands({ dp, log, onExit }));
  let threads: ThreadLog | undefined;
  const end = (): Promise<void> => {
    threads?.[Symbol.dispose]();
    return socket.close();
  };
  let attached: Disposable;
  try {
    threads = ThreadLog.of(dp, log);
    attached = dp.onClose({ [Symbol.asyncDispose]: end });
  } catch (error) {
    await end(); // The datapath was closed meanwhile.
    throw error;
  }
  const close = (): Promise<void> => {
    attached[Symbol.dispose]();
    return end();
  };
  return { path: socket.path, close, [Symbol.asyncDispose]: close };
}
