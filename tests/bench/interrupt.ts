// SPDX-License-Identifier: Apache-2.0
/**
 * Clean-up when the benches are interrupted: processes, hugepages, namespaces and temporary folders
 * do not outlive them.
 *
 * @module
 */
import { helpIfAsked, isExpected } from "./usage.ts";

/** What remains to be cleaned up, in the order in which it was made. */
const remaining = new Set<() => void | Promise<void>>();

const SIGNALS: Readonly<Partial<Record<Deno.Signal, number>>> = {
  SIGHUP: 129,
  SIGINT: 130,
  SIGTERM: 143,
};

/**
 * Runs `cleanUp` once: when what is returned is disposed of, or when the program is interrupted,
 * the latest first.
 */
export function cleanedUp(cleanUp: () => void | Promise<void>): AsyncDisposable {
  remaining.add(cleanUp);
  return {
    [Symbol.asyncDispose]: async () => {
      if (remaining.delete(cleanUp)) await cleanUp();
    },
  };
}

let interrupted = false;

/**
 * Runs the whole program. When it is interrupted, what fails for want of what was cleaned up is of
 * no interest any more: the signal's handler ends it.
 */
export async function untilInterrupted(main: () => Promise<number>): Promise<void> {
  helpIfAsked(Deno.mainModule);
  cleanUpOnSignals();
  try {
    Deno.exitCode = await main();
  } catch (error) {
    if (interrupted) return;
    if (!isExpected(error)) throw error;
    console.error(`${error.message}\nWith --help it says how it is called.`);
    Deno.exitCode = 1;
  }
}

/** From now on, a signal cleans up before it ends the program. */
function cleanUpOnSignals(): void {
  for (const [signal, code] of Object.entries(SIGNALS)) {
    Deno.addSignalListener(signal as Deno.Signal, async () => {
      interrupted = true;
      for (const cleanUp of [...remaining].reverse()) {
        remaining.delete(cleanUp);
        try {
          await cleanUp();
        } catch (error) {
          console.error(error);
        }
      }
      Deno.exit(code);
    });
  }
}

/** Makes a temporary folder that is removed in the end. */
export async function temporaryFolder(
  prefix: string,
): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.makeTempDir({ prefix });
  return { path, ...cleanedUp(() => Deno.remove(path, { recursive: true })) };
}
