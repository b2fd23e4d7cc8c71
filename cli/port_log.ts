// SPDX-License-Identifier: Apache-2.0
/**
 * What becomes of the devices of ports, said in the log of a served datapath.
 *
 * @module
 */
import type { Log } from "../control/log.ts";
import type { Port } from "../providers/contract/ports.ts";
import type { Datapath } from "../providers/datapath.ts";
import { DatapathError } from "../providers/errors.ts";
import type { PortNo } from "../providers/ids.ts";

/** Says when devices go, come back or are renamed, until the signal or the datapath ends it. */
export async function logDevices(
  dp: Datapath,
  { log, signal }: { readonly log: Log; readonly signal: AbortSignal },
): Promise<void> {
  let before = new Map<PortNo, Port>();
  try {
    for await (const _ of dp.ports.changes({ signal })) {
      const now = new Map([...dp.ports.dump()].map((port) => [port.no, port]));
      for (const [no, port] of now) {
        const was = before.get(no);
        if (was !== undefined && was.name === port.name) sayChange(log, was, port);
      }
      before = now;
    }
  } catch (error) {
    // The datapath was closed or destroyed: there is nothing to be said any more.
    if (!signal.aborted && !(error instanceof DatapathError)) throw error;
  }
}

function sayChange(log: Log, was: Port, { no, name, gone, device }: Port): void {
  const port = `port ${no} (${name})`;
  if (gone && !was.gone) {
    log.say("serve", "warn", `${port}: its device is gone`);
  } else if (was.gone && !gone) {
    log.say("serve", "info", `${port}: device ${device ?? name} is there again`);
  } else if (was.device !== device && !gone) {
    log.say("serve", "info", `${port}: its device is called ${device ?? name} now`);
  }
}
