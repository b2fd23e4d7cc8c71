// SPDX-License-Identifier: Apache-2.0
/**
 * Serves an open datapath on a control socket: what `Datapath.serve` does.
 *
 * @module
 */
import type { Datapath } from "../providers/datapath.ts";
import { controlCommands } from "./commands.ts";
import { controlPath, ControlSocket } from "./socket.ts";
import { Log } from "./log.ts";

/** How a datapath is served. */
export interface ServeDatapathOptions {
  /** Path of the socket file; the usual one of the datapath if absent. */
  readonly path?: string | undefined;
  /** What the command `exit` does; closes the datapath if absent. */
  readonly onExit?: (() => void) | undefined;
  /** Where messages go. */
  readonly log?: Log;
}

/** Serves `dp` until the socket is closed. `Deno.errors.AddrInUse` if another program serves the path. */
export async function serveDatapath(
  dp: Datapath,
  options: ServeDatapathOptions = {},
): Promise<ControlSocket> {
  const { log = new Log(), onExit = () => void dp.close() } = options;
  const path = options.path ?? await controlPath(dp.fullName);
  return await ControlSocket.serve(path, controlCommands({ dp, log, onExit }));
}
