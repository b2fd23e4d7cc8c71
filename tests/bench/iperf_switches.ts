// SPDX-License-Identifier: Apache-2.0
/**
 * The switches that `iperf.ts` puts between two hosts: this project, also as a firewall and as a
 * gateway that translates addresses, Open vSwitch's userspace datapath with and without its
 * segmentation offload, the Linux bridge, two rules of nft, and Scapy. Each forwards between `p1`
 * and `p2`.
 *
 * @module
 */
import { Child, run } from "./child.ts";
import { VethHosts } from "./veth_hosts.ts";

/**
 * Names of the switches. `upcall` polls without a pause, `upcall-naps` sleeps between polls when
 * nothing comes, `upcall-xdp` has AF_XDP ports instead of AF_PACKET ones. `firewall` and `gateway`
 * are examples, which track connections. `ovs-no-tso` and `ovs-no-tx` are `ovs`, with hosts that
 * leave no segments whole, and no checksums open either.
 */
export const SWITCHES = [
  "upcall",
  "upcall-naps",
  "upcall-xdp",
  "firewall",
  "gateway",
  "ovs",
  "ovs-tso",
  "ovs-no-tso",
  "ovs-no-tx",
  "bridge",
  "nft",
  "scapy",
] as const;
/** Name of a switch. */
export type SwitchName = (typeof SWITCHES)[number];

const SIDE = new URL("./iperf_side.ts", import.meta.url).pathname;
const SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema";
const START_SECONDS = 60;
/** What hosts of one side are seen as. */
const GATEWAY_ADDRESS = "10.199.0.99";

/** What hosts leave to the switch, as words for ethtool(8); the kernel's defaults for most. */
export function hostOffloads(name: SwitchName): string[] {
  // Scapy sends what it read, so that segments must fit and checksums must be there.
  const isPlain = name === "ovs-no-tx" || name === "scapy";
  const checksums = isPlain ? "off" : "on";
  const segments = isPlain || name === "ovs-no-tso" ? "off" : "on";
  return ["tx", checksums, "tso", segments, "gso", segments];
}

/** Starts a switch in the namespace `between`; dispose takes it away. */
export function startSwitch(
  name: SwitchName,
  between: string,
  folder: string,
): Promise<AsyncDisposable> {
  if (name === "bridge") return startBridge(between);
  if (name === "upcall") return startUpcall(between, folder, { napUs: 0 });
  if (name === "upcall-naps") return startUpcall(between, folder);
  if (name === "upcall-xdp") {
    return startUpcall(between, folder, { napUs: 0, type: "afxdp" });
  }
  if (name === "firewall") return startUpcall(between, folder, { example: [name] });
  if (name === "gateway") {
    const example = ["nat_gateway", GATEWAY_ADDRESS];
    return startUpcall(between, folder, { example });
  }
  if (name === "nft") return startNft(between);
  if (name === "scapy") return startScapy(between, folder);
  return startOpenVswitch(between, folder, name === "ovs-tso");
}

async function startBridge(between: string): Promise<AsyncDisposable> {
  const ip = (line: string): Promise<string> =>
    run("ip", ["-n", between, ...line.split(" ")]);
  // Not "br0": Open vSwitch's device of that name goes a little later than its process.
  await ip("link add linux0 type bridge");
  await ip("link set linux0 up");
  await ip("link set p1 master linux0");
  await ip("link set p2 master linux0");
  return { [Symbol.asyncDispose]: async () => void await ip("link delete linux0") };
}

/**
 * Two rules of the kernel's packet filter, which send what comes in by one device out by the other.
 */
async function startNft(between: string): Promise<AsyncDisposable> {
  const nft = async (text: string): Promise<void> => {
    const [command = "", ...args] = VethHosts.inside(between, ["nft", text]);
    await run(command, args);
  };
  const chain = (name: string, from: string, to: string): string =>
    `chain ${name} { type filter hook ingress device ${from} priority 0; fwd to ${to}; }`;
  const chains = [chain("a", "p1", "p2"), chain("b", "p2", "p1")].join("\n");
  await nft(`table netdev wire {\n${chains}\n}`);
  return { [Symbol.asyncDispose]: () => nft("delete table netdev wire") };
}

