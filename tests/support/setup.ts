// SPDX-License-Identifier: Apache-2.0
/**
 * Installs the system packages that this checkout needs and the machine lacks: those that
 * compile and load the datapath, and those that the tests and the demo use as peers.
 * Does nothing, at once, when nothing is missing.
 *
 * Run by `deno task setup`, `deno task demo` and `deno task test`.
 *
 * @module
 */

/** Packages of Debian, by what they are for. */
export const packages = {
  /** To compile and load the datapath: all that a user of the library needs. */
  library: ["gcc", "libc6-dev", "pkg-config", "libdpdk-dev", "libmnl0"],
  /** Namespaces and traffic: the demo and the tests on real devices. */
  traffic: ["iproute2", "iputils-ping", "iperf3", "ethtool", "tcpdump"],
  /** A database server and its tools: the switch daemon. */
  database: ["openvswitch-switch"],
  /** OVN, which drives switch daemons, and what hosts of its networks run. */
  ovn: ["ovn-central", "ovn-host", "curl", "udhcpc"],
  /** The C side's tests: sanitizers, fuzzers, libmnl's header. */
  tools: ["clang", "libclang-rt-dev", "libmnl-dev", "valgrind"],
  /** Judges of the tests, and what the benches are measured against. */
  peers: [
    "autoconf",
    "chromium",
    "conntrack",
    "dpdk-dev",
    "nftables",
    "openvswitch-source",
    "openvswitch-switch-dpdk",
    "python3-os-ken",
    "python3-scapy",
    "tshark",
    "user-mode-linux",
  ],
} as const;

/** Packages out of `wanted` that are not installed, as dpkg sees it. */
export async function missingPackages(wanted: readonly string[]): Promise<string[]> {
  const query = await new Deno.Command("dpkg-query", {
    args: ["-W", "-f", "${Package} ${db:Status-Status}\n", ...wanted],
    stdout: "piped",
    stderr: "null",
    clearEnv: true,
    env: { PATH: "/usr/bin:/bin", LC_ALL: "C" },
  }).output();
  const installed = new Set(
    new TextDecoder().decode(query.stdout).split("\n")
      .filter((line) => line.endsWith(" installed"))
      .map((line) => line.split(" ", 1)[0]),
  );
  return wanted.filter((name) => !installed.has(name));
}

/**
 * Run as root with the packages as arguments. `policy-rc.d` keeps the services of freshly
 * installed packages from starting: nothing here wants a switch daemon running, and the
 * tests start their own. A service that was there before is left as it is.
 */
const installScript = String.raw`
set -u
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
policy=/usr/sbin/policy-rc.d
made=no
clean() { [ "$made" = no ] || rm -f "$policy"; }
trap clean EXIT
trap 'exit 130' INT TERM HUP
if [ ! -e "$policy" ]; then
  made=yes
  printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod 755 "$policy" || exit 1
fi
services="openvswitch-switch ovn-central ovn-host"
had=
for name in $services; do [ ! -e "/etc/init.d/$name" ] || had="$had $name "; done
install() {
  apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}
if ls /var/lib/apt/lists/*_Packages* > /dev/null 2>&1 && install "$@"; then
  :
else
  echo "setup: fetching the package lists"
  apt-get update -q || echo "setup: some lists could not be fetched; going on with the others"
  install "$@" || exit 1
fi
for name in $services; do
  case "$had" in *" $name "*) continue ;; esac
  [ -e "/etc/init.d/$name" ] || continue
  update-rc.d "$name" disable > /dev/null 2>&1 || :
  echo "setup: the $name service is installed but neither started nor enabled"
done
`;

/** Installs what is missing. Returns whether everything is there now. */
export async function setup(wanted: readonly string[]): Promise<boolean> {
  let missing: string[];
  try {
    missing = await missingPackages(wanted);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.error(
      "setup: this is not a Debian system, so nothing was installed. Needed are: " +
        `a C compiler, pkg-config, DPDK 22.11 or newer with headers, libmnl; for tests also\n` +
        `  ${
          [
            ...packages.traffic,
            ...packages.database,
            ...packages.ovn,
            ...packages.tools,
            ...packages.peers,
          ].join(" ")
        }`,
    );
    return true;
  }
  if (missing.length === 0) return true;

  const apt = `apt-get install --no-install-recommends ${missing.join(" ")}`;
  console.error(`setup: installing ${missing.length} packages: ${missing.join(" ")}`);
  const root = Deno.uid() === 0;
  const sudo = ["/usr/bin/sudo", "/bin/sudo"].find(isFile);
  if (!root && (sudo === undefined || !await mayAsk(sudo))) {
    console.error(
      `setup: this needs root. Either run this as root:\n  ${apt}\n` +
        `or run the task as root, keeping the way to Deno:\n` +
        `  sudo env "PATH=$PATH" ${Deno.execPath()} task setup`,
    );
    return false;
  }
  if (!root) console.error("setup: this needs root; sudo may ask for your password");

  const started = performance.now();
  const [command, ...args] = [
    ...(root ? [] : [sudo ?? "sudo"]),
    "sh",
    "-c",
    installScript,
  ];
  const { success } = await new Deno.Command(command ?? "sh", {
    args: [...args, "setup", ...missing],
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  const still = await missingPackages(missing);
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  if (success && still.length === 0) {
    console.error(`setup: done in ${seconds} s`);
    return true;
  }
  console.error(`setup: could not install ${(still.length ? still : missing).join(" ")}`);
  return false;
}

/** sudo can ask on a terminal, or needs not to ask. */
async function mayAsk(sudo: string): Promise<boolean> {
  if (Deno.stdin.isTerminal()) return true;
  const quiet = { stdin: "null", stdout: "null", stderr: "null" } as const;
  return (await new Deno.Command(sudo, { args: ["-n", "true"], ...quiet }).output())
    .success;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

const usage = `usage: deno task setup [GROUP...]
  library   a C compiler, DPDK, libmnl: all that programs need
  traffic   what the demo makes namespaces and traffic with
  database  a database server and ovs-vsctl: the switch daemon
  ovn       OVN, and what hosts of its networks run
  tools     sanitizers, fuzzers, valgrind
  peers     what tests and benches are judged by: other switches, a browser
Without words, all of them.`;

async function main(groups: readonly string[]): Promise<number> {
  if (groups.includes("--help") || groups.includes("-h")) {
    console.log(usage);
    return 0;
  }
  const unknown = groups.find((group) => !Object.hasOwn(packages, group));
  if (unknown !== undefined) {
    console.error(`there is no group of packages "${unknown}"\n${usage}`);
    return 1;
  }
  const all = Object.keys(packages);
  const wanted = (groups.length > 0 ? groups : all)
    .flatMap((group) => packages[group as keyof typeof packages]);
  return await setup(wanted) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
