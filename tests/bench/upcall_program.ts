// SPDX-License-Identifier: Apache-2.0
/**
 * This project under measurement: a Deno process that runs `upcall_side.ts`, told what to do in
 * lines of JSON and answering in lines of JSON.
 *
 * @module
 */
import { Child } from "./child.ts";
import type { TunnelSpec } from "./tunnelled.ts";
import { FLOW_LIMIT, type Program, type Setting } from "./program.ts";

const SIDE = new URL("./upcall_side.ts", import.meta.url).pathname;

/** What the process is told, one line each. */
export type Order =
  | {
    readonly order: "start";
    readonly receiver: string;
    readonly senders: readonly string[];
    readonly attacker?: string;
    readonly maxConnections?: number;
    readonly tunnel?: TunnelSpec;
  }
  /** Installs the flows of a file: a JSON list of `{key, actions}`. */
  | { readonly order: "install"; readonly file: string }
  /** Sets a flow to port `to` up for each miss from now on, `most` at most. */
  | { readonly order: "decide"; readonly to: number; readonly most?: number }
  | { readonly order: "flush" }
  /** Forgets all connections. */
  | { readonly order: "forget" }
  | { readonly order: "count" };

/** Its answer to each order, in turn. */
export interface Answer {
  /** Flows in the table after the order. */
  readonly flows: number;
  /** Flows that upcalls have set up since the last flush. */
  readonly setUps: number;
  /** Connections in the table. */
  readonly connections: number;
  /** Set when the order failed. */
  readonly error?: string;
}

/** Runs a program that sees no hugepages, under the same process id. */
const BLIND = [
  "unshare",
  "--mount",
  "sh",
  "-c",
  'mount -t tmpfs none /sys/kernel/mm/hugepages; exec "$@"',
  "sh",
];

/** Starts this project's datapath with the flows of the scenario. */
export async function startUpcall(
  setting: Setting,
  { hugepages = true }: { readonly hugepages?: boolean } = {},
): Promise<Program> {
  const file = `${setting.folder}/flows.json`;
  await Deno.writeTextFile(
    file,
    JSON.stringify([
      ...setting.prepared.flows,
      ...setting.prepared.attack?.flows ?? [],
    ]),
  );
  const [program = "", ...args] = [
    ...hugepages ? [] : BLIND,
    Deno.execPath(),
    ..."run -A --quiet".split(" "),
    SIDE,
  ];
  const child = new Child(program, args, {
    env: { LD_PRELOAD: setting.netGen },
    log: `${setting.folder}/upcall.log`,
  });
  let answers = 0;
  const tell = async (order: Order): Promise<Answer> => {
    await child.say(JSON.stringify(order));
    const line = await child.until((log) => answerLines(log)[answers], 120);
    answers++;
    const answer = JSON.parse(line) as Answer;
    if (answer.error !== undefined) {
      throw new Error(`upcall ${order.order}: ${answer.error}`);
    }
    return answer;
  };
  try {
    const { receiver, senders, attacker, prepared } = setting;
    const { maxConnections, tunnel } = prepared.scenario;
    await tell({
      order: "start",
      receiver,
      senders,
      ...(attacker && { attacker }),
      ...(maxConnections && { maxConnections }),
      ...(tunnel && { tunnel }),
    });
    if (prepared.scenario.measure === "upcall") await tell({ order: "decide", to: 2 });
    else await tell({ order: "install", file });
    if (prepared.attack?.flows.length === 0) {
      await tell({ order: "decide", to: 1, most: FLOW_LIMIT });
    }
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
  return {
    child,
    settle: async () => (await tell({ order: "count" })).flows,
    flush: async () => void await tell({ order: "flush" }),
    setUps: async () => (await tell({ order: "count" })).setUps,
    forget: async () => void await tell({ order: "forget" }),
    connections: async () => (await tell({ order: "count" })).connections,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

/** Complete lines of a log that are answers; the rest is for people. */
function answerLines(log: string): string[] {
  return log.split("\n").slice(0, -1).filter((line) => line.startsWith("{"));
}
