// SPDX-License-Identifier: Apache-2.0
/**
 * The process of this project in the comparison: a `netdev` datapath with two `dpdk` ports. It
 * obeys the orders of `upcall_program.ts` on standard input.
 *
 * @module
 */
import {
  exact,
  openDatapath,
  output,
  type PortNo,
  portNo,
  type Upcall,
} from "../../mod.ts";
import { POLL_CORE } from "./machine.ts";
import type { FlowText } from "./scenario.ts";
import { TUNNEL_PORT, type TunnelSpec } from "./tunnelled.ts";
import type { Answer, Order } from "./upcall_program.ts";

const BATCH = 256;
/** The numbers that scenarios give to the ports. */
const RECEIVER = portNo(1);
const SENDER = portNo(2);
const ATTACKER = portNo(3);

await using dp = await openDatapath("netdev@bench", { create: true });
let setUps = 0;

/** Reads orders until standard input ends. */
async function serve(): Promise<void> {
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const error = await obey(JSON.parse(line) as Order).then(
        () => undefined,
        (error: unknown) => error instanceof Error ? error.message : String(error),
      );
      const answer: Answer = {
        flows: dp.stats().flows,
        setUps,
        connections: dp.conntrack?.count?.() ?? 0,
        ...(error === undefined ? {} : { error }),
      };
      console.log(JSON.stringify(answer));
    }
  }
}

async function obey(order: Order): Promise<void> {
  switch (order.order) {
    case "start":
      await dp.pollThreads?.set(`0x${(1 << POLL_CORE).toString(16)}`);
      await addPort(RECEIVER, order.receiver);
      for (const [i, sender] of order.senders.entries()) {
        await addPort(portNo(SENDER + i), sender);
      }
      if (order.attacker !== undefined) await addPort(ATTACKER, order.attacker);
      if (order.maxConnections !== undefined) {
        dp.conntrack?.maxConnections?.set(order.maxConnections);
      }
      if (order.tunnel !== undefined) await addTunnel(order.tunnel);
      return;
    case "install":
      install(JSON.parse(Deno.readTextFileSync(order.file)) as FlowText[]);
      return;
    case "decide":
      decide(portNo(order.to), order.most ?? Infinity).catch((error: unknown) => {
        console.error(error);
        Deno.exit(1);
      });
      return;
    case "flush":
      dp.flows.flush();
      setUps = 0;
      return;
    case "forget":
      dp.conntrack?.flush();
      return;
    case "count":
      return;
  }
}

async function addPort(no: PortNo, devargs: string): Promise<void> {
  const [device = "", ...args] = devargs.split(",");
  // Type pcap has a pool of its own, with room for every packet of the file.
  const port = device.startsWith("net_pcap")
    ? { type: "pcap", options: Object.fromEntries(args.map((arg) => arg.split("="))) }
    : { type: "dpdk", options: { devargs } };
  await dp.ports.add({ name: `p${no}`, no, ...port });
}

/** Its outer packets leave by the sender. */
async function addTunnel({ kind, local, remote, remoteMac }: TunnelSpec): Promise<void> {
  await dp.ports.add({ name: "tunnel", no: portNo(TUNNEL_PORT), type: kind });
  const device = `p${SENDER}`;
  const prefix = { address: local, length: 24 };
  dp.tunnels?.addAddress({ device, prefix });
  dp.tunnels?.addRoute({ destination: prefix, device });
  dp.tunnels?.setNeighbour({ device, address: remote, mac: remoteMac });
}

/** Puts the flows in an order that has nothing to do with that of the packets. */
function install(flows: FlowText[]): void {
  const order = flows.map((_, i) => i);
  let state = 1;
  for (let i = order.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor(state / 0x1_0000_0000 * (i + 1));
    [order[i], order[j]] = [order[j] ?? 0, order[i] ?? 0];
  }
  for (let at = 0; at < order.length; at += BATCH) {
    const ops = order.slice(at, at + BATCH).flatMap((i) => {
      const flow = flows[i];
      return flow === undefined ? [] : [{ op: "put" as const, ...flow }];
    });
    for (const result of dp.operate(ops)) {
      if (!result.ok) throw result.error;
    }
  }
}

/**
 * The program that is measured in `upcall`: a decision in TypeScript for every new flow. A packet
 * that comes again before its flow is in the table gives no second set-up: such a put fails with
 * EEXIST.
 */
async function decide(to: PortNo, most: number): Promise<void> {
  const actions = [output(to)];
  const answer = { mask: exact("inPort", "ipv4", "udp"), actions };
  const decision = ({ inPort }: Upcall) => inPort === to ? undefined : answer;
  for await (const upcalls of dp.upcallBatches({ batch: BATCH })) {
    if (setUps >= most) {
      dp.operate(
        upcalls.map(({ key, packet }) => ({ op: "execute", key, packet, actions })),
      );
      continue;
    }
    for (const result of dp.answer(upcalls, decision)) if (result?.ok) setUps++;
  }
}

await serve();
