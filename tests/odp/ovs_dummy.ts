// SPDX-License-Identifier: Apache-2.0
/**
 * Open vSwitch's userspace datapath on dummy ports, as a judge of text.
 *
 * @module
 */

import { run, tryRun } from "../support/command.ts";
import { Unsupported } from "../support/skip.ts";
import { until } from "../support/wait.ts";

/** A running ovs-vswitchd of its own, apart from any other on the machine. */
export interface Dummy extends AsyncDisposable {
  /** Process of ovs-vswitchd. */
  readonly pid: number;
  /** The socket at which its bridge listens for OpenFlow. */
  readonly socket: string;
  /** Calls a command of ovs-appctl and returns what it prints; rejects with its complaint. */
  call(method: string, ...params: string[]): Promise<string>;
  /** Runs ovs-ofctl on its bridge `br0`: `ofctl("add-meter", "br0", "meter=1 …")`. */
  ofctl(...args: string[]): Promise<string>;
  /** Runs ovs-vsctl on its database. */
  vsctl(...args: string[]): Promise<string>;
  /** Lines of its log, from the message on: `PMD auto load balance is disabled.` */
  logged(): Promise<string[]>;
  /**
   * Frames that were sent to port `pN` since the last call. All that came before another `call` is
   * there.
   */
  sent(port: number): Promise<Uint8Array[]>;
}

/** Reads what was added to a pcap file since the last time. */
class Capture {
  readonly #path: string;
  #at = 24;

  constructor(path: string) {
    this.#path = path;
  }

