// SPDX-License-Identifier: Apache-2.0
/**
 * Runs the example as it is, in a process of its own, and reports on its datapath: a line of JSON
 * twice a second.
 *
 * A datapath may be open more than once in a program, so the report needs nothing of the example.
 *
 * @module
 */
import { openDatapath } from "../../mod.ts";
import { words } from "../start.ts";

/** One report. */
export interface Report {
  readonly ports: readonly {
    readonly no: number;
    readonly name: string;
    readonly type: string;
    readonly rxPackets: number;
    readonly txPackets: number;
    readonly rxBytes: number;
    readonly txBytes: number;
  }[];
  readonly flows: readonly string[];
  readonly hit: number;
  readonly missed: number;
  readonly lost: number;
}

if (import.meta.main) {
  const [name = "netdev@demo"] = words("[DATAPATH]", "[DEVICE...]");
  const dp = await openDatapath(name, { create: true });
  setInterval(() => {
    const { hit, missed, lost } = dp.stats();
    const report: Report = {
      ports: [...dp.ports.dump()].map(({ no, name, type }) => {
        const { rxPackets, txPackets, rxBytes, txBytes } = dp.ports.stats(no);
        return {
          no,
          name,
          type,
          rxPackets: Number(rxPackets),
          txPackets: Number(txPackets),
          rxBytes: Number(rxBytes),
          txBytes: Number(txBytes),
        };
      }),
      flows: [...dp.flows.dump()].map(String),
      hit: Number(hit),
      missed: Number(missed),
      lost: Number(lost),
    };
    console.log(JSON.stringify(report));
  }, 500);

  const end = async (): Promise<void> => {
    // A datapath in the kernel would go on without us; one of this process ends with it.
    if (dp.type === "system") await dp.destroy();
    Deno.exit(0);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, end);
  }
  // Standard input ends with the demo, also if that is killed.
  void Deno.stdin.readable.pipeTo(new WritableStream()).finally(end);
  await import("../learning_switch.ts");
}
