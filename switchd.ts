// SPDX-License-Identifier: Apache-2.0
/**
 * A switch of OpenFlow as a program: one bridge, `switchd.ts --bridge br0 --port eth1`, or bridges
 * that a database describes, as ovs-vswitchd(8) has them: `switchd.ts unix:/run/db.sock`.
 *
 * @module
 */
import { serve } from "./control/serve.ts";
import { ControlPathError } from "./control/socket_path.ts";
import { FileError, isOfSystem, systemWords } from "./control/system_words.ts";
import type { Datapath } from "./providers/datapath.ts";
import { DatapathError } from "./providers/errors.ts";
import { openDatapath } from "./providers/registry.ts";
import { openSwitch, type OpenSwitchOptions } from "./openflow/open.ts";
import { DAEMON_USAGE, HELP, isDaemon } from "./vswitch/arguments.ts";
import { version } from "./control/version.ts";
import { runDaemon } from "./vswitch/program.ts";

/** What the command line says. */
interface Arguments {
  readonly bridge: string;
  readonly ports: readonly string[];
  readonly options: OpenSwitchOptions;
}

/** A mistake of the user's. */
class UsageError extends Error {}

const protocols = ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"] as const;

/** Options that may come again. */
const many: readonly string[] = ["--port", "--controller", "--listen"];
const options: readonly string[] = [
  ...many,
  ...["--bridge", "--protocols", "--datapath-id", "--tight"],
];

/** Reads the command line. Throws {@linkcode UsageError}. */
export function readArguments(args: readonly string[]): Arguments {
  const ports: string[] = [];
  const controllers: string[] = [];
  const listen: string[] = [];
  let bridge: string | undefined;
  let more: Partial<OpenSwitchOptions> = {};
  const seen = new Set<string>();
  const words = args.flatMap((arg) => {
    const at = arg.indexOf("=");
    return arg.startsWith("--") && at > 0 ? [arg.slice(0, at), arg.slice(at + 1)] : [arg];
  });
  for (let i = 0; i < words.length; i++) {
    const name = words[i] as string;
    if (!options.includes(name)) {
      const what = name.startsWith("-") ? `option ${name}` : `place for "${name}"`;
      throw new UsageError(`there is no ${what}`);
    }
    if (seen.has(name) && !many.includes(name)) {
      throw new UsageError(`${name} is given twice`);
    }
    seen.add(name);
    if (name === "--tight") {
      more = { ...more, tight: true };
      continue;
    }
    const value = words[++i];
    if (value === undefined || value === "") {
      throw new UsageError(`${name} needs a value`);
    }
    switch (name) {
      case "--bridge":
        bridge = value;
        break;
      case "--port":
        if (!/^[^:]+(:[^:]+)?$/.test(value)) {
          throw new UsageError(`--port ${value}: expected DEVICE[:TYPE]`);
        }
        ports.push(value);
        break;
      case "--controller":
        controllers.push(value);
        break;
      case "--listen":
        listen.push(value);
        break;
      case "--protocols": {
        const versions = value.split(",").map((word) => {
          const found = protocols.find((version) =>
            version === word || `OpenFlow${version.replace(".", "")}` === word
          );
          if (found === undefined) {
            throw new UsageError(`${word} is no version of OpenFlow`);
          }
          return found;
        });
        more = { ...more, versions };
        break;
      }
      case "--datapath-id":
        if (!/^(0x)?[0-9a-f]{1,16}$/i.test(value)) {
          throw new UsageError(`${value} is not 64 bits in hexadecimal`);
        }
        more = { ...more, datapathId: BigInt(`0x${value.replace(/^0x/i, "")}`) };
        break;
    }
  }
  if (bridge === undefined) throw new UsageError("--bridge is missing");
  return {
    bridge: bridge.includes("@") ? bridge : `netdev@${bridge}`,
    ports,
    options: { ...more, controllers, listen },
  };
}

async function main(): Promise<void> {
  const { bridge, ports, options } = readArguments(Deno.args);
  await using dp = await openDatapath(bridge, { create: true });
  for (const port of ports) {
    const [name = "", type] = port.split(":");
    await dp.ports.add(type === undefined ? { name } : { name, type });
  }
  await using of = await openHere(dp, options);
  const ended = Promise.withResolvers<void>();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => ended.resolve());
  }
  await serve(dp);
  const places = of.listeners.join(", ");
  console.error(`${dp.fullName} is ready${places === "" ? "" : ` at ${places}`}`);
  await Promise.race([ended.promise, of.run.ended]);
}

/** Opens the switch; why it cannot listen says where. */
async function openHere(
  dp: Datapath,
  options: OpenSwitchOptions,
): ReturnType<typeof openSwitch> {
  try {
    return await openSwitch(dp, options);
  } catch (error) {
    if (!isOfSystem(error)) throw error;
    const places = (options.listen ?? []).join(", ");
    throw new Error(`Cannot listen at ${places}: ${systemWords(error)}`, {
      cause: error,
    });
  }
}

/** The words for a failure that is the user's to mend; undefined for a fault of this program. */
function told(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error instanceof UsageError) return `${error.message}\n${DAEMON_USAGE}`;
  const own = [DatapathError, ControlPathError, FileError, SyntaxError];
  if (own.some((kind) => error instanceof kind)) return error.message;
  if (error.message.startsWith("Cannot ")) return error.message;
  return isOfSystem(error) ? systemWords(error) : undefined;
}

if (import.meta.main) {
  try {
    if (Deno.args.includes("--help") || Deno.args.includes("-h")) console.log(HELP);
    else if (Deno.args.includes("--version") || Deno.args.includes("-V")) {
      console.log(`upcall-switchd (Upcall) ${version}`);
    } else if (isDaemon(Deno.args)) {
      Deno.exit(await runDaemon(Deno.args, import.meta.filename ?? ""));
    } else await main();
    Deno.exit(0);
  } catch (error) {
    const text = told(error);
    if (text === undefined) throw error;
    console.error(text);
    Deno.exit(1);
  }
}
