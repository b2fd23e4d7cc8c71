// SPDX-License-Identifier: Apache-2.0
/**
 * A daemon as a program: its log, its files, its control socket, and how it ends.
 *
 * @module
 */
import { type ControlCommand, ControlSocket } from "../control/socket.ts";
import { fileFailure } from "../control/system_words.ts";
import { daemonCommands } from "./commands/commands.ts";
import { Daemon } from "./daemon.ts";
import { DaemonLog } from "./log.ts";
import { PidFile } from "./pid_file.ts";
import {
  DAEMON_USAGE,
  type DaemonArguments,
  DaemonUsageError,
  readDaemonArguments,
} from "./arguments.ts";

/** The line by which a program in the background tells that it is ready. */
const READY = "ready\n";
/** Set for a program that was started in the background: it tells so on its standard output. */
const BACKGROUND = "UPCALL_BACKGROUND";

/** Runs a daemon until it is told to end. The status that the program ends with. */
export async function runDaemon(
  args: readonly string[],
  program: string,
): Promise<number> {
  let read: DaemonArguments;
  try {
    read = readDaemonArguments(args, Deno.env.toObject());
  } catch (error) {
    if (!(error instanceof DaemonUsageError)) throw error;
    console.error(`${error.message}\n${DAEMON_USAGE}`);
    return 1;
  }
  return read.detach ? await runBehind(args, program) : await runHere(read);
}

/** Starts the program again in the background, and waits until it is ready. */
async function runBehind(args: readonly string[], program: string): Promise<number> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--quiet", "--no-check", program],
      ...args.filter((arg) => arg !== "--detach"),
    ],
    env: { [BACKGROUND]: "1" },
    detached: true,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  // What is started holds no end of this program's own: one that reads it would wait for ever.
  const abort = new AbortController();
  const forwarding = child.stderr.pipeTo(Deno.stderr.writable, {
    preventClose: true,
    signal: abort.signal,
  }).catch(() => {});
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  const isReady = value !== undefined && new TextDecoder().decode(value) === READY;
  await reader.cancel();
  if (!isReady) {
    const { code } = await child.status;
    await forwarding;
    return code || 1;
  }
  abort.abort();
  await forwarding;
  child.unref();
  return 0;
}

/** The control socket; why there can be none says its path. */
async function socketAt(
  path: string,
  commands: ReadonlyMap<string, ControlCommand>,
): Promise<ControlSocket> {
  try {
    return await ControlSocket.serve(path, commands);
  } catch (error) {
    throw fileFailure("write", path, error);
  }
}

async function runHere(read: DaemonArguments): Promise<number> {
  using log = new DaemonLog();
  if (read.logFile !== undefined) log.open(read.logFile);
  for (const level of read.levels) log.set(level);
  const ended = Promise.withResolvers<{ readonly cleanup: boolean }>();
  // What can be another program's comes before anything that is made.
  using _pidFile = read.pidFile === undefined ? undefined : new PidFile(read.pidFile);
  const path = read.controlSocket ?? `${read.folder}/ovs-vswitchd.${Deno.pid}.ctl`;
  const commands = new Map<string, ControlCommand>();
  await using socket = path === "none" ? undefined : await socketAt(path, commands);
  await using daemon = new Daemon({
    database: read.database,
    folder: read.folder,
    dummy: read.dummy,
    log: (module, level, text) => log.say(module, level, text),
  });
  const exit = (cleanup: boolean): void => ended.resolve({ cleanup });
  for (const [name, command] of daemonCommands({ daemon, log, exit })) {
    commands.set(name, command);
  }
  // The second signal is for a daemon that does not end at the first.
  let signals = 0;
  const stop = (): void => {
    if (++signals > 1) Deno.exit(1);
    exit(false);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, stop);
  }
  // Where the database does not answer, a program in the foreground waits for it.
  const first = await Promise.race([daemon.ready, ended.promise]);
  if (first === undefined) {
    log.say("bridge", "dbg", "the first configuration is in force");
    if (Deno.env.get(BACKGROUND) !== undefined) {
      await Deno.stdout.write(new TextEncoder().encode(READY));
    }
  }
  const { cleanup } = await ended.promise;
  await socket?.close();
  await daemon.close({ cleanup });
  return 0;
}
