// SPDX-License-Identifier: Apache-2.0
/**
 * A new user on a bare machine, for `deno task newcomer`: a root file system of Debian with nothing
 * but its essential packages, and in it what the pages say, each step timed.
 *
 *     sudo deno task newcomer [--root DEBIAN.tar] [--suite bookworm] [--mirror URL]
 *
 * Needs root, mmdebstrap (unless a file system is given), a mirror of Debian, and the registry of
 * npm, by the settings that this machine has for them.  What needs no registry runs without a
 * network.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { figure } from "../support/figure.ts";
import { root as tree } from "../support/tree.ts";
import { run, tryRun } from "../support/command.ts";
import { firstPrograms, type NewcomerStep, steps } from "./newcomer_steps.ts";

const usage =
  "usage: sudo deno task newcomer [--root DEBIAN.tar] [--suite NAME] [--mirror URL]";

/** The user who has the checkout, and the folder of it, in the bare machine. */
const user = "new";
const home = `/home/${user}`;

/**
 * Enters a root file system with its own mounts, and for most steps with its own network, in which
 * nothing answers but the step itself.
 */
const enter = String.raw`
set -eu
root=$1; shift
ip link set lo up 2> /dev/null || true
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys" 2> /dev/null || mount --rbind /sys "$root/sys"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"
exec chroot "$root" "$@"
`;

/**
 * Settings by which this machine reaches registries, for all users: proxies, and whose certificates
 * are trusted. In files, since sudo hands no environment on but what it is told to.
 */
async function putSettings(folder: string): Promise<void> {
  await Deno.copyFile("/etc/resolv.conf", `${folder}/etc/resolv.conf`);
  await Deno.writeTextFile(
    `${folder}/etc/hosts`,
    `127.0.0.1 localhost ${Deno.hostname()}\n`,
  );
  const env = Deno.env.toObject();
  const npm: string[] = [];
  const apt: string[] = [];
  for (const scheme of ["http", "https"]) {
    const proxy = env[`${scheme}_proxy`] ?? env[`${scheme.toUpperCase()}_PROXY`];
    if (proxy === undefined) continue;
    npm.push(`${scheme === "http" ? "" : "https-"}proxy=${proxy}`);
    apt.push(`Acquire::${scheme}::Proxy "${proxy}";`);
  }
  const trusted = env["NODE_EXTRA_CA_CERTS"];
  if (trusted !== undefined) {
    await Deno.copyFile(trusted, `${folder}/etc/trusted.pem`);
    npm.push("cafile=/etc/trusted.pem");
    await Deno.mkdir(`${folder}/etc/sudoers.d`, { recursive: true });
    await Deno.writeTextFile(
      `${folder}/etc/sudoers.d/machine`,
      'Defaults env_keep += "DENO_CERT"\n',
    );
  }
  await Deno.writeTextFile(
    `${folder}/root/.npmrc`,
    npm.map((line) => `${line}\n`).join(""),
  );
  const aptConf = `${folder}/etc/apt/apt.conf.d/99machine`;
  await Deno.writeTextFile(aptConf, apt.map((line) => `${line}\n`).join(""));
}

async function makeRoot(
  folder: string,
  { archive, suite, mirror }: { archive?: string; suite: string; mirror?: string },
): Promise<void> {
  if (archive !== undefined) {
    await run("tar", "-xf", archive, "-C", folder);
  } else {
    const words = [
      "--variant=minbase",
      "--mode=root",
      suite,
      folder,
      ...(mirror === undefined ? [] : [mirror]),
    ];
    await run("mmdebstrap", ...words);
  }
  await putSettings(folder);
}

/** The files that are part of the checkout, with the programs of the guide. */
async function putCheckout(folder: string): Promise<void> {
  const to = `${folder}${home}/upcall`;
  await Deno.mkdir(to, { recursive: true });
  const pipe =
    'git -C "$1" ls-files -z | tar -C "$1" --null -T - -cf - | tar -C "$2" -xf -';
  await run("sh", "-ec", pipe, "sh", tree, to);
  for (const [name, text] of firstPrograms()) {
    await Deno.writeTextFile(`${to}/examples/${name}`, text);
  }
}

