// SPDX-License-Identifier: Apache-2.0
/**
 * The checks of `dpctl doctor`: what a machine needs to run a datapath, one function a check.
 *
 * A check reads, and changes nothing.  A finding that is not `ok` gives one command that mends it.
 *
 * @module
 */
import type { Machine } from "./machine.ts";

/** `fail`: datapaths of `concerns` cannot run. `warn`: they run, worse than they could. */
export type FindingState = "ok" | "warn" | "fail";

/** What a check found. */
export interface Finding {
  /** Name of the check. */
  readonly id: string;
  readonly state: FindingState;
  /** What is so. */
  readonly found: string;
  /** Why it matters. */
  readonly why: string;
  /** A command that mends it, to be pasted as it is. */
  readonly fix?: string;
  /** How to make it last over a restart. */
  readonly persist?: string;
}

/** A check of the doctor. */
export type Check = (machine: Machine) => Finding;

const libraryFolders = [
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib/aarch64-linux-gnu",
  "/usr/lib64",
  "/usr/lib",
  "/usr/local/lib",
];
const capNetAdmin = 12n;
const capNetRaw = 13n;
const netlinkBuffer = 4 << 20;

function finding(id: string, why: string): {
  ok(found: string): Finding;
  warn(found: string, fix?: string, persist?: string): Finding;
  fail(found: string, fix?: string, persist?: string): Finding;
} {
  const make =
    (state: FindingState) => (found: string, fix?: string, persist?: string) => ({
      id,
      state,
      found,
      why,
      ...(fix !== undefined && { fix }),
      ...(persist !== undefined && { persist }),
    });
  return { ok: make("ok"), warn: make("warn"), fail: make("fail") };
}

function findLibrary(machine: Machine, pattern: RegExp): string | undefined {
  for (const folder of libraryFolders) {
    const name = machine.list(folder).filter((name) => pattern.test(name)).sort().at(-1);
    if (name !== undefined) return `${folder}/${name}`;
  }
  return undefined;
}

function capability(machine: Machine, bit: bigint): boolean {
  const hex = machine.read("/proc/self/status")?.match(/^CapEff:\s*([0-9a-f]+)/m)?.[1];
  return hex !== undefined && ((BigInt(`0x${hex}`) >> bit) & 1n) === 1n;
}

function number(machine: Machine, path: string): number | undefined {
  const text = machine.read(path)?.trim();
  return text === undefined || !/^\d+$/.test(text) ? undefined : Number(text);
}

/** Packages by the way to install them: for the library to be compiled, and for netlink. */
const installers: readonly (readonly [
  system: RegExp,
  commands: { readonly dpdk: string; readonly libmnl: string },
])[] = [
  [/\b(fedora|rhel|centos)\b/, {
    dpdk: "sudo dnf install gcc dpdk-devel pkgconf-pkg-config",
    libmnl: "sudo dnf install libmnl",
  }],
  [/\barch\b/, {
    dpdk: "sudo pacman -S gcc dpdk pkgconf",
    libmnl: "sudo pacman -S libmnl",
  }],
  [/(?:)/, { // Debian, Ubuntu, and what is not known.
    dpdk: "sudo apt-get install gcc libdpdk-dev pkg-config",
    libmnl: "sudo apt-get install libmnl0",
  }],
];

function installCommand(machine: Machine, what: "dpdk" | "libmnl"): string {
  const release = machine.read("/etc/os-release") ?? "";
  const system = [...release.matchAll(/^(?:ID|ID_LIKE)="?([^"\n]*)/gm)]
    .map(([, words]) => words).join(" ");
  return installers.find(([pattern]) => pattern.test(system))?.[1][what] ?? "";
}

