// SPDX-License-Identifier: Apache-2.0
/**
 * Where in a program something was asked.
 *
 * @module
 */

/** The first line of the stack that is not of this runtime. */
export function callSite(): string | undefined {
  const here = new URL("..", import.meta.url).href;
  const lines = new Error().stack?.split("\n").slice(1) ?? [];
  const line = lines.find((one) =>
    !one.includes(here) || /_test\.ts/.test(one) || one.includes("/examples/")
  );
  return line?.trim().replace(/^at\s+(async\s+)?/, "")
    .replace(/^Object\.then /, "stage ") // The member of a stage that is the function.
    .replace(/\?load=\d+/, ""); // A file that `dpctl serve --policy` took anew.
}

/** What a policy asked the packet for. */
export interface Read {
  /** The leaf. */
  readonly leaf: string;
  /** How: the value, a test with its operand, or presence. */
  readonly how: string;
  /** Where in the policy, if the run looked. */
  readonly at: string | undefined;
}