/** Python that takes every packet in and sends it out. */
async function startScapy(between: string, folder: string): Promise<AsyncDisposable> {
  const program = "from scapy.all import bridge_and_sniff\n" +
    'print("forwarding", flush=True)\n' +
    'bridge_and_sniff("p1", "p2", store=False)';
  const command = ["/usr/bin/python3", "-c", program];
  const child = inNamespace(between, command, `${folder}/scapy.log`);
  try {
    await child.until((log) => log.includes("forwarding\n") || undefined, START_SECONDS);
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
  return child;
}

function inNamespace(
  between: string,
  command: readonly string[],
  log: string,
  env: Record<string, string> = {},
): Child {
  const [first = "", ...rest] = VethHosts.inside(between, command);
  return new Child(first, rest, { log, env });
}

/** How this project is run. */
interface UpcallOptions {
  /** An example and what it is told besides, instead of two flows. */
  readonly example?: readonly string[];
  /** Type of the ports; the one for a Linux device when absent. */
  readonly type?: string;
  /** Longest nap of an idle poll thread, µs; the datapath's own choice when absent. */
  readonly napUs?: number;
}

async function startUpcall(
  between: string,
  folder: string,
  { example: [example, ...more] = [], type, napUs }: UpcallOptions = {},
): Promise<AsyncDisposable> {
  const command = [Deno.execPath(), "run", "-A", "--quiet", SIDE];
  const words = ["netdev@iperf", "p1", "p2", ...more];
  const child = example === undefined
    ? inNamespace(between, command, `${folder}/upcall.log`, {
      ...(type !== undefined && { IPERF_TYPE: type }),
      ...(napUs !== undefined && { IPERF_NAP_US: `${napUs}` }),
    })
    : inNamespace(between, [...command, ...words], `${folder}/upcall.log`, {
      IPERF_EXAMPLE: example,
      UPCALL_RUNDIR: folder,
    });
  try {
    await child.until((log) => log.includes("forwarding\n") || undefined, START_SECONDS);
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
  return child;
}

async function startOpenVswitch(
  between: string,
  folder: string,
  tso: boolean,
): Promise<AsyncDisposable> {
  await using cleanup = new AsyncDisposableStack();
  const home = await Deno.makeTempDir({ dir: folder });
  cleanup.defer(() => Deno.remove(home, { recursive: true }));
  const env = {
    OVS_RUNDIR: home,
    OVS_LOGDIR: home,
    OVS_DBDIR: home,
    OVS_SYSCONFDIR: home,
  };
  const socket = `unix:${home}/db.sock`;
  const vsctl = (line: string): Promise<string> =>
    run("ovs-vsctl", [`--db=${socket}`, "--timeout=30", ...line.split(" ")]);
  await run("ovsdb-tool", ["create", `${home}/conf.db`, SCHEMA]);
  const database = cleanup.use(
    new Child("ovsdb-server", [
      `${home}/conf.db`,
      `--remote=p${socket}`,
      `--unixctl=${home}/ovsdb.ctl`,
    ], { env, log: `${home}/ovsdb.log` }),
  );
  await database.until(() => fileExists(`${home}/db.sock`), 10);
  await vsctl("--no-wait init");
  await vsctl(`--no-wait set Open_vSwitch . other_config:userspace-tso-enable=${tso}`);
  const command = ["ovs-vswitchd", socket, `--unixctl=${home}/vswitchd.ctl`];
  const daemon = cleanup.use(inNamespace(between, command, `${home}/vswitchd.log`, env));
  await daemon.until(() => fileExists(`${home}/vswitchd.ctl`), 30);
  await vsctl("add-br br0 -- set bridge br0 datapath_type=netdev fail-mode=secure");
  await vsctl("add-port br0 p1 -- set interface p1 ofport_request=1");
  await vsctl("add-port br0 p2 -- set interface p2 ofport_request=2");
  for (const rule of ["in_port=1,actions=output:2", "in_port=2,actions=output:1"]) {
    await run("ovs-ofctl", ["add-flow", `unix:${home}/br0.mgmt`, rule]);
  }
  return cleanup.move();
}

function fileExists(path: string): true | undefined {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