const deno: Check = (machine) => {
  const say = finding(
    "deno",
    "C sources travel as text imports, which Deno has since 2.8",
  );
  const [major = 0, minor = 0] = machine.denoVersion.split(".").map(Number);
  if (major < 2 || (major === 2 && minor < 8)) {
    return say.fail(`Deno is ${machine.denoVersion}`, "deno upgrade");
  }
  if (!machine.ffi) {
    return say.fail("foreign functions are not allowed", "deno run -A dpctl.ts doctor");
  }
  return say.ok(`Deno ${machine.denoVersion}, foreign functions allowed`);
};

const cpu: Check = (machine) => {
  const say = finding(
    "cpu",
    "DPDK of Debian needs SSE4.2; vector units make lookups faster",
  );
  if (machine.arch !== "x86_64") {
    return say.warn(`architecture is ${machine.arch}: built, but never tested there`);
  }
  const flags = new Set(
    machine.read("/proc/cpuinfo")?.match(/^flags\s*:\s*(.*)$/m)?.[1]?.split(" "),
  );
  if (!flags.has("sse4_2")) return say.fail("the processor lacks SSE4.2");
  if (machine.list("/lib").some((name) => name.startsWith("ld-musl"))) {
    return say.fail("libc is musl: DPDK's packages and Deno need glibc");
  }
  if (flags.has("avx512vbmi") && flags.has("vaes")) return say.ok("x86_64 with AVX-512");
  return flags.has("avx2")
    ? say.ok("x86_64 with AVX2")
    : say.warn("x86_64 without AVX2: lookups are scalar");
};

const libmnl: Check = (machine) => {
  const say = finding("libmnl", "the system provider talks netlink through it");
  const path = findLibrary(machine, /^libmnl\.so\.0/);
  return path === undefined
    ? say.fail("libmnl is not installed", installCommand(machine, "libmnl"))
    : say.ok(path);
};

const openvswitch: Check = (machine) => {
  const say = finding(
    "openvswitch",
    "the system provider is the kernel's openvswitch datapath",
  );
  if (machine.exists("/sys/module/openvswitch")) {
    return say.ok("the kernel module is loaded");
  }
  const release = machine.read("/proc/sys/kernel/osrelease")?.trim() ?? "";
  const builtFor = machine.exists(
    `/lib/modules/${release}/kernel/net/openvswitch/openvswitch.ko`,
  ) || machine.list(`/lib/modules/${release}/kernel/net/openvswitch`).length > 0;
  if (builtFor) {
    return say.warn("the kernel module is not loaded", "sudo modprobe openvswitch");
  }
  return say.warn(
    /microsoft/i.test(release)
      ? "the kernel of WSL2 is built without openvswitch: use netdev datapaths"
      : `the kernel (${release}) is built without openvswitch: use netdev datapaths`,
  );
};

const privileges: Check = (machine) => {
  const say = finding(
    "privileges",
    "kernel datapaths and ports on Linux devices need CAP_NET_ADMIN and CAP_NET_RAW",
  );
  const missing = [
    ...(capability(machine, capNetAdmin) ? [] : ["CAP_NET_ADMIN"]),
    ...(capability(machine, capNetRaw) ? [] : ["CAP_NET_RAW"]),
  ];
  return missing.length === 0
    ? say.ok("CAP_NET_ADMIN and CAP_NET_RAW")
    : say.warn(`${missing.join(" and ")} missing`, "unshare -Urn $SHELL");
};

const dpdk: Check = (machine) => {
  const say = finding("dpdk", "netdev datapaths run on DPDK, compiled once with cc");
  const install = installCommand(machine, "dpdk");
  const path = findLibrary(machine, /^librte_eal\.so\.\d+$/);
  if (path === undefined) return say.fail("DPDK is not installed", install);
  const folder = path.slice(0, path.lastIndexOf("/"));
  const version = machine.read(`${folder}/pkgconfig/libdpdk.pc`)
    ?.match(/^Version:\s*(\S+)/m)?.[1];
  if (version === undefined) return say.fail("DPDK's headers are not installed", install);
  for (const tool of ["cc", "pkg-config"]) {
    if (
      !["/usr/local/bin", "/usr/bin", "/bin"].some((d) => machine.exists(`${d}/${tool}`))
    ) {
      return say.fail(`${tool} is not installed`, install);
    }
  }
  return version.startsWith("22.11")
    ? say.ok(`DPDK ${version}`)
    : say.warn(`DPDK ${version}: only 22.11 is tested`);
};