async function perform(
  folder: string,
  { script, by, network = false }: NewcomerStep,
): Promise<{ code: number; said: string }> {
  const hasUser = await tryRun("chroot", folder, "id", user).then(({ code }) =>
    code === 0
  );
  if (!hasUser) await run("chroot", folder, "useradd", "--shell", "/bin/bash", user);
  await run("chroot", folder, "chown", "-R", `${user}:`, home);
  const env = {
    PATH:
      `${home}/.deno/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
    HOME: by === "user" ? home : "/root",
    NO_COLOR: "1",
    DEBIAN_FRONTEND: "noninteractive",
    LC_ALL: "C.UTF-8",
    ...(Deno.env.has("NODE_EXTRA_CA_CERTS") && { DENO_CERT: "/etc/trusted.pem" }),
  };
  const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const { code, stdout, stderr } = await tryRun(
    // With processes of its own, all of which end with the first.
    ...["unshare", "--mount", "--ipc", "--uts", "--pid", "--fork", "--kill-child"],
    ...(network ? [] : ["--net"]),
    ...["sh", "-c", enter, "sh", folder],
    ...(by === "user" ? ["runuser", "-u", user, "--"] : []),
    ...["env", "-i", "-C", `${home}/upcall`, ...settings, "sh", "-euc", script],
  );
  return { code, said: stdout + stderr };
}

/** Ends what runs when a signal comes, so that the file system that was begun can be removed. */
function stopOnSignals(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(signal, () => {
      stop.abort(new Error(`interrupted by ${signal}`));
      void tryRun("pkill", "-TERM", "-P", `${Deno.pid}`);
    });
  }
  return stop.signal;
}

async function isInstalled(program: string): Promise<boolean> {
  return (await tryRun("sh", "-c", `command -v ${program}`)).code === 0;
}

async function main(): Promise<number> {
  const { values: { root: archive, suite, mirror, help } } = parseArgs({
    args: Deno.args,
    options: {
      root: { type: "string" },
      suite: { type: "string", default: "bookworm" },
      mirror: { type: "string" }, // Without it, mmdebstrap knows one.
      help: { type: "boolean", short: "h" },
    },
  });
  if (help) {
    console.log(usage);
    return 0;
  }
  if (Deno.uid() !== 0) {
    console.error(`A root file system is made by root.\n${usage}`);
    return 1;
  }
  if (archive === undefined && !await isInstalled("mmdebstrap")) {
    const how = "apt-get install mmdebstrap, or name a file system by --root";
    console.error(`A bare Debian is made by mmdebstrap: ${how}.\n${usage}`);
    return 1;
  }
  const folder = await Deno.makeTempDir({ prefix: "upcall-bare-" });
  const interrupted = stopOnSignals();
  try {
    await Deno.chmod(folder, 0o755);
    let sum = 0;
    const timed = async <T>(name: string, task: () => Promise<T>): Promise<T> => {
      const started = performance.now();
      const result = await task();
      interrupted.throwIfAborted();
      const seconds = (performance.now() - started) / 1000;
      sum += seconds;
      figure(`newcomer: ${name}: ${seconds.toFixed(1)} s`);
      return result;
    };
    await timed(
      "a bare Debian",
      () =>
        makeRoot(folder, {
          ...(archive !== undefined && { archive }),
          suite,
          ...(mirror !== undefined && { mirror }),
        }),
    );
    await putCheckout(folder);
    for (const step of steps) {
      const { code, said } = await timed(step.name, () => perform(folder, step));
      if (code === 0 && step.says.test(said)) continue;
      console.error(`${said}\n"${step.name}" ended with status ${code}:\n${step.script}`);
      return 1;
    }
    figure(`newcomer: all of it: ${sum.toFixed(1)} s`);
    return 0;
  } catch (error) {
    if (!interrupted.aborted) throw error;
    console.error(interrupted.reason.message);
    return 130;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

if (import.meta.main) Deno.exit(await main());
