// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { examine } from "./doctor.ts";
import { checks, type Finding } from "./checks.ts";
import type { Machine } from "./machine.ts";

const healthy: Readonly<Record<string, string>> = {
  "/proc/cpuinfo": "flags\t\t: fpu sse4_2 avx2 avx512vbmi vaes\n",
  "/usr/lib/x86_64-linux-gnu/libmnl.so.0": "",
  "/usr/lib/x86_64-linux-gnu/librte_eal.so.23": "",
  "/usr/lib/x86_64-linux-gnu/pkgconfig/libdpdk.pc": "Name: DPDK\nVersion: 22.11.11\n",
  "/usr/bin/cc": "",
  "/usr/bin/pkg-config": "",
  "/sys/module/openvswitch/refcnt": "0",
  "/proc/self/status": "Name:\tdeno\nCapEff:\t000001ffffffffff\n",
  "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages": "512\n",
  "/proc/self/limits": "Max open files            65536   65536   files\n" +
    "Max locked memory         unlimited   unlimited   bytes\n",
  "/dev/vfio/vfio": "",
  "/sys/kernel/iommu_groups/0/type": "DMA",
  "/sys/devices/system/cpu/online": "0-7\n",
  "/proc/sys/net/netfilter/nf_conntrack_max": "1",
  "/proc/sys/net/core/rmem_max": "4194304\n",
  "/proc/sys/kernel/osrelease": "6.1.0-41-amd64\n",
  "/sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
};

/**
 * A machine made of files; undefined takes one of the healthy ones away, as `prefix*` all below it.
 */
function machine(
  changes: Readonly<Record<string, string | undefined>> = {},
  facts: Partial<Omit<Machine, "env">> & { env?: Readonly<Record<string, string>> } = {},
): Machine {
  const files = new Map(Object.entries(healthy));
  for (const [path, text] of Object.entries(changes)) {
    if (text !== undefined) files.set(path, text);
    else if (path.endsWith("*")) {
      for (const name of files.keys()) {
        if (name.startsWith(path.slice(0, -1))) files.delete(name);
      }
    } else files.delete(path);
  }
  const { env = {}, ...rest } = facts;
  return {
    read: (path) => files.get(path),
    list: (path) => [
      ...new Set(
        [...files.keys()].filter((name) => name.startsWith(`${path}/`))
          .map((name) => name.slice(path.length + 1).split("/")[0] ?? ""),
      ),
    ],
    exists: (path) =>
      [...files.keys()].some((name) => name === path || name.startsWith(`${path}/`)),
    link: (path) => files.get(path)?.split("/").at(-1),
    denoVersion: "2.9.6",
    ffi: true,
    arch: "x86_64",
    ...rest,
    env: (name) => env[name],
  };
}

function find(id: string, on: Machine): Finding {
  const found = checks.map((check) => check(on)).find((finding) => finding.id === id);
  assert(found, `no check ${id}`);
  return found;
}

Deno.test("a healthy machine passes all sixteen checks", () => {
  const findings = checks.map((check) => check(machine()));
  assert.equal(findings.length, 16);
  assert.deepEqual(findings.filter(({ state }) => state !== "ok"), []);
});

