// SPDX-License-Identifier: Apache-2.0
/**
 * A host of OVN, a chassis in its words: a database of Open vSwitch, the switch daemon of this
 * project in the place of ovs-vswitchd, and ovn-controller, in a network namespace.
 *
 * @module
 */
import { listening } from "./central.ts";
import { get, Program, say, until, within } from "./programs.ts";

const SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema";
const SWITCH = new URL("../../switchd.ts", import.meta.url).pathname;
/** So long a command of Open vSwitch waits for the switch, s. */
const LIMIT_S = 60;

/** A program of a host. */
export type Part = "database" | "switch" | "controller";

/** What a host is to be. */
export interface ChassisInit {
  readonly name: string;
  readonly namespace: string;
  /** Its files: a folder that is there. */
  readonly folder: string;
  /** The southbound database. */
  readonly south: string;
  /** Device that leads to the other hosts, and its address, which tunnels begin at. */
  readonly underlay: string;
  readonly address: string;
  /** Device that leads outside, on hosts that have one. */
  readonly outside?: string;
}

/** A host. */
export class Chassis implements AsyncDisposable {
  readonly #init: ChassisInit;
  readonly #parts = new Map<Part, Program>();
  readonly #env: Readonly<Record<string, string>>;

  private constructor(init: ChassisInit) {
    this.#init = init;
    const names = ["OVS_RUNDIR", "OVN_RUNDIR", "OVS_LOGDIR", "OVN_LOGDIR"];
    const more = ["OVS_SYSCONFDIR", "OVN_SYSCONFDIR", "OVS_DBDIR"];
    this.#env = Object.fromEntries(
      [...names, ...more].map((name) => [name, init.folder]),
    );
  }

  /** Starts one. */
  static async start(init: ChassisInit): Promise<Chassis> {
    const made = new Chassis(init);
    try {
      await get(["ovsdb-tool", "create", `${init.folder}/conf.db`, SCHEMA]);
      await made.run("database");
      await made.vs("--no-wait", "init");
      await made.run("switch");
      await made.#configure();
      await made.run("controller");
      return made;
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
  }

  get name(): string {
    return this.#init.name;
  }

  get namespace(): string {
    return this.#init.namespace;
  }

  /** The folder of its sockets and logs, `OVS_RUNDIR` of tools. */
  get folder(): string {
    return this.#init.folder;
  }

  /** What ovn-controller is to know, and the bridges that it does not make itself. */
  async #configure(): Promise<void> {
    const { name, south, address, underlay, outside } = this.#init;
    const ids = {
      "system-id": name,
      hostname: name,
      "ovn-remote": south,
      "ovn-encap-type": "geneve",
      "ovn-encap-ip": address,
      "ovn-bridge-datapath-type": "netdev",
      // One that begins again leaves flows as they are until it knows what they are to be.
      "ovn-ofctrl-wait-before-clear": "4000",
      ...(outside !== undefined && { "ovn-bridge-mappings": "outside:br-ex" }),
    };
    await this.vs(
      ...["set", "Open_vSwitch", "."],
      ...Object.entries(ids).map(([key, value]) => `external_ids:${key}=${value}`),
    );
    // The underlay keeps its address: tunnels take their packets, Linux all others.
    await this.#bridge("br-phys", underlay, "fail_mode=secure");
    if (outside !== undefined) await this.#bridge("br-ex", outside);
  }

  async #bridge(name: string, device: string, ...settings: string[]): Promise<void> {
    await this.vs(
      ...["add-br", name, "--", "set", "Bridge", name, "datapath_type=netdev"],
      ...[...settings, "--", "add-port", name, device],
    );
  }

  /** Starts a part of it, and waits until that answers. */
  async run(part: Part): Promise<void> {
    const { folder, namespace } = this.#init;
    const socket = `${folder}/db.sock`;
    const words: Readonly<Record<Part, readonly string[]>> = {
      database: [
        ...["ovsdb-server", `${folder}/conf.db`, `--remote=punix:${socket}`],
        ...["--no-chdir", `--unixctl=${folder}/db.ctl`, "-vsyslog:off"],
      ],
      switch: [
        ...[Deno.execPath(), "run", "-A", "--quiet", "--no-check", SWITCH],
        ...[`unix:${socket}`, `--unixctl=${folder}/switch.ctl`],
      ],
      controller: [
        ...["ovn-controller", `unix:${socket}`, "--no-chdir", "-vsyslog:off"],
      ],
    };
    const log = `${folder}/${part}.log`;
    this.#parts.set(part, new Program({ namespace, log, env: this.#env }, words[part]));
    if (part === "database") await listening(socket);
    if (part === "switch") {
      await until(`the switch of ${this.name} to be ready`, async () => {
        const { code } = await say([
          "ovs-appctl",
          "-t",
          `${folder}/switch.ctl`,
          "version",
        ]);
        return code === 0;
      }, { why: () => this.log("switch") });
    }
  }

  /** Ends a part of it. */
  async stop(part: Part, signal?: Deno.Signal): Promise<void> {
    const program = this.#parts.get(part);
    this.#parts.delete(part);
    await program?.end(signal);
  }

  /** What a part of it said, the last of it. */
  async log(part: Part): Promise<string> {
    const text = await Deno.readTextFile(`${this.folder}/${part}.log`).catch(() => "");
    return text.slice(-4000);
  }

  /** Runs ovs-vsctl; what it printed. */
  vs(...words: readonly string[]): Promise<string> {
    const all = [`--db=unix:${this.folder}/db.sock`, `--timeout=${LIMIT_S}`, ...words];
    return get(["ovs-vsctl", ...all], this.#env);
  }

  /** Runs a command of the switch's; what it printed. */
  appctl(...words: readonly string[]): Promise<string> {
    return get(["ovs-appctl", "-t", `${this.folder}/switch.ctl`, ...words]);
  }

  /** Flows of the bridge of OVN, without what changes by itself, sorted. */
  async flows(): Promise<string[]> {
    const text = await get(
      ["ovs-ofctl", "--no-stats", "dump-flows", "br-int"],
      this.#env,
    );
    return text.split("\n").filter((line) => line.includes("actions=")).map((line) =>
      line.trim()
    ).sort();
  }

  /** Has a device of the namespace be a port of a logical switch. */
  async bind(device: string, port: string): Promise<void> {
    await this.vs(
      ...["add-port", "br-int", device, "--", "set", "Interface", device],
      `external_ids:iface-id=${port}`,
    );
  }

  /** Runs a program on this host; what it printed. */
  get(...words: readonly string[]): Promise<string> {
    return get(within(this.namespace, words), this.#env);
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const part of ["controller", "switch", "database"] as const) {
      await this.stop(part);
    }
  }
}
