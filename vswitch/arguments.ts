// SPDX-License-Identifier: Apache-2.0
/**
 * The command line of a daemon: that of ovs-vswitchd(8), as far as it means something here.
 *
 * @module
 */

import { parseTarget } from "../ovsdb/database.ts";

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

/** How a daemon is called, in a line for mistakes. */
export const DAEMON_USAGE = `usage: upcall-switchd [DATABASE] [OPTION]...
   or: upcall-switchd --bridge [TYPE@]NAME [OPTION]...
"upcall-switchd --help" tells more; in a checkout it is deno run -A switchd.ts`;

/** What is printed for `--help`. */
export const HELP = `NAME
  upcall-switchd - a switch of OpenFlow, of bridges that a database describes, or of one

SYNOPSIS
  upcall-switchd [DATABASE] [--detach] [--pidfile[=FILE]] [--log-file[=FILE]] [-vSPEC]...
                 [--unixctl=SOCKET] [--enable-dummy[=override|=system]]
  upcall-switchd --bridge [TYPE@]NAME [--port DEVICE[:TYPE]]... [--controller TARGET]...
                 [--listen TARGET]... [--protocols LIST] [--datapath-id HEX] [--tight]
  In a checkout: deno run -A switchd.ts ...

DESCRIPTION
  The first form is a daemon in the place of ovs-vswitchd: bridges, ports and controllers are what
  ovs-vsctl writes into DATABASE, an ovsdb-server, and what became of them is written back.
  Bridges of type netdev are userspace datapaths, others the kernel's. It ends with its bridges
  as they are at SIGTERM, which the kernel's datapaths outlive.
  The second form needs no database: one bridge, until SIGINT or SIGTERM.

OPTIONS OF A DAEMON
  DATABASE                  unix:PATH or tcp:HOST:PORT; unix:$OVS_RUNDIR/db.sock if absent
  --detach                  go on in the background, once the first configuration is in force
  --pidfile[=FILE]          write the process's number to FILE, ovs-vswitchd.pid if absent
  --log-file[=FILE]         log to FILE too, ovs-vswitchd.log if absent
  -vSPEC, --verbose=SPEC    what is logged: [MODULE:][DESTINATION:]LEVEL, as in ovs-appctl(8)
  --unixctl=SOCKET          where ovs-appctl is answered, "none" for nowhere;
                            ovs-vswitchd.PID.ctl if absent
  --enable-dummy[=KIND]     datapaths of dummy ports, for tests; KIND "override" or "system"
  Other options of ovs-vswitchd are taken and do nothing: --mlockall, --no-chdir, --monitor,
  --user, --dpdk and those of certificates.

OPTIONS OF ONE BRIDGE
  --bridge [TYPE@]NAME      the datapath; netdev@NAME if TYPE is absent
  --port DEVICE[:TYPE]      a port; of type system if absent
  --controller TARGET       tcp:HOST[:PORT] or unix:PATH, which is called
  --listen TARGET           ptcp:PORT[:HOST] or punix:PATH, where controllers may call
  --protocols LIST          versions of OpenFlow: 1.0,1.3
  --datapath-id HEX         up to 16 hexadecimal digits
  --tight                   mask only what decides about a packet, and not as Open vSwitch does

FILES
  $OVS_RUNDIR, /var/run/openvswitch   sockets and the pid file: paths without a folder are here
  $OVS_LOGDIR, /var/log/openvswitch   logs
  /etc/upcall/switchd.conf            DATABASE and OPTIONS of the service upcall-switchd

EXIT STATUS
  0 after SIGINT, SIGTERM or "ovs-appctl exit"; 1 for a mistake, with a line that tells it.

SEE ALSO
  dpctl help, ovs-vsctl(8), ovs-ofctl(8), ovs-appctl(8), docs/openflow.md`;

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

/** Options that say one thing. */
const once: ReadonlySet<string> = new Set([
  ...["--detach", "--pidfile", "--log-file", "--unixctl", "--enable-dummy"],
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
  const seen = new Set<string>();
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    const at = arg.startsWith("--") ? arg.indexOf("=") : -1;
    const name = at < 0 ? arg : arg.slice(0, at);
    const value = at < 0 ? undefined : arg.slice(at + 1);
    if (seen.has(name) && once.has(name)) {
      throw new DaemonUsageError(`${name} is given twice`);
    }
    if (value === "") throw new DaemonUsageError(`${name}= has no value`);
    seen.add(name);
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
      if (!["override", "system", undefined].includes(value)) {
        throw new DaemonUsageError(
          `--enable-dummy is override or system: it is ${value}`,
        );
      }
      made.dummy = value === "override" ? "override" : "yes";
    } else if (name === "--verbose" || arg.startsWith("-v")) {
      levels.push(name === "--verbose" ? value ?? "dbg" : arg.slice(2) || "dbg");
    } else if (passed.has(name)) {
      if (valued.has(name) && value === undefined && args[++i] === undefined) {
        throw new DaemonUsageError(`${name} needs a value`);
      }
    } else if (arg.startsWith("-")) {
      throw new DaemonUsageError(`there is no option ${name}`);
    } else databases.push(arg);
  }
  if (databases.length > 1) throw new DaemonUsageError("one database at most");
  for (const database of databases) {
    try {
      parseTarget(database);
    } catch (error) {
      throw new DaemonUsageError((error as Error).message);
    }
  }
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
