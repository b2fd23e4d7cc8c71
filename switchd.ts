// SPDX-License-Identifier: Apache-2.0
/**
 * A switch of OpenFlow as a program: one bridge, `switchd.ts --bridge br0 --port eth1`, or bridges
 * that a database describes, as ovs-vswitchd(8) has them: `switchd.ts unix:/run/db.sock`.
 *
 * @module
 */
import { serve } from "./control/serve.ts";
import { ControlPathError } from "./control/socket_path.ts";
import { DatapathError } from "./providers/errors.ts";
import { openDatapath } from "./providers/registry.ts";
import { openSwitch, type OpenSwitchOptions } from "./openflow/open.ts";
import { isDaemon } from "./vswitch/arguments.ts";
import { runDaemon } from "./vswitch/program.ts";

const USAGE =
  `usage: deno run -A switchd.ts --bridge [TYPE@]NAME [--port DEVICE[:TYPE]]...
       [--controller tcp:HOST[:PORT]|unix:PATH]... [--listen ptcp:PORT[:HOST]|punix:PATH]...
       [--protocols 1.0,1.3,...] [--datapath-id HEX] [--tight]
   or: deno run -A switchd.ts [DATABASE] [OPTION]..., a daemon: "switchd.ts --help" tells

Runs a bridge that controllers drive by OpenFlow 1.0 to 1.5. The datapath is the userspace one
("netdev@NAME") unless TYPE says otherwise. --tight masks only what decides about a packet; without
it masks follow from the rules of Open vSwitch.`;

/** What the command line says. */
interface Arguments {
  readonly bridge: string;
  readonly ports: readonly string[];
  readonly options: OpenSwitchOptions;
}

/** A mistake of the user's. */
class UsageError extends Error {}

const protocols = ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"] as const;

/** Reads the command line. Throws {@linkcode UsageError}. */
export function readArguments(args: readonly string[]): Arguments {
  const ports: string[] = [];
  const controllers: string[] = [];
  const listen: string[] = [];
  let bridge: string | undefined;
  let more: Partial<OpenSwitchOptions> = {};
  const words = args.flatMap((arg) => {
    const at = arg.indexOf("=");
    return arg.startsWith("--") && at > 0 ? [arg.slice(0, at), arg.slice(at + 1)] : [arg];
  });
  for (let i = 0; i < words.length; i++) {
    const name = words[i] as string;
    if (name === "--tight") {
      more = { ...more, tight: true };
      continue;
    }
    const value = words[++i];
    if (value === undefined) throw new UsageError(`${name} needs a value`);
    switch (name) {
      case "--bridge":
        bridge = value;
        break;
      case "--port":
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
      default:
        throw new UsageError(`there is no option ${name}`);
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
  if (Deno.args.includes("--help") || Deno.args.includes("-h")) {
    console.log(USAGE);
    return;
  }
  const { bridge, ports, options } = readArguments(Deno.args);
  await using dp = await openDatapath(bridge, { create: true });
  for (const port of ports) {
    const [name = "", type] = port.split(":");
    await dp.ports.add(type === undefined ? { name } : { name, type });
  }
  await using of = await openSwitch(dp, options);
  const ended = Promise.withResolvers<void>();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => ended.resolve());
  }
  await serve(dp);
  const places = of.listeners.join(", ");
  console.error(`${dp.fullName} is ready${places === "" ? "" : ` at ${places}`}`);
  await Promise.race([ended.promise, of.run.ended]);
}

if (import.meta.main) {
  try {
    if (isDaemon(Deno.args)) {
      Deno.exit(await runDaemon(Deno.args, import.meta.filename ?? ""));
    }
    await main();
    Deno.exit(0);
  } catch (error) {
    const own = [UsageError, DatapathError, ControlPathError, SyntaxError];
    const kinds = [...own, ...Object.values(Deno.errors)];
    if (!(error instanceof Error && kinds.some((kind) => error instanceof kind))) {
      throw error;
    }
    console.error(
      error instanceof UsageError ? `${error.message}\n${USAGE}` : error.message,
    );
    Deno.exit(1);
  }
}
