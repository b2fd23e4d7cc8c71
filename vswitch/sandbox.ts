// SPDX-License-Identifier: Apache-2.0
/**
 * A switch to try: a database server, a daemon and a bridge in a folder that goes with them.
 *
 * `deno task switch`, and in another shell `ovs-vsctl`, `ovs-ofctl` and `ovs-appctl` as it tells.
 *
 * @module
 */
import { type ControlCommand, ControlSocket } from "../control/socket.ts";
import { daemonCommands } from "./commands/commands.ts";
import { Daemon } from "./daemon.ts";
import { DaemonLog } from "./log.ts";
import { PidFile } from "./pid_file.ts";

const SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema";

/** How a sandbox is made. */
export interface SandboxOptions {
  /** The kind of datapath of its bridge. */
  readonly type: "netdev" | "dummy";
}

/** A program that is needed, and is not there, or does not do what it is to do. */
export class SandboxError extends Error {
  override readonly name = "SandboxError";
}

/** A database server and a daemon. Disposing of it takes all of it away. */
export class Sandbox implements AsyncDisposable {
  /** The folder of its sockets, `OVS_RUNDIR` of tools. */
  readonly folder: string;
  readonly #server: Deno.ChildProcess;
  /** The daemon. */
  readonly daemon: Daemon;
  /** Resolves when `ovs-appctl exit` ends it. */
  readonly exited: Promise<void>;
  /** What `ovs-appctl` finds the daemon by. */
  readonly #control: AsyncDisposable;
  #closing: Promise<void> | undefined;

  private constructor(
    folder: string,
    server: Deno.ChildProcess,
    daemon: Daemon,
    control: Control,
  ) {
    this.folder = folder;
    this.#server = server;
    this.daemon = daemon;
    this.#control = control;
    this.exited = control.exited;
  }

  /** Makes one with a bridge `br0`. Throws {@linkcode SandboxError}. */
  static async open({ type }: SandboxOptions): Promise<Sandbox> {
    const folder = await Deno.makeTempDir({ prefix: "switch" });
    let server: Deno.ChildProcess | undefined;
    let daemon: Daemon | undefined;
    const log = new DaemonLog();
    log.set("console:warn");
    try {
      const database = `unix:${folder}/db.sock`;
      await run("ovsdb-tool", ["create", `${folder}/conf.db`, SCHEMA]);
      server = new Deno.Command("ovsdb-server", {
        args: [
          ...[`${folder}/conf.db`, `--remote=punix:${folder}/db.sock`, "--no-chdir"],
          ...[`--unixctl=${folder}/ovsdb-server.ctl`, "-vconsole:off"],
        ],
        stdin: "null",
        stdout: "null",
        stderr: "null",
        // Ctrl-C is for this program, which ends the server in its turn.
        detached: true,
      }).spawn();
      await listening(`${folder}/db.sock`);
      const vsctl = [`--db=${database}`, "--no-wait"];
      await run("ovs-vsctl", [...vsctl, "init"]);
      const set = ["--", "set", "Bridge", "br0", `datapath_type=${type}`];
      await run("ovs-vsctl", [...vsctl, "add-br", "br0", ...set]);
      daemon = new Daemon({
        database,
        folder,
        dummy: type === "dummy" ? "override" : "no",
        log: (module, level, text) => log.say(module, level, text),
      });
      await daemon.ready;
      const control = await openControl(folder, { daemon, log });
      return new Sandbox(folder, server, daemon, control);
    } catch (error) {
      await daemon?.close();
      await endServer(server);
      await Deno.remove(folder, { recursive: true });
      throw error;
    }
  }

  /** Takes it away. Idempotent. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await this.#control[Symbol.asyncDispose]();
    await this.daemon.close({ cleanup: true });
    await endServer(this.#server);
    await Deno.remove(this.folder, { recursive: true });
  }

  /** Takes it away. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A control socket, and when its `exit` was called. */
interface Control extends AsyncDisposable {
  readonly exited: Promise<void>;
}

/** Has `ovs-appctl` find a daemon in its folder: by the number in a file, and the socket's name. */
async function openControl(
  folder: string,
  { daemon, log }: { readonly daemon: Daemon; readonly log: DaemonLog },
): Promise<Control> {
  const exited = Promise.withResolvers<void>();
  await using made = new AsyncDisposableStack();
  made.use(new PidFile(`${folder}/ovs-vswitchd.pid`));
  const commands = new Map<string, ControlCommand>(
    daemonCommands({ daemon, log, exit: () => exited.resolve() }),
  );
  const path = `${folder}/ovs-vswitchd.${Deno.pid}.ctl`;
  made.use(await ControlSocket.serve(path, commands));
  const all = made.move();
  return {
    exited: exited.promise,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

async function endServer(server: Deno.ChildProcess | undefined): Promise<void> {
  if (server === undefined) return;
  try {
    server.kill("SIGTERM");
  } catch {
    // It ended already.
  }
  await server.status;
}

async function run(program: string, args: readonly string[]): Promise<void> {
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(program, { args: [...args], stdin: "null" }).output();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new SandboxError(
      `${program} is not installed: apt-get install openvswitch-common openvswitch-switch`,
    );
  }
  if (output.success) return;
  throw new SandboxError(`${program}: ${new TextDecoder().decode(output.stderr).trim()}`);
}

const PAUSE_MS = 20;
const LIMIT_MS = 10_000;

async function listening(path: string): Promise<void> {
  for (let waitedMs = 0;; waitedMs += PAUSE_MS) {
    try {
      (await Deno.connect({ transport: "unix", path })).close();
      return;
    } catch (error) {
      if (waitedMs > LIMIT_MS) {
        throw new SandboxError(
          `ovsdb-server does not listen: ${(error as Error).message}`,
        );
      }
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** What to type in another shell. */
function help(folder: string, type: "netdev" | "dummy"): string {
  const ports = type === "dummy"
    ? "  ovs-vsctl add-port br0 p1"
    : `  ovs-vsctl add-port br0 eth1    # any Linux device but the one that you work by
  ovs-vsctl add-br br1 -- set Bridge br1 datapath_type=netdev`;
  return `A switch with the bridge br0 (${type}) runs. In another shell:

  export OVS_RUNDIR=${folder}
  ovs-vsctl show
${ports}
  ovs-ofctl dump-flows br0
  ovs-appctl ofproto/trace br0 in_port=LOCAL,icmp
  ovs-appctl list-commands

Complaints are printed here. Ctrl-C ends it and takes all of it away.`;
}

async function main(): Promise<number> {
  // Packet sockets and taps are for root only; ports in memory are for everybody.
  const type = Deno.uid() === 0 && !Deno.args.includes("--dummy") ? "netdev" : "dummy";
  const ended = Promise.withResolvers<void>();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => ended.resolve());
  }
  try {
    await using sandbox = await Sandbox.open({ type });
    console.log(help(sandbox.folder, type));
    await Promise.race([ended.promise, sandbox.exited]);
    return 0;
  } catch (error) {
    if (!(error instanceof SandboxError)) throw error;
    console.error(error.message);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main());
