// SPDX-License-Identifier: Apache-2.0
/**
 * What people install: the command by `deno install`, the package for Debian, the service with its
 * two capabilities, and what would be published.
 */
import assert from "node:assert/strict";
import { commands, makePackage, shipped, units } from "../../packaging/deb.ts";
import { findToolchain } from "../../ffi/toolchain.ts";
import { run, tryRun } from "../support/command.ts";
import { figure } from "../support/figure.ts";
import {
  findProgram,
  needProgram,
  needRoot,
  skippable,
  Unsupported,
} from "../support/skip.ts";
import { root } from "../support/tree.ts";
import { until } from "../support/wait.ts";
import { switchWithTwo } from "./installed_switch.ts";

Deno.test("whatever the package's programs import is in the package", async () => {
  const missing = new Set<string>();
  for (const program of shipped.filter((name) => name.endsWith(".ts"))) {
    const text = await run(Deno.execPath(), "info", "--json", `${root}${program}`);
    const { modules } = JSON.parse(text) as { modules: { specifier: string }[] };
    for (const { specifier } of modules) {
      const name = specifier.slice(`file://${root}`.length);
      const isHere = specifier.startsWith(`file://${root}`);
      const isShipped = shipped.some((one) => name === one || name.startsWith(`${one}/`));
      if (isHere && !isShipped) missing.add(name);
    }
  }
  assert.deepEqual([...missing], []);
});

