// SPDX-License-Identifier: Apache-2.0
/**
 * What the demo shows: a table that is drawn again in place, or plain lines where that is not
 * possible.
 *
 * @module
 */
import { flowLine } from "../../control/text/flow_line.ts";
import type { Report } from "./switch.ts";

const width = 80;
const shownFlows = 6;
const encoder = new TextEncoder();

/** Shows steps and reports. */
export class Screen {
  readonly #live = Deno.stdout.isTerminal();
  #drawn = 0;
  #last: { report: Report; at: number } | undefined;

  /** Announces a step of the demo. */
  say(text: string): void {
    this.#erase();
    write(`${text}\n`);
  }

  /** Shows a report and the rates since the last one. */
  show(report: Report): void {
    const at = performance.now();
    const lines = table(
      report,
      this.#last && { ...this.#last, seconds: (at - this.#last.at) / 1000 },
    );
    this.#last = { report, at };
    if (this.#live) {
      this.#erase();
      write(lines.map((line) => `${line.slice(0, width)}\n`).join(""));
      this.#drawn = lines.length;
    } else if (lines[0] !== undefined) {
      write(`${lines[0]}\n`);
    }
  }

  #erase(): void {
    if (this.#drawn > 0) write(`\x1b[${this.#drawn}A\x1b[J`);
    this.#drawn = 0;
  }
}

function write(text: string): void {
  const bytes = encoder.encode(text);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

/** The lines of a report. The first one says it all in short. */
export function table(
  report: Report,
  before?: { readonly report: Report; readonly seconds: number },
): string[] {
  const { ports, flows, hit, missed, lost } = report;
  const rate = (pick: (port: Report["ports"][number]) => number, no: number): number => {
    const now = ports.find((port) => port.no === no);
    const then = before?.report.ports.find((port) => port.no === no);
    if (now === undefined || then === undefined || before === undefined) return 0;
    return (pick(now) - pick(then)) / before.seconds;
  };
  const bits = ports.reduce(
    (sum, { no }) => sum + 8 * rate((port) => port.txBytes, no),
    0,
  );
  const share = hit + missed === 0 ? "-" : `${(100 * hit / (hit + missed)).toFixed(1)}%`;
  return [
    `ports ${ports.length}  flows ${flows.length}  upcalls ${missed}  hit ${share}  ` +
    `lost ${lost}  ${(bits / 1e9).toFixed(2)} Gbit/s`,
    `${"PORT".padEnd(6)}${"NAME".padEnd(18)}${"TYPE".padEnd(10)}${
      "RX pkt/s".padStart(12)
    }${"TX pkt/s".padStart(12)}${"TX Mbit/s".padStart(12)}`,
    ...ports.map(({ no, name, type }) =>
      `${no}`.padEnd(6) + name.padEnd(18) + type.padEnd(10) +
      count(rate((port) => port.rxPackets, no)) + count(rate((port) =>
        port.txPackets, no)) +
      count(8 * rate((port) => port.txBytes, no) / 1e6)
    ),
    ...flows.slice(0, shownFlows).map((flow) => `  ${flowLine(flow, width - 2)}`),
    ...flows.length > shownFlows ? [`  and ${flows.length - shownFlows} more flows`] : [],
  ];
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en").padStart(12);
}
