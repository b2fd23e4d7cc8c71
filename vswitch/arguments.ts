// SPDX-License-Identifier: Apache-2.0
/**
 * The command line of a daemon: that of ovs-vswitchd(8), as far as it means something here.
 *
 * @module
 */

/** What a command line says. */
export interface DaemonArguments {
  /** Where the database's server is. */
  readonly database: string;
  /** Folders of sockets and of logs. */
  readonly folder: string;
  readonly logFolder: string;
  /** File for the number of the process. */
  readonly pidFile: string | undefined;
  readonly logFile: string | undefined;
  /** Path of the control socket; `none` for no such socket. */
  readonly controlSocket: string | undefined;
  /** Whether the program goes on in the background. */
  readonly detach: boolean;
  readonly dummy: "no" | "yes" | "override";
  /** Levels of the log, in the order in which they are set. */
  readonly levels: readonly string[];
}

/** A command line that means nothing. */
export class DaemonUsageError extends Error {
  override readonly name = "DaemonUsageError";
}

/** What is printed for `--help`. */
export const DAEMON_USAGE =
  `usage: deno run -A switchd.ts [DATABASE] [--detach] [--pidfile[=FILE]] [--log-file[=FILE]]
       [-vSPEC]... [--unixctl=SOCKET] [--enable-dummy[=override|=system]]

Runs a switch as a database of ovsdb-server says: DATABASE is unix:PATH or tcp:HOST:PORT, or
unix:$OVS_RUNDIR/db.sock. Bridges of type netdev are userspace datapaths, others the kernel's.
Without a database, one bridge for controllers: "switchd.ts --bridge NAME --help" tells.`;

/** Options of Open vSwitch that are taken, and that there is nothing to do for. */
const passed: ReadonlySet<string> = new Set([
  ...["--no-chdir", "--monitor", "--mlockall", "--disable-system", "--overwrite-pidfile"],
  ...["--disable-system-route", "--no-self-confinement", "--dpdk", "--user", "-u"],
  ...["--dummy-numa", "--bootstrap-ca-cert", "--private-key", "--certificate"],
  ...["--ca-cert", "--peer-ca-cert", "--no-mlockall", "--syslog-target", "-n"],
  ...["--syslog-method"],
]);
/** Those of them whose value may be the next word. */
const valued: ReadonlySet<string> = new Set([
  ...["--user", "-u", "--private-key", "-p", "--certificate", "-c", "--ca-cert", "-C"],
  ...["--peer-ca-cert", "--bootstrap-ca-cert", "--syslog-target", "--syslog-method"],
]);

/** Whether a command line is a daemon's: it names no bridge. */
export function isDaemon(args: readonly string[]): boolean {
  return !args.some((arg) => /^--(bridge|port|controller|listen)(=|$)/.test(arg));
}

/** Reads a command line. `environment` has the folders. Throws {@linkcode DaemonUsageError}. */
export function readDaemonArguments(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): DaemonArguments {
  const folder = environment["OVS_RUNDIR"] ?? "/var/run/openvswitch";
  const logFolder = environment["OVS_LOGDIR"] ?? "/var/log/openvswitch";
  const levels: string[] = [];
  const databases: string[] = [];
  const made: { -readonly [K in keyof DaemonArguments]?: DaemonArguments[K] } = {};
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    const at = arg.startsWith("--") ? arg.indexOf("=") : -1;
    const name = at < 0 ? arg : arg.slice(0, at);
    const value = at < 0 ? undefined : arg.slice(at + 1);
    if (name === "--detach") made.detach = true;
    else if (name === "--pidfile") {
      made.pidFile = path(folder, value ?? "ovs-vswitchd.pid");
    } else if (name === "--log-file") {
      made.logFile = path(logFolder, value ?? "ovs-vswitchd.log");
    } else if (name === "--unixctl") {
      const socket = value ?? args[++i];
      if (socket === undefined) throw new DaemonUsageError("--unixctl needs a value");
      made.controlSocket = socket === "none" ? socket : path(folder, socket);
    } else if (name === "--enable-dummy") {
      made.dummy = value === "override" ? "override" : "yes";
    } else if (name === "--verbose" || arg.startsWith("-v")) {
      levels.push(name === "--verbose" ? value ?? "dbg" : arg.slice(2) || "dbg");
    } else if (passed.has(name)) {
      if (valued.has(name) && value === undefined) i++;
    } else if (arg.startsWith("-")) {
      throw new DaemonUsageError(`there is no option ${name}`);
    } else databases.push(arg);
  }
  if (databases.length > 1) throw new DaemonUsageError("one database at most");
  return {
    database: databases[0] ?? `unix:${folder}/db.sock`,
    folder,
    logFolder,
    pidFile: undefined,
    logFile: undefined,
    controlSocket: undefined,
    detach: false,
    dummy: "no",
    ...made,
    levels,
  };
}

function path(folder: string, name: string): string {
  return name.startsWith("/") ? name : `${folder}/${name}`;
}
