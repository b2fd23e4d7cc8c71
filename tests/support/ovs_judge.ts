// SPDX-License-Identifier: Apache-2.0
/**
 * Builds a program around Open vSwitch's own library that says what its userspace makes of packets,
 * keeps it in the cache, and asks it.
 *
 *     deno run -A tests/support/ovs_judge.ts
 *
 * Takes 4 minutes on two cores, once.  The source is Debian's package openvswitch-source.  What it can
 * do and ovs-vswitchd cannot is read any action and any key: text has no pop_eth, nsh() or add_mpls.
 *
 * @module
 */
import { run } from "./command.ts";
import { Unsupported } from "./skip.ts";

const TARBALL = "/usr/src/openvswitch/openvswitch.tar.gz";
const program = new URL("../differential/ovs_judge.c", import.meta.url).pathname;

/** What is generated before the library can be compiled. */
const generated =
  "ofproto/ipfix-entities.def include/odp-netlink.h include/odp-netlink-macros.h " +
  "lib/vswitch-idl.c lib/vswitch-idl.h lib/ovsdb-server-idl.c lib/ovsdb-server-idl.h lib/dirs.c";

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

async function cacheFolder(): Promise<string> {
  const { size, mtime } = await Deno.stat(TARBALL);
  const home = Deno.env.get("HOME") ?? "/root";
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? `${home}/.cache`;
  return `${cache}/upcall/ovs-judge-${size}-${mtime?.getTime() ?? 0}`;
}

/** Builds the library and the program, as far as they are not there, and gives the program's path. */
export async function buildJudge(jobs: number): Promise<string> {
  const folder = await cacheFolder();
  const tree = `${folder}/openvswitch`;
  const archive = `${tree}/lib/.libs/libopenvswitch.a`;
  await Deno.mkdir(folder, { recursive: true });
  if (!(await exists(archive))) {
    await run(
      "sh",
      "-ec",
      `cd ${folder}; tar -xzf ${TARBALL}; cd openvswitch
      ./configure CFLAGS="-g0 -O1" --disable-ssl --disable-libcapng --with-dpdk=no >configure.log 2>&1
      nice make -j${jobs} ${generated} >make.log 2>&1
      nice make -j${jobs} lib/libopenvswitch.la >>make.log 2>&1 || { tail -20 make.log >&2; exit 1; }`,
    );
  }
  const path = `${folder}/ovs_judge`;
  await run(
    "sh",
    "-ec",
    `cd ${tree}; [ ${path} -nt ${program} ] || {
      libs=$(sed -n 's/^LIBS = //p' Makefile)
      gcc -O1 -w -I. -Iinclude -Ilib ${program} -o ${path}.new ${archive} lib/.libs/libopenvswitchavx512.a $libs -lpthread
      mv ${path}.new ${path}; }`,
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

  /** Starts one that was built. Throws `Unsupported` where none was. */
  static async start(): Promise<Judge> {
    const path = await exists(TARBALL) ? `${await cacheFolder()}/ovs_judge` : "";
    if (path === "" || !(await exists(path))) {
      throw new Unsupported(
        "Open vSwitch's library (tests/support/ovs_judge.ts builds it)",
        {
          requirement: "tool",
        },
      );
    }
    return new Judge(await buildJudge(1));
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
