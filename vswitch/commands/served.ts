// SPDX-License-Identifier: Apache-2.0
/**
 * What the commands of a daemon work on.
 *
 * @module
 */
import { CommandError } from "../../control/command_error.ts";
import type { ControlCommand } from "../../control/socket.ts";
import type { Bridge } from "../bridge.ts";
import type { Daemon } from "../daemon.ts";
import type { DaemonLog } from "../log.ts";

/** A daemon, its log, and how it ends. */
export interface ServedDaemon {
  readonly daemon: Daemon;
  readonly log: DaemonLog;
  /** What `exit` does; `cleanup` takes away what outlives a program. */
  readonly exit: (cleanup: boolean) => void;
}

/** Makes a command. */
export type Add = (
  name: string,
  usage: string,
  args: readonly [min: number, max: number],
  run: ControlCommand["run"],
) => void;

/** A bridge by its name. Throws {@linkcode CommandError}. */
export function bridgeOf(
  { bridges }: Daemon,
  name: string,
  what = "no such bridge",
): Bridge {
  const bridge = bridges.get(name);
  if (bridge === undefined) throw new CommandError(what);
  return bridge;
}

/** Bridges in the order of their names. */
export function sortedBridges({ bridges }: Daemon): Bridge[] {
  return [...bridges.values()].sort((a, b) => a.name < b.name ? -1 : 1);
}