  async read(): Promise<Uint8Array[]> {
    const bytes = await Deno.readFile(this.#path);
    const view = new DataView(bytes.buffer);
    const frames: Uint8Array[] = [];
    while (this.#at + 16 <= bytes.length) {
      const end = this.#at + 16 + view.getUint32(this.#at + 8, true);
      if (end > bytes.length) break;
      frames.push(bytes.slice(this.#at + 16, end));
      this.#at = end;
    }
    return frames;
  }
}

/** Whether the programs are there. */
async function check(): Promise<void> {
  for (const program of ["ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl"]) {
    const { code } = await tryRun("sh", "-c", `command -v ${program}`)
      .catch(() => ({ code: 1 }));
    if (code !== 0) throw new Unsupported(`program ${program}`, { requirement: "peer" });
  }
}

/** Ports 21 and 22 of `br0`, the members of a bond. */
const members = [21, 22] as const;

/**
 * Words for ovs-vsctl by which `br0` has a bond that balances TCP by `lb_output`, and another
 * bridge the other end of it, for LACP.
 */
function bondWords(folder: string): string[] {
  const end = (bridge: string, bond: string, first: string, stream: string) => {
    const names = members.map((n) => `${first}${n}`);
    return [
      "--",
      "add-bond",
      bridge,
      bond,
      ...names,
      "bond_mode=balance-tcp",
      "lacp=active",
      "other-config:lb-output-action=true",
      "other-config:bond-rebalance-interval=1000",
      ...members.flatMap((n) => [
        "--",
        "set",
        "Interface",
        `${first}${n}`,
        "type=dummy",
        `options:tx_pcap=${folder}/${first}${n}.pcap`,
        `options:${stream}:${folder}/${n}.sock`,
      ]),
    ];
  };
  const other = ["add-br", "br1", "--", "set", "Bridge", "br1", "datapath_type=dummy"];
  return [
    ...other,
    ...end("br1", "bond1", "q", "pstream=punix"),
    ...end("br0", "bond0", "p", "stream=unix"),
  ];
}

/**
 * Starts ovsdb-server and ovs-vswitchd in a folder of their own, with eight dummy ports. `bond`:
 * ports 21 and 22 are members of one, `bond0`, which is balanced every second.
 */
export async function startDummy(options: { bond?: boolean } = {}): Promise<Dummy> {
  await check();
  const folder = await Deno.makeTempDir({ prefix: "upcall-ovs-" });
  const env = {
    OVS_RUNDIR: folder,
    OVS_LOGDIR: folder,
    OVS_DBDIR: folder,
    OVS_SYSCONFDIR: folder,
  };
  const started: Deno.ChildProcess[] = [];
  const start = (program: string, ...args: string[]) => {
    const command = new Deno.Command(program, {
      args,
      env,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    });
    const child = command.spawn();
    started.push(child);
    return child;
  };
  const stop = async () => {
    for (const child of started.reverse()) {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended by itself.
      }
      await child.status;
    }
    await Deno.remove(folder, { recursive: true });
  };
  try {
    const db = `unix:${folder}/db.sock`;
    await run(
      "ovsdb-tool",
      "create",
      `${folder}/conf.db`,
      "/usr/share/openvswitch/vswitch.ovsschema",
    );
    start(
      "ovsdb-server",
      `${folder}/conf.db`,
      `--remote=p${db}`,
      `--unixctl=${folder}/db.ctl`,
      "--no-chdir",
    );
    await appears(`${folder}/db.sock`);
    await run("ovs-vsctl", `--db=${db}`, "--no-wait", "init");
    await run(
      "ovs-vsctl",
      `--db=${db}`,
      "--no-wait",
      "set",
      "Open_vSwitch",
      ".",
      "other_config:vlan-limit=2",
    );
    start(
      "ovs-vswitchd",
      db,
      "--enable-dummy",
      "--disable-system",
      "--no-chdir",
      `--unixctl=${folder}/switch.ctl`,
      `--log-file=${folder}/switch.log`,
    );
    await appears(`${folder}/switch.ctl`);
    const ports = Array.from({ length: 8 }, (_, i) => i + 1).flatMap((n) => [
      "--",
      "add-port",
      "br0",
      `p${n}`,
      "--",
      "set",
      "Interface",
      `p${n}`,
      "type=dummy",
      `options:tx_pcap=${folder}/p${n}.pcap`,
      `ofport_request=${n}`,
    ]);
    await run(
      "ovs-vsctl",
      "--timeout=30",
      `--db=${db}`,
      "add-br",
      "br0",
      "--",
      "set",
      "Bridge",
      "br0",
      "datapath_type=dummy",
      "fail-mode=secure",
      ...ports,
    );
    if (options.bond === true) {
      await run("ovs-vsctl", "--timeout=30", `--db=${db}`, ...bondWords(folder));
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const call = (method: string, ...params: string[]) =>
    request(`${folder}/switch.ctl`, method, params);
  // Nobody else may add or remove flows.
  await call("revalidator/pause");
  const captures = new Map(
    [...Array(9).keys(), ...members].map((n) =>
      [n, new Capture(`${folder}/p${n}.pcap`)] as const
    ),
  );
  return {
    pid: started.at(-1)?.pid ?? 0,
    socket: `${folder}/br0.mgmt`,
    call,
    ofctl: async (...args) => {
      const { success, stdout, stderr } = await new Deno.Command("ovs-ofctl", {
        args: ["-O", "OpenFlow13", ...args],
        env,
      }).output();
      const decoder = new TextDecoder();
      if (!success) {
        throw new Error(`ovs-ofctl ${args.join(" ")}: ${decoder.decode(stderr)}`);
      }
      return decoder.decode(stdout);
    },
    vsctl: async (
      ...args
    ) => (await run("ovs-vsctl", "--timeout=30", `--db=unix:${folder}/db.sock`, ...args)),
    logged: async () =>
      (await Deno.readTextFile(`${folder}/switch.log`)).split("\n")
        .map((line) => line.split("|").slice(4).join("|")),
    sent: (port) =>
      captures.get(port)?.read() ?? Promise.reject(new RangeError(`no port p${port}`)),
    [Symbol.asyncDispose]: stop,
  };
}

async function appears(path: string): Promise<void> {
  await until(path, () => Deno.stat(path).catch(() => undefined));
}

/** One call of the control socket: JSON-RPC, one request per connection. */
async function request(
  path: string,
  method: string,
  params: readonly string[],
): Promise<string> {
  using connection = await Deno.connect({ transport: "unix", path });
  const bytes = new TextEncoder().encode(JSON.stringify({ method, params, id: 1 }));
  for (let sent = 0; sent < bytes.length;) {
    sent += await connection.write(bytes.subarray(sent));
  }
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(1 << 16);
  let text = "";
  for (;;) {
    const size = await connection.read(buffer);
    if (size === null) {
      throw new Error(`${method}: connection ended after ${text.length}`);
    }
    text += decoder.decode(buffer.subarray(0, size), { stream: true });
    if (!text.endsWith("}")) continue;
    const reply = parse(text);
    if (reply === undefined) continue;
    if (reply.error !== null) throw new Error(`${method}: ${reply.error}`);
    return reply.result ?? "";
  }
}

/** The reply, unless it is not complete yet. */
function parse(
  text: string,
): { error: string | null; result: string | null } | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
