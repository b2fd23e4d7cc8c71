// SPDX-License-Identifier: Apache-2.0
/**
 * Runs a program in a user-mode Linux guest that has the kernel's openvswitch module.
 *
 * The guest is an ordinary program: no image, no KVM.  Its root is this machine's root under a
 * throw-away overlay, so that nothing it writes stays, except in the directory that `SHARED` names.
 *
 * @module
 */
import { Unsupported } from "./skip.ts";

/** How a guest runs. */
export interface GuestOptions {
  /** Milliseconds until the guest is killed. */
  timeoutMs: number;
  /** Memory of the guest, as the kernel writes it; only what is touched counts. */
  memory?: string;
  /** Variables of the program, besides PATH, HOME and DENO_DIR. */
  env?: Record<string, string>;
  /** Directory the program starts in; this process's by default. */
  cwd?: string;
  /** A kernel built by `uml_kernel.ts` instead of Debian's. */
  kernel?: string;
  /** Files that the program leaves in the directory that `SHARED` names, to be given back. */
  collect?: string[];
  /** Folder that gets all files which the program leaves in the directory that `SHARED` names. */
  keep?: string;
  /** Called with each line that the program writes, as it comes. */
  onLine?: (line: string, stream: "stdout" | "stderr") => void;
  /** Ends the guest and what runs in it. */
  signal?: AbortSignal;
}

/** What a program in the guest came to. */
export interface GuestResult {
  /** The program's exit status, 128 + n for signal n. */
  status: number;
  /** All that it wrote. */
  stdout: string;
  /** All that it wrote to standard error. */
  stderr: string;
  /** The guest kernel's log. */
  kernelLog: string;
  /** The files that were to be collected, by name; those that are not there are missing. */
  files: ReadonlyMap<string, string>;
}

/** Modules to load, by name; what they depend on comes along. */
const moduleNames = [
  "ipv6 veth dummy tun bridge 8021q overlay",
  "nf_conntrack nf_nat nfnetlink nf_conntrack_netlink nfnetlink_cttimeout",
  "nf_conntrack_ftp nf_conntrack_tftp nf_nat_ftp nf_nat_tftp",
  "psample openvswitch vxlan geneve ip_gre ip6_gre gtp vport-vxlan vport-geneve vport-gre",
  "sch_ingress sch_htb sch_netem cls_matchall act_police",
].join(" ").split(" ");

const debianKernel = "/usr/bin/linux.uml";
const debianModules = "/usr/lib/uml/modules";