const hugepages: Check = (machine) => {
  const say = finding("hugepages", "packet buffers on small pages cost TLB misses");
  const stale = machine.list("/dev/hugepages").filter((name) =>
    name.startsWith("rtemap_")
  );
  if (stale.length > 0) {
    return say.warn(
      `${stale.length} hugepages are held by files of a program that was killed`,
      "sudo rm /dev/hugepages/rtemap_*",
    );
  }
  const free = number(
    machine,
    "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
  );
  const setting = machine.read("/sys/kernel/mm/transparent_hugepage/enabled") ?? "";
  const instead = /\[(always|madvise)\]/.test(setting)
    ? "transparent ones are used, which cost a tenth of the rate"
    : "small pages are used, which cost up to half of the rate";
  return (free ?? 0) >= 128 ? say.ok(`${free} free pages of 2 MiB`) : say.warn(
    `${free ?? 0} free pages of 2 MiB: ${instead}`,
    "echo 512 | sudo tee /proc/sys/vm/nr_hugepages",
    "echo vm.nr_hugepages=512 | sudo tee /etc/sysctl.d/80-upcall.conf",
  );
};

const limits: Check = (machine) => {
  const say = finding(
    "limits",
    "ports take file descriptors, AF_XDP takes locked memory",
  );
  const text = machine.read("/proc/self/limits") ?? "";
  const soft = (name: string): number => {
    const value = text.match(new RegExp(`^${name}\\s+(\\S+)`, "m"))?.[1];
    return value === undefined || value === "unlimited" ? Infinity : Number(value);
  };
  if (soft("Max open files") < 1024) {
    return say.warn(`open files: ${soft("Max open files")}`, "ulimit -n 4096");
  }
  if (soft("Max locked memory") < 8 << 20 && !capability(machine, 24n)) {
    return say.warn(
      `locked memory: ${soft("Max locked memory")} bytes`,
      "ulimit -l unlimited",
    );
  }
  return say.ok("file descriptors and locked memory suffice");
};

