// SPDX-License-Identifier: Apache-2.0
/**
 * A real `ovsdb-server` with Open vSwitch's schema, for tests.
 *
 * @module
 */
import { needProgram, Unsupported } from "../support/skip.ts";
import { until } from "../support/wait.ts";

const SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema";

/** What a program printed. */
export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program of Open vSwitch's, with its run folder in a folder of the test. */
export async function say(
  name: string,
  args: readonly string[],
  folder?: string,
): Promise<Said> {
  const env: Record<string, string> = folder === undefined ? {} : {
    OVS_RUNDIR: folder,
    OVS_DBDIR: folder,
    OVN_RUNDIR: folder,
    OVS_SYSCONFDIR: folder,
  };
  const { code, stdout, stderr } = await new Deno.Command(
    needProgram(name, { requirement: "peer" }),
    { args: [...args], stdin: "null", env: { LC_ALL: "C", ...env } },
  ).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** A server with an empty database, in a folder of its own. */
export class Server implements AsyncDisposable {
  readonly folder: string;
  #child: Deno.ChildProcess | undefined;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Starts one. Skips the test where there is none. */
  static async start(): Promise<Server> {
    needProgram("ovsdb-tool", { requirement: "peer" });
    try {
      await Deno.stat(SCHEMA);
    } catch {
      throw new Unsupported(SCHEMA, { requirement: "peer" });
    }
    const server = new Server(await Deno.makeTempDir({ prefix: "ov" }));
    const made = await say("ovsdb-tool", ["create", `${server.folder}/conf.db`, SCHEMA]);
    if (made.code !== 0) throw new Error(made.stderr);
    await server.run();
    await server.vs("--no-wait", "init");
    return server;
  }

  /** Where it listens. */
  get target(): string {
    return `unix:${this.folder}/db.sock`;
  }

  /** Runs the server, again after {@linkcode stop}. */
  async run(): Promise<void> {
    const args = [`${this.folder}/conf.db`, `--remote=punix:${this.folder}/db.sock`];
    args.push("--no-chdir", `--unixctl=${this.folder}/db.ctl`, "-vconsole:off");
    args.push("--remote=db:Open_vSwitch,Open_vSwitch,manager_options");
    this.#child = new Deno.Command(needProgram("ovsdb-server", { requirement: "peer" }), {
      args,
      env: { OVS_RUNDIR: this.folder },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await until("ovsdb-server to listen", async () => {
      try {
        const path = `${this.folder}/db.sock`;
        (await Deno.connect({ transport: "unix", path })).close();
        return true;
      } catch {
        return undefined;
      }
    });
  }

  /** Ends the server; the database stays. */
  async stop(): Promise<void> {
    this.resume();
    this.#child?.kill("SIGTERM");
    await this.#child?.status;
    this.#child = undefined;
  }

  /** Has the server answer nobody, and hang up on nobody, until {@linkcode resume}. */
  pause(): void {
    this.#child?.kill("SIGSTOP");
  }

  /** Has the server go on. */
  resume(): void {
    this.#child?.kill("SIGCONT");
  }

  /** Runs ovs-vsctl. Without `--no-wait` it waits for a switch. */
  vsctl(...args: string[]): Promise<Said> {
    const all = [`--db=${this.target}`, "--timeout=20", ...args];
    return say("ovs-vsctl", all, this.folder);
  }

  /** As `vsctl`; what it printed. Throws what it complained of. */
  async vs(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.vsctl(...args);
    if (code !== 0) throw new Error(`ovs-vsctl ${args.join(" ")}: ${stderr}`);
    return stdout.trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await Deno.remove(this.folder, { recursive: true });
  }
}