/** Paths of the modules in load order, from the package's `modules.dep`. */
function moduleFiles(): string[] {
  const release = [...Deno.readDirSync(debianModules)].find((entry) => entry.isDirectory);
  if (!release) {
    throw new Unsupported("modules of user-mode-linux", { requirement: "system" });
  }
  const folder = `${debianModules}/${release.name}`;
  const baseName = (path: string) =>
    path.replace(/^.*\//, "").replace(/\.ko.*$/, "").replaceAll("-", "_");
  const files = new Map<string, { file: string; needs: string[] }>();
  for (const line of Deno.readTextFileSync(`${folder}/modules.dep`).split("\n")) {
    const [file, ...needs] = line.replace(":", "").split(" ").filter((word) =>
      word !== ""
    );
    if (file !== undefined) files.set(baseName(file), { file, needs });
  }
  const order: string[] = [];
  const load = (name: string) => {
    const module = files.get(name);
    if (!module || order.includes(`${folder}/${module.file}`)) return;
    for (const needed of module.needs.toReversed()) load(baseName(needed));
    order.push(`${folder}/${module.file}`);
  };
  for (const name of moduleNames) load(name.replaceAll("-", "_"));
  return order;
}

/** Compiles `uml_NAME.c` beside this file. */
async function compile(
  folder: string,
  name: string,
  more: readonly string[] = [],
): Promise<string> {
  const output = `${folder}/${name}`;
  const source = new URL(`./uml_${name}.c`, import.meta.url).pathname;
  const args = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Wno-unused-result", ...more];
  const cc = new Deno.Command("cc", { args: [...args, "-o", output, source] });
  const { success, stderr } = await cc.output();
  if (!success) throw new Error(`cc uml_${name}.c: ${new TextDecoder().decode(stderr)}`);
  return output;
}

function strings(words: string[]): string {
  return words.map((word) => `${word}\0`).join("");
}

/**
 * The last processor that this process may use. A guest is two processes that wake each other at
 * every system call: on two processors each call costs half as much again.
 */
function lastCpu(): string {
  const status = Deno.readTextFileSync("/proc/self/status");
  return /^Cpus_allowed_list:.*?(\d+)$/m.exec(status)?.[1] ?? "0";
}

async function lines(
  stream: ReadableStream<Uint8Array>,
  onLine: (line: string) => void,
): Promise<string> {
  const decoder = new TextDecoder();
  let all = "";
  let rest = "";
  for await (const chunk of stream) {
    const text = decoder.decode(chunk, { stream: true });
    all += text;
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    parts.forEach(onLine);
  }
  if (rest !== "") onLine(rest);
  return all;
}

/** True when this process runs in a guest. */
export function inGuest(): boolean {
  return Deno.env.get("UPCALL_GUEST") === "1";
}

/**
 * Boots a guest, runs `command` in it as root and waits until it ended.
 *
 * Throws {@linkcode Unsupported} where there is no guest kernel, an `Error` when the guest does not
 * come up or runs into the time limit.
 */
export async function runInGuest(
  command: string[],
  options: GuestOptions,
): Promise<GuestResult> {
  const kernel = options.kernel ?? debianKernel;
  try {
    Deno.statSync(kernel);
  } catch {
    throw new Unsupported(`guest kernel ${kernel} (package user-mode-linux)`, {
      requirement: "system",
    });
  }
  const control = await Deno.makeTempDir({ prefix: "upcall-guest-" });
  try {
    await Deno.mkdir(`${control}/shared`);
    await Deno.mkdir(`${control}/uml`);
    const init = await compile(control, "init");
    await compile(control, "registers", ["-shared", "-fPIC"]);
    const modules = options.kernel === undefined ? moduleFiles() : [];
    await Deno.writeTextFile(`${control}/modules`, modules.join("\n"));
    await Deno.writeTextFile(`${control}/arguments`, strings(command));
    await Deno.writeTextFile(`${control}/cwd`, options.cwd ?? Deno.cwd());
    const env: Record<string, string> = {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      HOME: Deno.env.get("HOME") ?? "/root",
      LANG: "C.UTF-8",
      TERM: "dumb",
      UPCALL_GUEST: "1",
      SHARED: `${control}/shared`,
      ...options.env,
    };
    const cache = Deno.env.get("DENO_DIR");
    if (cache !== undefined) env.DENO_DIR ??= cache;
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    await Deno.writeTextFile(`${control}/environment`, strings(variables));
    return await boot(kernel, init, control, options);
  } finally {
    await Deno.remove(control, { recursive: true });
  }
}

async function boot(
  kernel: string,
  init: string,
  control: string,
  options: GuestOptions,
): Promise<GuestResult> {
  const words = [
    kernel,
    `mem=${options.memory ?? "2G"}`,
    ..."root=/dev/root rootfstype=hostfs rootflags=/ ro quiet loglevel=1".split(" "),
    `init=${init}`,
    `uml_dir=${control}/uml`,
    ..."umid=guest hostname=guest con=null ssl=null".split(" "),
    ..."con0=null,fd:1 con1=null,fd:3 con2=null,fd:4".split(" "),
    ...(options.kernel === undefined ? [] : ["seccomp=on"]),
    `upcall_guest=${control}`,
  ];
  // In a PID namespace of its own, so that its traced processes end with it; not the first there,
  // for that has no SIGABRT, by which a kernel ends that panics.  The kernel cannot poll a regular
  // file, hence the pipe to cat.
  const script =
    `{ taskset -c ${lastCpu()} unshare --pid --fork --kill-child=KILL --mount-proc ` +
    `sh -c 'LD_PRELOAD="$0" "$@"; exit $?' "${control}/registers" "$@" 2>&1 </dev/null |` +
    ` cat >"${control}/boot.log"; } 3>&1 4>&2 >&2`;
  const child = new Deno.Command("sh", {
    args: ["-c", script, "sh", ...words],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killTree(child.pid);
  }, options.timeoutMs);
  const { onLine, signal } = options;
  const stop = (): void => killTree(child.pid);
  signal?.addEventListener("abort", stop);
  try {
    const [stdout, stderr] = await Promise.all([
      lines(child.stdout, (line) => onLine?.(line, "stdout")),
      lines(child.stderr, (line) => onLine?.(line, "stderr")),
    ]);
    await child.status;
    const read = (name: string) =>
      Deno.readTextFile(`${control}/${name}`).catch((): string => "");
    const status = await read("shared/status");
    if (status === "") {
      const why = timedOut
        ? `was stopped after ${options.timeoutMs / 1000} s`
        : signal?.aborted
        ? `was stopped: ${signal.reason}`
        : `did not come up: ${(await read("boot.log")).slice(-2000)}`;
      throw new Error(`The guest ${why}\n${stdout.slice(-4000)}\n${stderr.slice(-4000)}`);
    }
    const kernelLog = await read("shared/dmesg");
    if (options.keep !== undefined) await keepFiles(`${control}/shared`, options.keep);
    const files = new Map<string, string>();
    for (const name of options.collect ?? []) {
      const text = await read(`shared/${name}`);
      if (text !== "") files.set(name, text);
    }
    return { status: Number(status), stdout, stderr, kernelLog, files };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

/** Copies what a program left, without what the guest itself writes there. */
async function keepFiles(shared: string, folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  for await (const { name, isFile } of Deno.readDir(shared)) {
    if (!isFile || name === "status" || name === "dmesg") continue;
    await Deno.copyFile(`${shared}/${name}`, `${folder}/${name}`);
  }
}

/** A process and all that descend from it, those before their parents. */
export function family(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of Deno.readDirSync("/proc")) {
    const pid = Number(entry.name);
    if (!Number.isInteger(pid)) continue;
    try {
      const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      children.set(parent, [...(children.get(parent) ?? []), pid]);
    } catch {
      // It ended meanwhile.
    }
  }
  const all = (pid: number): number[] => [...(children.get(pid) ?? []).flatMap(all), pid];
  return all(root);
}

function killTree(root: number): void {
  for (const pid of family(root)) {
    try {
      Deno.kill(pid, "SIGKILL");
    } catch {
      // Likewise.
    }
  }
}