const gone = undefined;
const plain = "CapEff:\t0000000000000000\n";
const ailments: readonly (readonly [string, Finding["state"], RegExp, Machine])[] = [
  ["deno", "fail", /2\.7\.1/, machine({}, { denoVersion: "2.7.1" })],
  ["deno", "fail", /not allowed/, machine({}, { ffi: false })],
  ["cpu", "warn", /aarch64/, machine({}, { arch: "aarch64" })],
  ["cpu", "fail", /SSE4\.2/, machine({ "/proc/cpuinfo": "flags : fpu\n" })],
  ["cpu", "fail", /musl/, machine({ "/lib/ld-musl-x86_64.so.1": "" })],
  ["cpu", "warn", /scalar/, machine({ "/proc/cpuinfo": "flags : sse4_2\n" })],
  [
    "libmnl",
    "fail",
    /not installed/,
    machine({ "/usr/lib/x86_64-linux-gnu/libmnl*": gone }),
  ],
  [
    "openvswitch",
    "warn",
    /not loaded/,
    machine({
      "/sys/module/openvswitch*": gone,
      "/lib/modules/6.1.0-41-amd64/kernel/net/openvswitch/openvswitch.ko": "",
    }),
  ],
  ["openvswitch", "warn", /built without/, machine({ "/sys/module/openvswitch*": gone })],
  [
    "openvswitch",
    "warn",
    /WSL2/,
    machine({
      "/sys/module/openvswitch*": gone,
      "/proc/sys/kernel/osrelease": "6.6.0-microsoft-standard-WSL2",
    }),
  ],
  [
    "privileges",
    "warn",
    /CAP_NET_ADMIN and CAP_NET_RAW missing/,
    machine({ "/proc/self/status": plain }),
  ],
  [
    "dpdk",
    "fail",
    /not installed/,
    machine({ "/usr/lib/x86_64-linux-gnu/librte*": gone }),
  ],
  ["dpdk", "fail", /headers/, machine({ "/usr/lib/x86_64-linux-gnu/pkgconfig*": gone })],
  ["dpdk", "fail", /cc is not/, machine({ "/usr/bin/cc": gone })],
  [
    "dpdk",
    "warn",
    /23\.11\.1/,
    machine({ "/usr/lib/x86_64-linux-gnu/pkgconfig/libdpdk.pc": "Version: 23.11.1\n" }),
  ],
  ["hugepages", "warn", /held by files/, machine({ "/dev/hugepages/rtemap_0": "" })],
  ["hugepages", "warn", /^0 free/, machine({ "/sys/kernel/mm*": gone })],
  [
    "limits",
    "warn",
    /open files: 256/,
    machine({ "/proc/self/limits": "Max open files  256  256\n" }),
  ],
  [
    "limits",
    "warn",
    /locked memory: 65536/,
    machine({
      "/proc/self/limits": "Max open files 4096 x\nMax locked memory 65536 x\n",
      "/proc/self/status": plain,
    }),
  ],
  ["iommu", "warn", /vfio is not loaded/, machine({ "/dev/vfio*": gone })],
  ["iommu", "warn", /without an IOMMU/, machine({ "/sys/kernel/iommu_groups*": gone })],
  ["cores", "warn", /one core/, machine({ "/sys/devices/system/cpu/online": "0\n" })],
  ["owner", "warn", /pid 77/, machine({ "/proc/77/comm": "ovs-vswitchd\n" })],
  ["conntrack", "warn", /not loaded/, machine({ "/proc/sys/net/netfilter*": gone })],
  [
    "netlink-memory",
    "warn",
    /212992/,
    machine({ "/proc/sys/net/core/rmem_max": "212992\n", "/proc/self/status": plain }),
  ],
  ["sudo", "warn", /DENO_DIR/, machine({}, { env: { SUDO_USER: "ada" } })],
  [
    "clock",
    "warn",
    /hpet/,
    machine({
      "/sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
    }),
  ],
];

for (const [id, state, text, on] of ailments) {
  Deno.test(`doctor says so when ${id} finds ${text.source}`, () => {
    const found = find(id, on);
    assert.equal(found.state, state);
    assert.match(found.found, text);
    assert(found.why.length > 0);
  });
}

Deno.test("doctor warns of the card that carries the default route", () => {
  const { found } = find(
    "cards",
    machine({
      "/proc/net/route": "Iface\tDestination\neth0\t00000000\t0101A8C0\n",
      "/sys/bus/pci/devices/0000:00:03.0/class": "0x020000\n",
      "/sys/bus/pci/devices/0000:00:03.0/net/eth0/mtu": "1500",
      "/sys/bus/pci/devices/0000:00:03.0/driver": "../../../bus/pci/drivers/virtio-pci",
    }),
  );
  assert.equal(found, "0000:00:03.0 virtio-pci (ACTIVE as eth0: leave it alone)");
});

Deno.test("doctor reads below --sysroot and answers 2 for an empty machine", async () => {
  const sysroot = await Deno.makeTempDir();
  try {
    const { text, status } = examine({ sysroot });
    assert.equal(status, 2);
    assert.match(
      text,
      /\[fail\] dpdk: DPDK is not installed\n {4}why: .*\n {4}fix: sudo apt-get/,
    );
    const findings: Finding[] = JSON.parse(examine({ sysroot, json: true }).text);
    assert.equal(findings.length, 16);
  } finally {
    await Deno.remove(sysroot, { recursive: true });
  }
});

Deno.test("doctor names the packages of the system that it runs on", () => {
  const bare = { "/usr/lib/x86_64-linux-gnu/*": undefined };
  const fixes = (release: string | undefined): (string | undefined)[] => {
    const at = machine({ ...bare, "/etc/os-release": release });
    return checks.map((check) => check(at))
      .filter(({ id }) => id === "dpdk" || id === "libmnl").map(({ fix }) => fix);
  };
  assert.deepEqual(fixes("ID=fedora\nVERSION_ID=41\n"), [
    "sudo dnf install libmnl",
    "sudo dnf install gcc dpdk-devel pkgconf-pkg-config",
  ]);
  assert.deepEqual(
    fixes('ID=rocky\nID_LIKE="rhel centos fedora"\n')[0],
    "sudo dnf install libmnl",
  );
  assert.deepEqual(fixes("ID=arch\n"), [
    "sudo pacman -S libmnl",
    "sudo pacman -S gcc dpdk pkgconf",
  ]);
  for (const release of ["ID=ubuntu\nID_LIKE=debian\n", "ID=debian\n", undefined]) {
    assert.deepEqual(fixes(release), [
      "sudo apt-get install libmnl0",
      "sudo apt-get install gcc libdpdk-dev pkg-config",
    ]);
  }
});
