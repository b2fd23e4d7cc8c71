// SPDX-License-Identifier: Apache-2.0
/**
 * Open vSwitch with DPDK, as the distribution ships it or built for this processor: its own
 * database, sockets and network namespace in a folder of its own, so that nothing of the machine's
 * is touched.
 *
 * @module
 */
import { applyMask } from "./prefix.ts";
import { Child, delay, run } from "./child.ts";
import { CONTROL_CORE, ealOptions, POLL_CORE } from "./machine.ts";
import { hasVectors, nativeVswitchd, VECTORS } from "./open_vswitch_native.ts";
import { FLOW_LIMIT, type Program, type Setting } from "./program.ts";
import type { FlowText } from "./scenario.ts";
import { TUNNEL_PORT, type TunnelSpec } from "./tunnelled.ts";

const SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema";
const VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";
const DATAPATH = "netdev@ovs-netdev";
/** It waits for its ports' memory. */
const START_SECONDS = 30;
/** Long enough that no flow idles away while another program is measured. */
const MAX_IDLE_MS = 3_600_000;
/** It ranks its subtables by use once a second, and fills its caches by chance. */
const RANKING_MS = 4_000;

/**
 * Starts Open vSwitch with its signature-match cache on or off, as shipped or built for this
 * processor.
 */
export async function startOpenVswitch(
  setting: Setting,
  options: { readonly smc: boolean; readonly native?: boolean },
): Promise<Program> {
  const switching = new OpenVswitch(setting);
  try {
    await switching.start(options);
  } catch (error) {
    await switching[Symbol.asyncDispose]();
    throw error;
  }
  return switching;
}

class OpenVswitch implements Program {
  readonly #setting: Setting;
  readonly #env: Record<string, string>;
  #database: Child | undefined;
  #daemon: Child | undefined;
  #paused = false;