const iommu: Check = (machine) => {
  const say = finding("iommu", "a PCI network card needs vfio, and vfio needs an IOMMU");
  if (!machine.exists("/dev/vfio/vfio")) {
    return say.warn(
      "vfio is not loaded: no PCI card can be a port, all else can",
      "sudo modprobe vfio-pci",
    );
  }
  if (machine.list("/sys/kernel/iommu_groups").length > 0) {
    return say.ok("vfio with an IOMMU");
  }
  const unsafe = machine.read("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
  return unsafe?.trim() === "Y" ? say.ok("vfio without IOMMU (unsafe mode)") : say.warn(
    "vfio without an IOMMU",
    "echo Y | sudo tee /sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
  );
};

const cards: Check = (machine) => {
  const say = finding(
    "cards",
    "a card that is bound to DPDK is lost to Linux, with your remote login",
  );
  const route = machine.read("/proc/net/route") ?? "";
  const uplink = route.split("\n").map((line) => line.split("\t"))
    .find(([, destination]) => destination === "00000000")?.[0];
  const found = machine.list("/sys/bus/pci/devices").flatMap((address) => {
    const at = `/sys/bus/pci/devices/${address}`;
    if (!machine.read(`${at}/class`)?.startsWith("0x0200")) return [];
    const devices = machine.list(`${at}/net`);
    const active = uplink !== undefined && devices.includes(uplink);
    const driver = machine.link(`${at}/driver`) ?? "no driver";
    return [
      `${address} ${driver}${active ? ` (ACTIVE as ${uplink}: leave it alone)` : ""}`,
    ];
  });
  return say.ok(found.length === 0 ? "no PCI network card" : found.join("; "));
};

const cores: Check = (machine) => {
  const say = finding("cores", "a poll thread wants a core of its own");
  const online = machine.read("/sys/devices/system/cpu/online")?.trim() ?? "0";
  const isolated = machine.read("/sys/devices/system/cpu/isolated")?.trim();
  return online === "0"
    ? say.warn("one core: the poll thread and JavaScript share it")
    : say.ok(`cores ${online}${isolated ? `, isolated ${isolated}` : ""}`);
};

const owner: Check = (machine) => {
  const say = finding(
    "owner",
    "two programs that serve one kernel datapath take each other's upcalls",
  );
  const pid = machine.list("/proc").find((name) =>
    /^\d+$/.test(name) && machine.read(`/proc/${name}/comm`)?.startsWith("ovs-vswitchd")
  );
  return pid === undefined ? say.ok("no ovs-vswitchd runs") : say.warn(
    `ovs-vswitchd runs (pid ${pid}) and owns its datapaths`,
    "sudo systemctl stop openvswitch-switch",
  );
};

const conntrack: Check = (machine) => {
  const say = finding("conntrack", "ct() actions of kernel datapaths use nf_conntrack");
  return machine.exists("/proc/sys/net/netfilter/nf_conntrack_max") ||
      machine.exists("/sys/module/nf_conntrack")
    ? say.ok("nf_conntrack is there")
    : say.warn("nf_conntrack is not loaded", "sudo modprobe nf_conntrack");
};

const netlinkMemory: Check = (machine) => {
  const say = finding(
    "netlink-memory",
    "upcalls wait in socket buffers; small ones overflow in a burst",
  );
  const max = number(machine, "/proc/sys/net/core/rmem_max");
  return capability(machine, capNetAdmin) || (max ?? 0) >= netlinkBuffer
    ? say.ok("socket buffers of 4 MiB are allowed")
    : say.warn(
      `socket buffers are limited to ${max ?? "?"} bytes`,
      `echo ${netlinkBuffer} | sudo tee /proc/sys/net/core/rmem_max`,
      `echo net.core.rmem_max=${netlinkBuffer} | sudo tee /etc/sysctl.d/80-upcall-netlink.conf`,
    );
};

const sudo: Check = (machine) => {
  const say = finding(
    "sudo",
    "sudo changes PATH and HOME: deno is not found, or compiles everything anew",
  );
  if (machine.env("SUDO_USER") === undefined) return say.ok("not run through sudo");
  return machine.env("DENO_DIR") === undefined
    ? say.warn(
      "run through sudo without DENO_DIR: modules and the datapath are cached for root again",
      'sudo env "PATH=$PATH" "DENO_DIR=$HOME/.cache/deno" deno run -A dpctl.ts doctor',
    )
    : say.ok("run through sudo with DENO_DIR kept");
};

const clock: Check = (machine) => {
  const say = finding(
    "clock",
    "a slow clock source makes every time stamp a system call",
  );
  const name = machine
    .read("/sys/devices/system/clocksource/clocksource0/current_clocksource")?.trim();
  return name === undefined || name === "tsc" || name === "kvm-clock" ||
      name === "arch_sys_counter"
    ? say.ok(`clock source ${name ?? "unknown"}`)
    : say.warn(
      `clock source ${name}`,
      "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource",
    );
};

/** Every check, in the order in which their findings are shown. */
export const checks: readonly Check[] = [
  deno,
  cpu,
  libmnl,
  openvswitch,
  privileges,
  dpdk,
  hugepages,
  limits,
  iommu,
  cards,
  cores,
  owner,
  conntrack,
  netlinkMemory,
  sudo,
  clock,
];
