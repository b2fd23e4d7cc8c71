// SPDX-License-Identifier: Apache-2.0
/**
 * Builds a user-mode Linux kernel with conntrack zones, which Debian's own lacks, and keeps it in
 * the cache.
 *
 *     deno run -A tests/support/uml_kernel.ts
 *
 * Takes 6 to 10 minutes and 2 GB of disk, once.  The source is Debian's package linux-source-6.1.
 *
 * @module
 */
import { run, tryRun } from "./command.ts";

const sourcePackage = "linux-source-6.1";

/** What is built in: there are no modules, so that the guest needs to load none. */
const options = `
  64BIT HOSTFS BINFMT_SCRIPT MAGIC_SYSRQ SYSVIPC POSIX_MQUEUE HIGH_RES_TIMERS CGROUPS NAMESPACES UTS_NS IPC_NS PID_NS
  NET_NS USER_NS BPF_SYSCALL EPOLL FUTEX EVENTFD TIMERFD SIGNALFD AIO MEMFD_CREATE DEVTMPFS DEVTMPFS_MOUNT TMPFS
  TMPFS_XATTR OVERLAY_FS UNIX98_PTYS STDERR_CONSOLE NULL_CHAN KALLSYMS PRINTK BLOCK
  NET PACKET UNIX UNIX_DIAG INET INET_DIAG IP_MULTICAST IP_ADVANCED_ROUTER IP_MULTIPLE_TABLES NET_IPGRE_DEMUX NET_IPGRE
  NET_UDP_TUNNEL IPV6 IPV6_GRE IPV6_TUNNEL NETDEVICES NET_CORE VETH DUMMY TUN VXLAN GENEVE BRIDGE VLAN_8021Q MPLS NET_NSH
  PSAMPLE
  NETFILTER NETFILTER_ADVANCED NETFILTER_NETLINK NF_CONNTRACK NF_CONNTRACK_MARK NF_CONNTRACK_ZONES NF_CONNTRACK_EVENTS
  NF_CONNTRACK_TIMEOUT NF_CONNTRACK_TIMESTAMP NF_CONNTRACK_LABELS NF_CONNTRACK_PROCFS NF_CT_PROTO_SCTP NF_CONNTRACK_FTP
  NF_CONNTRACK_TFTP NF_CT_NETLINK NF_CT_NETLINK_TIMEOUT NF_NAT NF_NAT_FTP NF_NAT_TFTP NETFILTER_XTABLES
  NETFILTER_CONNCOUNT NETFILTER_XT_MATCH_CONNLIMIT OPENVSWITCH OPENVSWITCH_GRE OPENVSWITCH_VXLAN OPENVSWITCH_GENEVE
  NET_SCHED NET_SCH_INGRESS NET_SCH_HTB NET_SCH_NETEM NET_CLS NET_CLS_MATCHALL NET_CLS_FLOWER NET_CLS_ACT NET_ACT_POLICE
`.trim().split(/\s+/);
const off = "MODULES DEBUG_INFO STATIC_LINK".split(" ");

function fragment(): string {
  return [
    ...options.map((name) => `CONFIG_${name}=y`),
    ...off.map((name) => `# CONFIG_${name} is not set`),
    "CONFIG_DEBUG_INFO_NONE=y",
    "",
  ].join("\n");
}

async function cacheFolder(): Promise<string> {
  const bytes = new TextEncoder().encode(sourcePackage + fragment());
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const home = Deno.env.get("HOME") ?? "/root";
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? `${home}/.cache`;
  return `${cache}/upcall/guest-${digest.toHex().slice(0, 16)}`;
}

/** The kernel that was built, or undefined where none was. */
export async function builtKernel(): Promise<string | undefined> {
  const path = `${await cacheFolder()}/linux`;
  try {
    await Deno.stat(path);
    return path;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Builds the kernel, unless it is there, and gives its path. `jobs` compilers run at a time. */
export async function buildKernel(jobs: number): Promise<string> {
  const built = await builtKernel();
  if (built !== undefined) return built;
  const folder = await cacheFolder();
  const work = await Deno.makeTempDir({ prefix: "upcall-kernel-" });
  try {
    const sh = (script: string) => run("sh", "-ec", `cd ${work}\n${script}`);
    await sh(
      `apt-get download ${sourcePackage} && dpkg-deb -x ${sourcePackage}_*.deb deb`,
    );
    await sh(
      "mkdir src && tar -C src --strip-components=1 -xf deb/usr/src/*.tar.xz && rm -r deb",
    );
    await Deno.writeTextFile(`${work}/fragment`, fragment());
    await sh(`cd src
      make ARCH=um defconfig
      ./scripts/kconfig/merge_config.sh -m .config ../fragment
      make ARCH=um olddefconfig`);
    const config = await Deno.readTextFile(`${work}/src/.config`);
    for (
      const name of [
        "OPENVSWITCH",
        "NF_CONNTRACK_ZONES",
        "NETFILTER_CONNCOUNT",
        "OVERLAY_FS",
        "HOSTFS",
      ]
    ) {
      if (!config.includes(`CONFIG_${name}=y\n`)) {
        throw new Error(`No ${name} in .config`);
      }
    }
    await sh(
      `cd src && nice make ARCH=um -j${jobs} linux >../log 2>&1 || { tail -30 ../log >&2; exit 1; }`,
    );
    await Deno.mkdir(folder, { recursive: true });
    await sh(
      `strip -o ${folder}/linux.new src/linux && mv ${folder}/linux.new ${folder}/linux`,
    );
    return `${folder}/linux`;
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

if (import.meta.main) {
  const needed = "make gcc flex bison bc xz-utils libelf-dev".split(" ");
  if ((await tryRun("dpkg", "-s", ...needed)).code !== 0) {
    console.error(`Needed first: apt-get install ${needed.join(" ")}`);
    Deno.exit(1);
  }
  const started = performance.now();
  const path = await buildKernel(Number(Deno.args[0] ?? navigator.hardwareConcurrency));
  console.log(`${path} (${Math.round((performance.now() - started) / 1000)} s)`);
}
