// SPDX-License-Identifier: Apache-2.0
/**
 * The centre of OVN: its two databases, and ovn-northd between them.
 *
 * @module
 */
import { get, Program, until } from "./programs.ts";

const SCHEMAS = "/usr/share/ovn";
/** So long a command of OVN waits for what it asks, s. */
const LIMIT_S = 60;

/** Databases and ovn-northd, in a folder. */
export class Central implements AsyncDisposable {
  readonly #folder: string;
  readonly #programs: Program[] = [];

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Starts them, in a namespace if one is said. Their files are in `folder`. */
  static async start(folder: string, namespace?: string): Promise<Central> {
    const made = new Central(folder);
    try {
      for (const name of ["nb", "sb"]) {
        const file = `${folder}/${name}.db`;
        await get(["ovsdb-tool", "create", file, `${SCHEMAS}/ovn-${name}.ovsschema`]);
        made.#run(namespace, "ovsdb-server", [
          ...[file, `--remote=punix:${folder}/${name}.sock`, "--no-chdir"],
          `--unixctl=${folder}/${name}.ctl`,
        ]);
        await listening(`${folder}/${name}.sock`);
      }
      made.#run(namespace, "ovn-northd", [
        ...[`--ovnnb-db=unix:${folder}/nb.sock`, `--ovnsb-db=${made.south}`],
        `--unixctl=${folder}/northd.ctl`,
      ]);
      return made;
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
  }

  #run(namespace: string | undefined, name: string, args: readonly string[]): void {
    const env = { OVN_RUNDIR: this.#folder, OVS_RUNDIR: this.#folder };
    const start = { namespace, env, log: `${this.#folder}/${name}.log` };
    this.#programs.push(new Program(start, [name, ...args, "-vsyslog:off"]));
  }

  /** Where hosts find the southbound database. */
  get south(): string {
    return `unix:${this.#folder}/sb.sock`;
  }

  /** Runs commands of ovn-nbctl in one transaction, an array each; what they printed. */
  nb(...commands: readonly (readonly string[])[]): Promise<string> {
    const words = commands.flatMap((one, i) => i === 0 ? [...one] : ["--", ...one]);
    return get([
      ...["ovn-nbctl", `--db=unix:${this.#folder}/nb.sock`, `--timeout=${LIMIT_S}`],
      ...words,
    ]);
  }

  /** As {@linkcode nb}, when all hosts have it in force. */
  sync(...words: readonly string[]): Promise<string> {
    return this.nb(["--wait=hv", ...words.length === 0 ? ["sync"] : words]);
  }

  /** Runs ovn-sbctl; what it printed. */
  sb(...words: readonly string[]): Promise<string> {
    return get(["ovn-sbctl", `--db=${this.south}`, `--timeout=${LIMIT_S}`, ...words]);
  }

  /** Ends them. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const program of this.#programs.splice(0).reverse()) await program.end();
  }
}

/** Waits until somebody listens at a socket. */
export async function listening(path: string): Promise<void> {
  await until(`${path} to be listened at`, async () => {
    try {
      (await Deno.connect({ transport: "unix", path })).close();
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      if (error instanceof Deno.errors.ConnectionRefused) return false;
      throw error;
    }
  });
}
