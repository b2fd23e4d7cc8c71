// SPDX-License-Identifier: Apache-2.0
/**
 * Builds a program around Open vSwitch's own library that says what its userspace makes of packets,
 * keeps it in the cache, and asks it.
 *
 *     deno run -A tests/support/ovs_judge.ts
 *
 * Done once, by the first test that asks; most of the time goes to configure.  The source is
 * Debian's package openvswitch-source.  What it can do and ovs-vswitchd cannot is read any action
 * and any key: text has no pop_eth, nsh() or add_mpls.
 *
 * @module
 */
import { run } from "./command.ts";
import { Unsupported } from "./skip.ts";

const TARBALL = "/usr/src/openvswitch/openvswitch.tar.gz";
const program = new URL("../differential/ovs_judge.c", import.meta.url).pathname;

/** What is generated before anything can be compiled. */
const generated = "include/odp-netlink.h include/odp-netlink-macros.h lib/dirs.c " +
  "lib/meta-flow.inc lib/nx-match.inc";

/**
 * What packets go through, and what that logs and counts with: a fifth of the library. What these
 * files call beyond them (devices, databases, sockets) is left unresolved, and would end the judge
 * if it were called.
 */
const units = "async-append-null cmap coverage cpu crc32c csum dirs dp-packet " +
  "dpif-netdev-private-extract dynamic-string entropy fatal-signal flow guarded-list hash hmap jhash " +
  "latch-unix match meta-flow netlink nx-match odp-execute odp-execute-private odp-util ofp-port ofpbuf " +
  "ovs-numa ovs-rcu ovs-thread packets poll-loop random seq shash simap smap socket-util sset svec " +
  "syslog-direct syslog-libc syslog-null timeval token-bucket tun-metadata util uuid vlog";

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

/** Where the caches of this project are. */
function cacheRoot(): string {
  const home = Deno.env.get("HOME") ?? "/root";
  return `${Deno.env.get("XDG_CACHE_HOME") ?? `${home}/.cache`}/upcall`;
}

async function cacheFolder(): Promise<string> {
  const { size, mtime } = await Deno.stat(TARBALL);
  return `${cacheRoot()}/ovs-judge-${size}-${mtime?.getTime() ?? 0}`;
}

/**
 * Compiles what is needed of the source into a folder, which another process may be doing as well.
 */
async function buildObjects(folder: string, jobs: number): Promise<void> {
  const work = await Deno.makeTempDir({ dir: cacheRoot(), prefix: "ovs-judge-" });
  try {
    await run(
      "sh",
      "-ec",
      `cd ${work}; tar -xzf ${TARBALL}; cd openvswitch
      ./configure CFLAGS="-g0 -O1" --disable-ssl --disable-libcapng --with-dpdk=no >configure.log 2>&1
      make -j${jobs} ${generated} >make.log 2>&1 || { tail -20 make.log >&2; exit 1; }
      mkdir ../objects
      echo ${units} | tr ' ' '\\n' | nice xargs -P${jobs} -I{} \\
        gcc -O1 -g0 -w -DHAVE_CONFIG_H -I. -Iinclude -Ilib -c lib/{}.c -o ../objects/{}.o`,
    );
    await Deno.rename(work, folder).catch(async (error) => {
      if (!(await exists(`${folder}/objects`))) throw error;
    });
  } finally {
    await Deno.remove(work, { recursive: true }).catch(() => {});
  }
}

/**
 * Builds the objects and the program, as far as they are not there, and gives the program's path.
 */
export async function buildJudge(jobs: number): Promise<string> {
  const folder = await cacheFolder();
  const path = `${folder}/ovs_judge`;
  await Deno.mkdir(cacheRoot(), { recursive: true });
  if (!(await exists(`${folder}/objects`))) await buildObjects(folder, jobs);
  // Linked statically: only so may functions be missing that are never called.
  await run(
    "sh",
    "-ec",
    `cd ${folder}/openvswitch; [ ${path} -nt ${program} ] || {
      gcc -O1 -w -I. -Iinclude -Ilib -static ${program} -o ${path}.$$ ../objects/*.o \\
        -Wl,--unresolved-symbols=ignore-all -lm -lpthread 2>link.log || { tail -20 link.log >&2; exit 1; }
      mv ${path}.$$ ${path}; }`,
  );
  return path;
}

/** A running judge. */
export class Judge implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";

  private constructor(path: string) {
    this.#child = new Deno.Command(path, {
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reader = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /**
   * Starts one, and builds it first if it has not been. Throws `Unsupported` without the source.
   */
  static async start(): Promise<Judge> {
    if (!(await exists(TARBALL))) {
      throw new Unsupported("Open vSwitch's source (package openvswitch-source)", {
        requirement: "tool",
      });
    }
    return new Judge(await buildJudge(navigator.hardwareConcurrency));
  }

  /** Asks all questions, and gives an answer to each. */
  async ask(questions: readonly string[]): Promise<string[]> {
    const sent = this.#writer.write(
      new TextEncoder().encode(questions.join("\n") + "\n"),
    );
    const answers: string[] = [];
    while (answers.length < questions.length) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        answers.push(this.#text.slice(0, end).trim());
        this.#text = this.#text.slice(end + 1);
        continue;
      }
      const { value, done } = await this.#reader.read();
      if (done) throw new Error(`the judge ended at: ${questions[answers.length]}`);
      this.#text += value;
    }
    await sent;
    return answers;
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.#reader.cancel().catch(() => {});
    await this.#child.status;
  }
}

if (import.meta.main) {
  const started = performance.now();
  const path = await buildJudge(Number(Deno.args[0] ?? navigator.hardwareConcurrency));
  console.log(`${path} (${Math.round((performance.now() - started) / 1000)} s)`);
}