  constructor(setting: Setting) {
    this.#setting = setting;
    this.#env = {
      OVS_RUNDIR: setting.folder,
      OVS_LOGDIR: setting.folder,
      OVS_DBDIR: setting.folder,
      OVS_SYSCONFDIR: setting.folder,
    };
  }

  get child(): Child {
    if (this.#daemon === undefined) throw new Error("Open vSwitch was not started");
    return this.#daemon;
  }

  async start(
    { smc, native = false }: { smc: boolean; native?: boolean },
  ): Promise<void> {
    const daemon = native ? await nativeVswitchd() : VSWITCHD;
    const { folder, netGen, hugepages, prepared } = this.#setting;
    const file = `${folder}/conf.db`;
    await run("ovsdb-tool", ["create", file, SCHEMA]);
    const socket = `${folder}/db.sock`;
    this.#database = new Child("ovsdb-server", [
      file,
      `--remote=punix:${socket}`,
      `--unixctl=${folder}/ovsdb.ctl`,
    ], { env: this.#env, log: `${folder}/ovsdb.log` });
    await this.#database.until(() => exists(socket) || undefined, 10);
    await this.#vsctl(["--no-wait", "init"]);
    const config = {
      "dpdk-init": "true",
      "dpdk-lcore-mask": hex(CONTROL_CORE),
      "pmd-cpu-mask": hex(POLL_CORE),
      // It adds --in-memory itself, which excludes --no-huge, unless it sees --legacy-mem.
      "dpdk-extra": `"${
        [...ealOptions(hugepages), ...(hugepages ? [] : ["--legacy-mem"])].join(" ")
      }"`,
      "flow-limit": FLOW_LIMIT,
      "max-idle": MAX_IDLE_MS,
      "smc-enable": smc,
    };
    await this.#vsctl([
      "--no-wait",
      "set",
      "Open_vSwitch",
      ".",
      ...Object.entries(config).map(([key, value]) => `other_config:${key}=${value}`),
    ]);
    this.#daemon = new Child("unshare", [
      "-n",
      daemon,
      `unix:${socket}`,
      `--unixctl=${folder}/vswitchd.ctl`,
      "-vconsole:info",
    ], { env: { ...this.#env, LD_PRELOAD: netGen }, log: `${folder}/vswitchd.log` });
    await this.#daemon.until(() => exists(`${folder}/vswitchd.ctl`) || undefined, 30);
    await this.#vsctl(
      "add-br br0 -- set bridge br0 datapath_type=netdev fail-mode=secure".split(" "),
    );
    const rules = `${folder}/rules`;
    await Deno.writeTextFile(rules, prepared.rules.join("\n") + "\n");
    const management = `unix:${folder}/br0.mgmt`;
    await run("ovs-ofctl", ["-O", "OpenFlow13", "add-flows", management, rules]);
    await this.#appctl("upcall/set-flow-limit", String(FLOW_LIMIT));
    const { maxConnections } = prepared.scenario;
    if (maxConnections !== undefined) {
      await this.#appctl("dpctl/ct-set-maxconns", DATAPATH, String(maxConnections));
    }
    await this.#addPort(1, this.#setting.receiver);
    for (const [i, sender] of this.#setting.senders.entries()) {
      await this.#addPort(2 + i, sender);
    }
    if (this.#setting.attacker !== undefined) {
      await this.#addPort(3, this.#setting.attacker);
    }
    const { tunnel } = prepared.scenario;
    if (tunnel !== undefined) await this.#addTunnel(tunnel);
    // Only now is there a poll thread, of which these commands are.
    if (native && await hasVectors()) {
      for (const command of VECTORS) await this.#appctl(...command);
    }
  }

  /** Waits until every flow of the scenario was set up by its first packet, and compares them. */
  async settle(): Promise<number> {
    const { megaflows: wanted, attack } = this.#setting.prepared;
    const deadline = performance.now() + 60_000;
    let count = 0;
    while (performance.now() < deadline) {
      count = await this.#countFlows();
      if (count >= wanted.length + (attack?.flows.length ?? 0)) break;
      await delay(100);
    }
    // No one must look at the flows while they are measured, least of all expire them.
    await this.#pauseRevalidators(true);
    const found = await this.#appctl("dpctl/dump-flows", DATAPATH);
    const ports = await this.#portNumbers();
    // What an attack makes of its rules is Open vSwitch's own affair, and so is what the host says
    // by its own port.
    const ours = found.split("\n").filter((line) =>
      !["0", "3"].includes(inPort(line, ports) ?? "")
    );
    compareFlows(wanted, ours.join("\n"), ports);
    await delay(RANKING_MS);
    return count;
  }

  async flush(): Promise<void> {
    await this.#pauseRevalidators(false);
    // Its notes on flows (ukeys) must go with the flows, or set-ups become slower round by round.
    await this.#appctl("revalidator/purge");
    await this.#appctl("dpctl/del-flows", DATAPATH);
    await this.#appctl("upcall/set-flow-limit", String(FLOW_LIMIT));
  }

  /** Stopped with the whole process, revalidators would take the time for their own slowness. */
  rest(): Promise<void> {
    return this.#pauseRevalidators(true);
  }

  /** As its poll threads count them, from its start on; below the flow limit each is a new flow. */
  async setUps(): Promise<number> {
    const text = await this.#appctl("dpif-netdev/pmd-stats-show");
    const counts = [...text.matchAll(/miss with success upcall: (\d+)/g)];
    if (counts.length === 0) {
      throw new Error(`pmd-stats-show counts no upcalls:\n${text}`);
    }
    return counts.reduce((sum, [, count]) => sum + Number(count), 0);
  }

  /** Open vSwitch 3.1 takes a datapath named alone for a tuple. */
  async forget(): Promise<void> {
    await this.#appctl("dpctl/flush-conntrack");
  }

  async connections(): Promise<number> {
    return Number(await this.#appctl("dpctl/ct-get-nconns", DATAPATH));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon?.[Symbol.asyncDispose]();
    await this.#database?.[Symbol.asyncDispose]();
  }

  async #addPort(no: number, devargs: string): Promise<void> {
    await this.#vsctl([
      ...`add-port br0 p${no} -- set interface p${no} type=dpdk ofport_request=${no}`
        .split(" "),
      `options:dpdk-devargs="${devargs}"`,
    ]);
    const error = await this.#vsctl(["get", "interface", `p${no}`, "error"]);
    if (error.trim() !== "[]") {
      throw new Error(`Open vSwitch port ${devargs}: ${error.trim()}`);
    }
  }

  /**
   * The bridge itself has this end's addresses: packets to it for the tunnel end there, and it
   * sends those of the tunnel.
   */
  async #addTunnel({ kind, vni, local, localMac, remote, remoteMac }: TunnelSpec) {
    await this.#vsctl(["set", "bridge", "br0", `other-config:hwaddr="${localMac}"`]);
    for (const words of [`address add ${local}/24 dev br0`, "link set br0 up"]) {
      const inside = ["-t", `${this.child.pid}`, "-n", "ip"];
      await run("nsenter", [...inside, ...words.split(" ")]);
    }
    await this.#vsctl([
      ..."add-port br0 tunnel -- set interface tunnel".split(" "),
      ...[`type=${kind}`, `ofport_request=${TUNNEL_PORT}`],
      ...[`options:remote_ip=${remote}`, `options:key=${vni}`],
    ]);
    await this.#appctl("tnl/neigh/set", "br0", remote, remoteMac);
    const found = async () =>
      /dev br0/.test(await this.#appctl("ovs/route/lookup", local));
    const deadline = performance.now() + START_SECONDS * 1000;
    while (!await found().catch(() => false)) {
      if (performance.now() > deadline) throw new Error(`no route to ${local}`);
      await delay(50);
    }
  }

  /** Open vSwitch 3.1 hangs when revalidators are to go on that were not paused. */
  async #pauseRevalidators(pause: boolean): Promise<void> {
    if (pause === this.#paused) return;
    await this.#appctl(pause ? "revalidator/pause" : "revalidator/resume");
    this.#paused = pause;
  }

  async #countFlows(): Promise<number> {
    const text = await this.#appctl("dpctl/show", DATAPATH);
    const count = /flows: (\d+)/.exec(text)?.[1];
    if (count === undefined) throw new Error(`dpctl/show has no flow count:\n${text}`);
    return Number(count);
  }

  /** What the datapath's port numbers are in the scenario: Open vSwitch chooses its own. */
  async #portNumbers(): Promise<ReadonlyMap<string, string>> {
    const text = await this.#appctl("dpctl/show", DATAPATH);
    const names = [...text.matchAll(/port (\d+): (\S+) /g)];
    const ours = (name: string): string | undefined => {
      if (name === "br0") return "0";
      if (/^\w+_sys_\d+$/.test(name)) return `${TUNNEL_PORT}`;
      return /^p(\d+)$/.exec(name)?.[1];
    };
    return new Map(names.flatMap(([, theirs = "", name = ""]) => {
      const no = ours(name);
      return no === undefined ? [] : [[theirs, no]];
    }));
  }

  async #vsctl(args: readonly string[]): Promise<string> {
    const database = `--db=unix:${this.#setting.folder}/db.sock`;
    try {
      return await run("ovs-vsctl", [database, `--timeout=${START_SECONDS}`, ...args]);
    } catch (error) {
      // A daemon that has died says better why.
      if (this.#daemon?.ended) await this.#daemon.until(() => undefined, 0);
      throw error;
    }
  }

  #appctl(...args: string[]): Promise<string> {
    const target = `${this.#setting.folder}/vswitchd.ctl`;
    return run("ovs-appctl", ["-t", target, ...args]);
  }
}

