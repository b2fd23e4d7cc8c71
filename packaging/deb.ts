// SPDX-License-Identifier: Apache-2.0
/**
 * Makes a package for Debian, for `deno task package`: the module, a library for every processor
 * of this architecture, `dpctl` and `upcall-switchd`, and a unit for systemd of each.
 *
 *     deno task package [--output FOLDER]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { buildLibrary } from "../ffi/build.ts";

const root = new URL("../", import.meta.url).pathname;

/** Files and folders that programs need, and all that these import; no tests, no tools. */
export const shipped = [
  "mod.ts",
  "dpctl.ts",
  "switchd.ts",
  "deno.json",
  "cli",
  "control",
  "examples",
  "ffi",
  "frames",
  "openflow",
  "ovsdb",
  "policy",
  "providers",
  "testing",
  "vswitch",
  "c",
];

/** Commands of the package, and the programs that they start. */
export const commands = { dpctl: "dpctl.ts", "upcall-switchd": "switchd.ts" } as const;
/** Units for systemd. */
export const units = ["upcall@.service", "upcall-switchd.service"] as const;

const commandText = (name: string, program: string): string =>
  `#!/bin/sh
# ${name} of upcall: the library of this package, unless another one is named.
export UPCALL_LIBRARY="\${UPCALL_LIBRARY-/usr/lib/upcall/libupcall.so}"
if ! command -v deno > /dev/null; then
  echo "${name}: Deno is not installed: see https://docs.deno.com/runtime/getting_started/installation" >&2
  exit 127
fi
exec deno run -A --no-check --no-lock /usr/lib/upcall/${program} "$@"
`;

/**
 * Drivers of DPDK, which are opened by their folder and named by no library: without the first two
 * there is no datapath, the others are kinds of ports.
 */
const drivers = [
  "mempool-ring",
  "bus-vdev",
  "net-af-xdp",
  "net-memif",
  "net-pcap",
  "net-tap",
  "net-vhost",
];

/** Drivers of cards, for those who have them. */
const cardDrivers = [
  "bus-pci",
  "net-e1000",
  "net-i40e",
  "net-iavf",
  "net-ice",
  "net-ixgbe",
  "net-mlx5",
  "net-virtio",
  "net-vmxnet3",
];

/** Makes the package in a folder; its path. */
export async function makePackage(folder: string): Promise<string> {
  const { version } = JSON.parse(await Deno.readTextFile(`${root}deno.json`)) as {
    version: string;
  };
  const architecture = Deno.build.arch === "x86_64" ? "amd64" : "arm64";
  await Deno.mkdir(folder, { recursive: true });
  const work = await Deno.makeTempDir({ prefix: "upcall-deb-" });
  try {
    await Deno.chmod(work, 0o755);
    const library = `${work}/usr/lib/upcall/libupcall.so`;
    for (const name of shipped) await copy(name, `${work}/usr/lib/upcall/${name}`);
    await buildLibrary(library, { portable: true });
    for (const [name, program] of Object.entries(commands)) {
      await put(`${work}/usr/bin/${name}`, commandText(name, program), 0o755);
    }
    for (const name of units) {
      const unit = await Deno.readTextFile(`${root}packaging/${name}`);
      await put(`${work}/lib/systemd/system/${name}`, unit);
    }
    for (const name of ["README.md", "CHANGELOG.md"]) {
      await copy(name, `${work}/usr/share/doc/upcall/${name}`);
    }
    await copy("LICENSE", `${work}/usr/share/doc/upcall/copyright`);
    const linked = await packagesOf(library);
    // Packages of DPDK have its version in their names: librte-eal23, librte-net-e1000-23.
    const abi = linked.map((name) => /^librte-eal(\d+)$/.exec(name)?.[1])
      .find((found) => found !== undefined);
    if (abi === undefined) throw new Error(`no librte-eal among ${linked.join(" ")}`);
    const packageOf = (driver: string): string =>
      `librte-${driver}${/\d$/.test(driver) ? "-" : ""}${abi}`;
    const depends = ["libmnl0", ...linked, ...drivers.map(packageOf)];
    const recommends = ["iproute2", ...cardDrivers.map(packageOf)];
    const suggests = ["openvswitch-switch"]; // ovsdb-server and ovs-vsctl, for upcall-switchd.
    const fields = { version, architecture, depends, recommends, suggests };
    await put(`${work}/DEBIAN/control`, controlText(fields));
    const output = `${folder}/upcall_${version}_${architecture}.deb`;
    await run("dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", work, output);
    return output;
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

function controlText(
  { version, architecture, depends, recommends, suggests }: {
    version: string;
    architecture: string;
    depends: readonly string[];
    recommends: readonly string[];
    suggests: readonly string[];
  },
): string {
  return `Package: upcall
Version: ${version}
Architecture: ${architecture}
Section: net
Priority: optional
Depends: ${depends.join(", ")}
Recommends: ${recommends.join(", ")}
Suggests: ${suggests.join(", ")}
Maintainer: The Upcall authors <upcall@invalid>
Description: programmable datapath with flows, for Deno
 Open vSwitch's datapath interface in TypeScript: a userspace datapath over DPDK,
 the Linux kernel's datapath, dpctl, which serves and shows them, and upcall-switchd,
 a switch of OpenFlow that ovs-vsctl drives. Needs Deno 2.8.
`;
}

/** Packages of the libraries that a library names. */
async function packagesOf(library: string): Promise<string[]> {
  const listed = await run("ldd", library);
  const paths = [...listed.matchAll(/=> (\/\S+)/g)].map(([, path = ""]) => path);
  const names = new Set<string>();
  for (const path of paths) {
    // Debian's folders are links: dpkg knows a file by one of both names.
    const real = await Deno.realPath(path);
    const candidates = [path, `/usr${path}`, real, real.replace(/^\/usr/, "")];
    for (const candidate of candidates) {
      const found = await run("dpkg-query", "-S", candidate).catch(() => "");
      const [, name] = /^([^:\s]+)(?::\w+)?: /.exec(found) ?? [];
      if (name === undefined) continue;
      names.add(name);
      break;
    }
  }
  return [...names].sort();
}

/** Copies a file or folder without tests and benches. */
async function copy(from: string, to: string): Promise<void> {
  const source = root + from;
  if ((await Deno.stat(source)).isFile) {
    if (/_(test|bench)\.ts$/.test(from)) return;
    await Deno.mkdir(to.slice(0, to.lastIndexOf("/")), { recursive: true });
    await Deno.copyFile(source, to);
    await Deno.chmod(to, 0o644);
    return;
  }
  for await (const { name } of Deno.readDir(source)) {
    if (!name.startsWith(".")) await copy(`${from}/${name}`, `${to}/${name}`);
  }
}

async function put(path: string, text: string, mode = 0o644): Promise<void> {
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  await Deno.writeTextFile(path, text);
  await Deno.chmod(path, mode);
}

async function run(program: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args,
    env: { LC_ALL: "C" },
  }).output();
  const decoder = new TextDecoder();
  if (!success) {
    throw new Error(`${program} ${args.join(" ")}: ${decoder.decode(stderr)}`);
  }
  return decoder.decode(stdout);
}

if (import.meta.main) {
  const { values: { output = "dist", help } } = parseArgs({
    args: Deno.args,
    options: { output: { type: "string" }, help: { type: "boolean", short: "h" } },
  });
  if (help) console.log("usage: deno task package [--output FOLDER]");
  else console.log(`made ${await makePackage(output)}`);
}
