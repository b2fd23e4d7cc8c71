// SPDX-License-Identifier: Apache-2.0
/**
 * What is compiled and how: which files are sources, and the one table of flags. The flags
 * enter the name of the cached library, so a change of them is a new build.
 *
 * @module
 */

/** Given to every unit, before what `pkg-config --cflags libdpdk` says. */
export const compileFlags: readonly string[] = [
  "-std=gnu11",
  "-O3",
  "-g0",
  "-pipe",
  "-fPIC",
  "-fvisibility=hidden",
  "-fno-strict-aliasing",
  "-fno-semantic-interposition",
];

/**
 * Given to every unit after it: libdpdk's own flags contain `-march=corei7`, and the last
 * `-march` wins.
 */
export const machineFlags: readonly string[] = ["-march=native"];

/**
 * Given instead for a library that other machines of the architecture shall use. AES is not in
 * x86-64-v2, but hashes are the same in all builds of the lookup, so all have it or none; a
 * processor without it (before 2010) is told so when a datapath is opened.
 */
export const portableFlags: {
  readonly [Arch in typeof Deno.build.arch]?: readonly string[];
} = {
  x86_64: ["-march=x86-64-v2", "-maes", "-mtune=generic"],
  aarch64: ["-march=armv8-a+crc"],
};

/**
 * Given to the link. `nodelete`: the isolate unloads its libraries when the program ends or
 * throws, and a poll thread that still runs would lose its code under its feet; the process
 * would die by SIGSEGV and the user's error text with it.
 */
export const linkFlags: readonly string[] = [
  "-shared",
  "-fvisibility=hidden",
  "-Wl,-z,nodelete",
  "-Wl,-z,now",
  "-Wl,-z,defs",
];

/** One more build of a unit, with flags of its own. */
export interface Variant {
  /** Tells the object files of a unit apart. */
  readonly suffix: string;
  /** Given last. */
  readonly flags: readonly string[];
  /** Only where Deno runs on this architecture; everywhere if absent. */
  readonly arch?: typeof Deno.build.arch;
}

/**
 * Units that no packet passes through: control, set-up, description. Compiled for a short
 * build rather than for speed; a clean build has ten seconds, and these are most of it.
 */
const controlUnits: readonly string[] = [
  "base/cores.c",
  "ct/ct.c",
  "ct/ct_dump.c",
  "ct/ct_sweep.c",
  "base/error.c",
  "base/histogram.c",
  "base/handle.c",
  "base/log.c",
  "dp.c",
  "dp_config.c",
  "dp_ct.c",
  "bond/bond.c",
  "dp_ipf.c",
  "dp_meter.c",
  "dp_tnl.c",
  "meter/meter.c",
  "dp_poll.c",
  "dp_port.c",
  "dp_ports.c",
  "dp_process.c",
  "packet/eal.c",
  "base/plt.c",
  "packet/eal_divert.c",
  "pmd/balance.c",
  "pmd/pmd_ctl.c",
  "pmd/pmd_figures.c",
  "pmd/pmd_set.c",
  "pmd/rxq.c",
  "pmd/rxq_assign.c",
  "port/port.c",
  "port/port_add.c",
  "link/link_device.c",
  "port/port_eth_kinds.c",
  "port/port_options.c",
  "port/port_pcap.c",
  "port/port_tnl.c",
  "tnl/tnl.c",
  "tnl/tnl_hop.c",
  "tnl/tnl_map.c",
  "link/link_socket.c",
  "link/link_watch.c",
  "link/link_xdp.c",
];

/**
 * Units that are not simply compiled once with the flags above, by path in `c/`. A unit that is
 * here is compiled once for each line, and for no other; its plain build is a line too:
 *
 * ```ts ignore
 * "lookup.c": [
 *   { suffix: "scalar", flags: [] },
 *   { suffix: "avx2", flags: ["-DUPCALL_ISA=1", "-mavx2", "-mbmi2"], arch: "x86_64" },
 * ],
 * ```
 */
export const variants: Readonly<Record<string, readonly Variant[]>> = {
  ...Object.fromEntries(
    controlUnits.map((name) => [name, [{ suffix: "", flags: ["-O1"] }]]),
  ),
  // The lookup: which of them runs is decided by what the CPU has (c/cls_isa.c).
  "cls/cls_hot.c": [
    { suffix: "scalar", flags: ["-DUPCALL_ISA=0"] },
    {
      suffix: "avx2",
      flags: ["-DUPCALL_ISA=1", "-mavx2", "-mbmi2", "-maes", "-mno-avx512f"],
      arch: "x86_64",
    },
    {
      suffix: "avx512",
      flags: [
        "-DUPCALL_ISA=2",
        "-mavx2",
        "-mbmi2",
        "-maes",
        "-mvaes",
        "-mavx512f",
        "-mavx512bw",
        "-mavx512dq",
        "-mavx512vl",
        "-mavx512vbmi",
      ],
      arch: "x86_64",
    },
  ],
};

/** Whether a path in `c/` is compiled or included, and so travels with the module. */
export function isSourceName(name: string): boolean {
  return /^(?:[a-z]\w*\/)?[a-z]\w*\.[ch]$/.test(name);
}

/** Warnings that the sources are kept free of: for development, not for users' builds. */
export const warningFlags: readonly string[] = [
  "-Wall",
  "-Wextra",
  "-Werror",
  "-Wshadow",
  "-Wmissing-prototypes",
];