Deno.test("deno install makes a command of dpctl", async () => {
  const folder = await Deno.makeTempDir({ prefix: "upcall-install-" });
  try {
    const words = [
      "install",
      "--global",
      "--allow-all",
      "--name",
      "dpctl",
      "--root",
      folder,
    ];
    await run(Deno.execPath(), ...words, `${root}dpctl.ts`);
    const { version } = JSON.parse(await Deno.readTextFile(`${root}deno.json`));
    const said = await run(
      "env",
      `PATH=${Deno.execPath().replace(/\/[^/]*$/, "")}:/usr/bin:/bin`,
      `${folder}/bin/dpctl`,
      "--version",
    );
    assert.ok(said.includes(version), said);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("what would be published has no test, and nothing to be warned of", async () => {
  const words = ["publish", "--dry-run", "--allow-dirty", "--quiet"];
  const { code, stdout, stderr } = await tryRun(
    "env",
    `-C${root}`,
    Deno.execPath(),
    ...words,
  );
  const said = stdout + stderr;
  assert.equal(code, 0, said);
  assert.doesNotMatch(said, /warning/i);
  const listed = await tryRun("env", `-C${root}`, Deno.execPath(), ...words.slice(0, 3));
  const files = [...(listed.stdout + listed.stderr).matchAll(/file:\/\/(\S+) \(/g)]
    .map(([, path = ""]) => path.slice(root.length));
  assert.ok(
    files.includes("mod.ts") && files.includes("c/dp.h"),
    files.slice(0, 5).join(),
  );
  assert.ok(files.includes("control/web/page/main.js"));
  assert.deepEqual(
    files.filter((path) => /_(test|bench)\.ts$|^tests\/|^\.ci/.test(path)),
    [],
  );
});

/** Unpacks a package into a root of its own, as `dpkg --install` puts its files. */
async function unpack(deb: string, folder: string): Promise<void> {
  await run("dpkg-deb", "-x", deb, folder);
}

Deno.test(
  "the package for Debian has what it needs, and its dpctl serves with two capabilities",
  skippable(async (t) => {
    needProgram("dpkg-deb", { requirement: "tool" });
    try {
      await findToolchain();
    } catch (error) {
      throw new Unsupported((error as Error).message, { requirement: "netdev" });
    }
    const folder = await Deno.makeTempDir({ prefix: "upcall-package-" });
    try {
      const started = performance.now();
      const deb = await makePackage(`${folder}/dist`);
      const seconds = (performance.now() - started) / 1000;
      const { size } = await Deno.stat(deb);
      figure(`package: ${(size / 2 ** 20).toFixed(1)} MiB in ${seconds.toFixed(1)} s`);
      const fields = await run("dpkg-deb", "-f", deb, "Package", "Version", "Depends");
      assert.match(
        fields,
        /Package: upcall\nVersion: \d+\.\d+\.\d+\nDepends: .*librte-eal/,
      );
      assert.match(fields, /libc6/);
      const installed = `${folder}/root`;
      await unpack(deb, installed);
      const files = await run("dpkg-deb", "-c", deb);
      assert.doesNotMatch(files, /_test\.ts|\/tests\//);
      for (const name of Object.keys(commands)) {
        assert.match(files, new RegExp(`-rwxr-xr-x root/root .*\\./usr/bin/${name}\\n`));
      }
      for (const name of units) {
        await t.step(name, skippable(() => verifyUnit(installed, name)));
      }
      await t.step("drivers", skippable(() => serveWithDrivers(installed, fields)));
      await t.step("capabilities", skippable(() => serveAsNobody(installed)));
      await t.step("switch daemon", skippable(() => switchWithTwo(installed)));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }),
);

/** systemd finds nothing wrong with a unit. */
async function verifyUnit(installed: string, name: string): Promise<void> {
  const analyze = needProgram("systemd-analyze", { requirement: "tool" });
  const folder = await Deno.makeTempDir({ prefix: "upcall-unit-" });
  const unit = `${folder}/${name.replace("@", "@br0")}`;
  const text = await Deno.readTextFile(`${installed}/lib/systemd/system/${name}`);
  // The program is not in its place here.
  await Deno.writeTextFile(
    unit,
    text.replace("ExecStart=/usr/bin", `ExecStart=${installed}/usr/bin`),
  );
  const { code, stdout, stderr } = await tryRun(analyze, "verify", "--man=no", unit);
  await Deno.remove(folder, { recursive: true });
  const about = (stdout + stderr).split("\n").filter((line) => line.includes("upcall"));
  assert.deepEqual([code, about], [0, []]);
}

/**
 * With the drivers of the packages that it depends on and no others, the installed library has all
 * kinds of ports; without any it says what is missing.
 */
async function serveWithDrivers(installed: string, fields: string): Promise<void> {
  needRoot("netdev");
  const depends = (/^Depends: (.*)$/m.exec(fields)?.[1] ?? "").split(", ");
  const { found = "" } = JSON.parse(
    await run("sh", "-c", `printf '{"found":"%s"}' /usr/lib/*/dpdk/pmds-*`),
  );
  const drivers = (await run("dpkg-query", "-L", ...await allOf(depends))).split("\n")
    .filter((path) => path.startsWith(`${found}/`));
  assert.ok(drivers.some((path) => path.includes("librte_mempool_ring.so")), fields);
  const work = await Deno.makeTempDir({ prefix: "upcall-drivers-" });
  const attempt = async (kept: readonly string[]): Promise<string> => {
    const state = await Deno.makeTempDir({ dir: work });
    // The folder of drivers is laid over by one that holds those that are kept.
    const script = `
mkdir -p "$UPCALL_RUNDIR/kept"
for one in $2; do cp -P "$one" "$UPCALL_RUNDIR/kept/"; done
mount -t tmpfs -o mode=755 tmpfs "$1"
cp -P "$UPCALL_RUNDIR/kept/"* "$1/" 2> /dev/null || :
ip link set lo up
set -- "$3"
"$DENO" run -A --no-check --no-lock "$1/usr/lib/upcall/dpctl.ts" serve netdev@drivers p0:dummy \
  > "$UPCALL_RUNDIR/log" 2>&1 &
server=$!
until grep -q '|serving ' "$UPCALL_RUNDIR/log"; do
  kill -0 "$server" 2> /dev/null || { cat "$UPCALL_RUNDIR/log"; exit 0; }
  sleep 0.1
done
"$DENO" run -A --no-check --no-lock "$1/usr/lib/upcall/dpctl.ts" add-if netdev@drivers \
  "p1,type=memif,role=server,socket=$UPCALL_RUNDIR/memif,socket-abstract=no" "p2,type=pcap,tx_pcap=$UPCALL_RUNDIR/out" p3,type=dpdk,devargs=net_tap0 \
  "p4,type=vhost-user,path=$UPCALL_RUNDIR/vhost" 2>&1 || :
"$DENO" run -A --no-check --no-lock "$1/usr/lib/upcall/dpctl.ts" show netdev@drivers
kill "$server"; wait "$server" || :`;
    return await run(
      ...["env", `DENO=${Deno.execPath()}`, `UPCALL_RUNDIR=${state}`],
      `UPCALL_LIBRARY=${installed}/usr/lib/upcall/libupcall.so`,
      ...["unshare", "--mount", "--net", "timeout", "120", "sh", "-euc", script],
      ...["sh", found, kept.join(" "), installed],
    );
  };
  try {
    assert.match(
      await attempt([]),
      /DPDK has no driver of pools: librte_mempool_ring is not installed/,
    );
    const least = drivers.filter((path) => path.includes("librte_mempool_ring.so"));
    assert.match(await attempt(least), /no driver of its kind installed/);
    const shown = await attempt(drivers);
    for (const kind of ["dummy", "memif", "pcap", "dpdk", "vhost-user"]) {
      assert.match(shown, new RegExp(`port \\d+: p\\d \\(${kind}`), shown);
    }
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/** Packages with all that they depend on. */
async function allOf(packages: readonly string[]): Promise<string[]> {
  const found = new Set(packages);
  for (let next = [...packages]; next.length > 0;) {
    const format = "-f=${Depends}, ${Pre-Depends}\n";
    const listed = await run("dpkg-query", "-W", format, ...next);
    next = [];
    for (const [name] of listed.matchAll(/[a-z][a-z0-9+.-]{2,}(?=[ :,\n]|$)/g)) {
      if (!name.startsWith("librte-") || found.has(name)) continue;
      found.add(name);
      next.push(name);
    }
  }
  return [...found];
}

/** The installed dpctl serves a device of Linux as nobody, with the unit's two capabilities. */
async function serveAsNobody(installed: string): Promise<void> {
  needRoot("netdev");
  const setpriv = needProgram("setpriv", { requirement: "tool" });
  if (findProgram("ip") === undefined) {
    throw new Unsupported("ip", { requirement: "tool" });
  }
  const unit = await Deno.readTextFile(`${installed}/lib/systemd/system/upcall@.service`);
  const wanted = /^CapabilityBoundingSet=(.*)$/m.exec(unit)?.[1] ?? "";
  assert.equal(wanted, "CAP_NET_ADMIN CAP_NET_RAW");
  const caps = wanted.toLowerCase().replaceAll("cap_", "+").replace(" ", ",");
  const device = `uc${Deno.pid % 100000}a`;
  const state = await Deno.makeTempDir({ prefix: "upcall-nobody-" });
  await run("ip", "link", "add", device, "type", "veth", "peer", "name", `${device}b`);
  try {
    // What is in a folder of root cannot be read by nobody.
    await run("cp", "-r", `${installed}/usr`, state);
    await run("chmod", "-R", "a+rX", state);
    await run("chown", "-R", "65534", state);
    const serve = async (bounds: string): Promise<{ up: boolean; log: string }> => {
      const child = new Deno.Command(setpriv, {
        args: [
          ...["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"],
          ...[
            `--inh-caps=${bounds}`,
            `--ambient-caps=${bounds}`,
            `--bounding-set=${bounds}`,
          ],
          ...[
            "sh",
            `${state}/usr/bin/dpctl`,
            "serve",
            `netdev@nobody${Deno.pid}`,
            device,
          ],
          ...["--socket", `${state}/control`],
        ],
        clearEnv: true,
        env: {
          PATH: `${Deno.execPath().replace(/\/[^/]*$/, "")}:/usr/bin:/bin`,
          HOME: state,
          UPCALL_RUNDIR: state,
          UPCALL_LIBRARY: `${state}/usr/lib/upcall/libupcall.so`,
          NO_COLOR: "1",
        },
        stdin: "null",
        stdout: "null",
        stderr: "piped",
      }).spawn();
      let log = "";
      const reading = (async () => {
        for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
          log += text;
        }
      })();
      let ended = false;
      const end = child.status.then(() => ended = true);
      const up = await until("it to serve or to end", () =>
        log.includes("|serving ") ? "up" : ended && "down") === "up";
      if (!ended) {
        child.kill("SIGTERM");
      }
      await end;
      await reading;
      return { up, log };
    };
    // The unit's wrapper names modules by their place in the package.
    const wrapper = `${state}/usr/bin/dpctl`;
    const text = await Deno.readTextFile(wrapper);
    await Deno.writeTextFile(
      wrapper,
      text.replaceAll(" /usr/lib/", ` ${state}/usr/lib/`),
    );
    const without = await serve("-all");
    assert.equal(without.up, false, without.log);
    const with2 = await serve(`-all,${caps}`);
    assert.equal(with2.up, true, with2.log);
  } finally {
    await run("ip", "link", "delete", device);
    await Deno.remove(state, { recursive: true });
  }
}
