// SPDX-License-Identifier: Apache-2.0
/**
 * Two hosts talk through a switch written in TypeScript: ping both ways, then iperf3.
 *
 *     sudo deno run -A examples/demo.ts [--provider system] [--seconds 3]
 *
 * The switch is `learning_switch.ts`, as it is, in a process of its own.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type Host, makeHosts, on, removeHosts, run } from "./demo/network.ts";
import { Screen } from "./demo/screen.ts";
import type { Report } from "./demo/switch.ts";
import { purpose } from "./start.ts";

const usage =
  "usage: deno run -A examples/demo.ts [--provider netdev|system] [--seconds N]";
const options = readOptions();
const seconds = Number(options.seconds);
if (Deno.uid() !== 0) {
  console.error(`The demo makes network namespaces, which only root may:\n  ${asRoot()}`);
  Deno.exit(1);
}

const screen = new Screen();
const children: Deno.ChildProcess[] = [];
let interrupted: Promise<never> | undefined;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(
    signal,
    () => interrupted ??= cleanUp().then(() => Deno.exit(0)),
  );
}
let failure: unknown;
try {
  await demo();
} catch (error) {
  failure = error;
}
await interrupted; // What fails then, fails because it was taken down.
await cleanUp();
if (failure !== undefined) {
  console.error(failure instanceof Error ? failure.message : failure);
  Deno.exit(1);
}
Deno.exit(0);

/** The options of the command line; ends the program where they are wrong. */
function readOptions(): { readonly provider: string; readonly seconds: string } {
  let complaint: string;
  try {
    const { values } = parseArgs({
      args: Deno.args,
      options: {
        provider: { type: "string", default: "netdev" },
        seconds: { type: "string", default: "3" },
        help: { type: "boolean" },
      },
    });
    const { help, ...options } = values;
    if (help) {
      console.log(purpose() + usage);
      Deno.exit(0);
    }
    const isKnown = options.provider === "netdev" || options.provider === "system";
    if (isKnown && Number(options.seconds) > 0) return options;
    complaint = isKnown
      ? `--seconds must be above 0: it is ${options.seconds}`
      : `--provider must be netdev or system: it is ${options.provider}`;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    complaint = error.message;
  }
  console.error(`${complaint}\n${usage}`);
  Deno.exit(1);
}

async function demo(): Promise<void> {
  await removeHosts();
  const [left, right] = await makeHosts(2);
  if (left === undefined || right === undefined) throw new Error("Cannot make two hosts");
  screen.say(`Two hosts, ${left.address} and ${right.address}, each with one cable.`);

  const started = performance.now();
  await startSwitch([left.device, right.device]);
  await firstPing(left, right);
  const took = ((performance.now() - started) / 1000).toFixed(1);
  screen.say(`The switch forwards: first packet after ${took} s.`);

  const loss = Math.max(await ping(left, right), await ping(right, left));
  const gigabits = await iperf(left, right);
  screen.say(`Result: ${loss} % loss, ${gigabits.toFixed(2)} Gbit/s.`);
}

/**
 * Starts the example on a new datapath, and shows what it reports. Returns when it has its ports.
 */
async function startSwitch(devices: string[]): Promise<void> {
  const datapath = `${options.provider}@demo${Deno.pid % 1_000_000}`;
  screen.say(`Starting examples/learning_switch.ts ${datapath} ${devices.join(" ")}`);
  const program = new URL("./demo/switch.ts", import.meta.url).href;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", program, datapath, ...devices],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  children.push(child);
  const said = tell(child.stderr);
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
  void (async () => {
    const missing = (report: Report): boolean =>
      devices.some((device) => !report.ports.some(({ name }) => name === device));
    for await (const report of reports(child.stdout)) {
      if (!missing(report)) resolve();
      screen.show(report);
    }
    const { code } = await child.status;
    await said;
    reject(new Error(`The switch ended (exit status ${code}).`));
  })();
  await ready;
}

/** Shows what the switch says, line by line, above the table. */
async function tell(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) screen.say(line);
  }
}

async function* reports(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<Report> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line);
  }
}

/** On a busy machine the first answer may take longer than a host asks for an address. */
async function firstPing(from: Host, to: Host): Promise<void> {
  for (let left = 10; left > 0; left--) {
    try {
      await run("ip", ...on(from, "ping", "-c", "1", "-W", "2", to.address));
      return;
    } catch (error) {
      if (left === 1) throw error;
    }
  }
}

/** Pings, and returns the loss in percent. */
async function ping(from: Host, to: Host): Promise<number> {
  const output = await run(
    "ip",
    ...on(from, "ping", "-c", "5", "-i", "0.1", "-W", "2", to.address),
  );
  const loss = Number(/([\d.]+)% packet loss/.exec(output)?.[1]);
  const rtt = /= ([\d.]+)\/([\d.]+)\//.exec(output)?.[2];
  screen.say(
    `ping ${from.address} to ${to.address}: ${loss} % loss, round trip ${rtt} ms on average`,
  );
  return loss;
}

/** Sends by TCP for some seconds, and returns Gbit/s as received. */
async function iperf(from: Host, to: Host): Promise<number> {
  screen.say(`iperf3 for ${seconds} s from ${from.address} to ${to.address}`);
  const server = new Deno.Command("ip", {
    args: on(to, "iperf3", "--server", "--one-off", "--forceflush", "--bind", to.address),
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  children.push(server);
  // It says when it listens; the rest of what it says is of no interest, but must be read.
  const { promise: listening, resolve } = Promise.withResolvers<void>();
  void (async () => {
    for await (const text of server.stdout.pipeThrough(new TextDecoderStream())) {
      if (text.includes("listening")) resolve();
    }
    resolve();
  })();
  await listening;
  const client = ["iperf3", "--client", to.address, "--time", `${seconds}`, "--json"];
  const report = JSON.parse(
    await run("timeout", `${seconds + 10}`, "ip", ...on(from, ...client)),
  );
  return report.end.sum_received.bits_per_second / 1e9;
}

/** Ends what was started and removes what was made. */
async function cleanUp(): Promise<void> {
  for (const child of children.splice(0)) {
    try {
      child.kill("SIGTERM");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // It has ended already.
    }
    const impatience = setTimeout(() => child.kill("SIGKILL"), 3000);
    await child.status;
    clearTimeout(impatience);
  }
  await removeHosts();
}

function asRoot(): string {
  const { pathname } = new URL(import.meta.url);
  return `sudo ${Deno.execPath()} run -A ${pathname} ${Deno.args.join(" ")}`.trimEnd();
}
