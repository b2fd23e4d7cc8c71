// SPDX-License-Identifier: Apache-2.0
/**
 * `netdev-dummy/…`: ports in memory.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { CommandError } from "../../control/command_error.ts";
import { dummyCommands } from "../../control/dummy_commands.ts";
import { PortConfig } from "../../openflow/wire/object.ts";
import { type PortNo, portNo } from "../../providers/ids.ts";
import type { Backing } from "../datapaths.ts";
import { type Add, type ServedDaemon, sortedBridges } from "./served.ts";

/** Adds them. */
export function dummyPortCommands(add: Add, { daemon }: ServedDaemon): void {
  const { dummies } = daemon;
  const having = (port: string): Backing => {
    const all = [...daemon.datapaths.all()];
    const backing = all.find(({ dp }) => dp.ports.get(port)?.type === "dummy");
    if (backing === undefined) throw new CommandError("no such dummy netdev");
    return backing;
  };
  const usage = {
    "netdev-dummy/receive": ["name [--qid queue_id] packet|flow [--len packet_len]", 2],
    "netdev-dummy/collect": ["name", 1],
  } as const;
  for (const [name, [text, min]] of Object.entries(usage)) {
    add(name, text, [min, Infinity], async (args, client) => {
      const port = args[0] ?? "";
      const backing = having(port);
      const { ports } = backing.dp;
      const before = countsOf(backing);
      let frames = 0;
      const there = {
        ports: {
          get: (no: Parameters<typeof ports.get>[0]) => ports.get(no),
          inject: (no: PortNo, frame: Uint8Array) => {
            dummies.came(port, frame);
            ports.inject?.(no, frame);
            frames++;
          },
          collect: (no: PortNo) => ports.collect?.(no),
        },
      };
      const said = await dummyCommands(there).get(name)?.run(args, client) ?? "";
      if (frames > 0) await decided(backing, before, frames);
      return said;
    });
  }
  add("netdev-dummy/conn-state", "[netdev]", [0, 1], ([name]) => {
    const names = name === undefined ? dummies.cabled : [name];
    return names.map((one) => {
      const is = dummies.isConnected(one);
      const state = is === undefined ? "unknown" : is ? "connected" : "disconnected";
      return `${one}: ${state}\n`;
    }).join("");
  });
  add(
    "dpif-dummy/change-port-number",
    "dp port new-number",
    [3, 3],
    async ([name = "", port = "", text = ""]) => {
      const backing = having(port);
      const { ports, fullName } = backing.dp;
      const [old, no] = [ports.get(port), Number(text)];
      if (!fullName.endsWith(`@${name}`)) throw new CommandError("unknown dpif");
      if (old === undefined || !/^[1-9]\d{0,4}$/.test(text)) {
        throw new CommandError("bad port number");
      }
      if (ports.get(portNo(no)) !== undefined) {
        throw new CommandError("port number already in use");
      }
      const { type, options = {} } = old;
      await ports.delete(old.no);
      await ports.add({ name: port, type, options, no: portNo(no) });
      const isKnown = (): boolean =>
        sortedBridges(daemon).some(({ faces }) => faces.get(port)?.dp === no);
      const end = performance.now() + ANEW_MS;
      daemon.configure();
      while (!isKnown() && performance.now() < end) await later();
      return "";
    },
  );
  add("netdev-dummy/set-admin-state", "[netdev] up|down", [1, 2], (args) => {
    const state = args.at(-1)?.toLowerCase();
    const name = args.length === 2 ? args[0] : undefined;
    if (state !== "up" && state !== "down") throw new CommandError("Invalid Admin State");
    const config = state === "down" ? PortConfig.down : 0;
    let found = false;
    for (const { of, faces, backing } of sortedBridges(daemon)) {
      if (backing.kind !== "dummy") continue;
      for (const [port, { number, dp, config: { type } }] of faces) {
        const isOne = name === undefined || name === port;
        if (!isOne || dp === undefined || type === "patch") continue;
        const known = [...of.ports.value.values()].find((one) => one.name === port);
        if (known === undefined || number < 0) continue;
        found = true;
        of.portMod({
          ...{ kind: "portMod", port: known.port, mac: known.mac },
          ...{ config, mask: PortConfig.down, advertise: 0 },
        });
      }
    }
    if (name !== undefined && !found) throw new CommandError("Unknown Dummy Interface");
    return "OK\n";
  });
}

/** Another number of a port is known to its bridge after so long at most, ms. */
const ANEW_MS = 1000;

function later(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** What a datapath has looked up, and had handed to its policy. */
interface Counts {
  readonly hit: number;
  readonly missed: number;
  readonly upcalls: number;
}

/** What is received is waited for so long at most, ms: a port may be down. */
const PATIENCE_MS = 20;

function countsOf({ dp, switches: { run } }: Backing): Counts {
  const { hit, missed } = dp.stats();
  return { hit: Number(hit), missed: Number(missed), upcalls: run.stats.upcalls };
}

/** Waits until so many frames were looked up, and what no flow fitted was decided on. */
async function decided(backing: Backing, before: Counts, frames: number): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  const isLacking = (): boolean => {
    const { hit, missed, upcalls } = countsOf(backing);
    const seen = hit + missed - before.hit - before.missed;
    return seen < frames || upcalls - before.upcalls < missed - before.missed;
  };
  while (isLacking() && performance.now() < end) {
    await later();
  }
  await backing.switches.run.settled();
}