/**
 * Throws unless the flows that dpctl printed are exactly those wanted. `ports` has the numbers that
 * the scenario gives to the datapath's ports.
 */
export function compareFlows(
  wanted: readonly FlowText[],
  printed: string,
  ports: ReadonlyMap<string, string>,
): void {
  const lines = printed.split("\n").filter((line) => line.includes("actions:"));
  const found = new Set(lines.map((line) => plainFlow(line, ports)));
  const missing: string[] = [];
  for (const flow of wanted) {
    const text = `${flow.key} ${flow.actions}`;
    if (!found.delete(text)) missing.push(text);
  }
  if (missing.length === 0 && found.size === 0) return;
  const some = (name: string, list: readonly string[]): string =>
    `${list.length} ${name}${list.slice(0, 3).map((text) => `\n  ${text}`).join("")}`;
  throw new Error(
    "Open vSwitch made other megaflows than the scenario has: " +
      `${some("missing", missing)}\n${some("extra", [...found])}`,
  );
}

function inPort(line: string, ports: ReadonlyMap<string, string>): string | undefined {
  return ports.get(/in_port\((\d+)\)/.exec(line)?.[1] ?? "");
}

/** A line of dump-flows without statistics, and without the packet type that is always matched. */
function plainFlow(line: string, ports: ReadonlyMap<string, string>): string {
  const port = (no: string): string => ports.get(no) ?? no;
  const key = (line.split(", packets:")[0] ?? "")
    .replace("packet_type(ns=0,id=0),", "")
    .replace(/in_port\((\d+)\)/, (_, no: string) => `in_port(${port(no)})`)
    // What is printed is the packet that made the flow: bits outside the mask are anything.
    .replace(
      /([\da-f.:]+)\/([\da-fx.:]+)/g,
      (_, value: string, mask: string) => `${applyMask(value, mask)}/${mask}`,
    );
  const actions = (/actions:(.*)$/.exec(line)?.[1] ?? "")
    .replace(/(^|,)(\d+)$/, (_, before: string, no: string) => before + port(no))
    .replace(
      /(tnl_port|out_port|tnl_pop)\((\d+)\)/g,
      (_, of, no) => `${of}(${port(no)})`,
    );
  return `${key} ${actions}`;
}

function hex(core: number): string {
  return `0x${(1 << core).toString(16)}`;
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
