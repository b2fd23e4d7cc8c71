// SPDX-License-Identifier: Apache-2.0
/**
 * Tests of the kernel's datapath: where they run, and what they share.
 *
 * @module
 */
import { DatapathError } from "../../providers/errors.ts";
import { Kernel } from "../../providers/system/ovs.ts";
import { openDatapath } from "../../providers/registry.ts";
import type { Datapath } from "../../providers/datapath.ts";
import type { OpenOptions } from "../../providers/contract/provider.ts";
import { skippable } from "../support/skip.ts";
import { inGuest } from "../support/uml.ts";

function kernelHasDatapath(): boolean {
  if (Deno.uid() !== 0) return false;
  const kernel = new Kernel();
  try {
    return kernel.datapath.id > 0;
  } catch {
    return false;
  } finally {
    kernel.close();
  }
}

/** Whether this process is root on a kernel that has the openvswitch module. */
export const hasDatapath: boolean = inGuest() || kernelHasDatapath();

/**
 * Defines a test that needs the kernel's datapath.  Where this kernel has none, nothing is defined:
 * `guest_test.ts` runs the file in a guest and reports the test as its own.
 */
export function systemTest(
  name: string,
  body: (t: Deno.TestContext) => void | Promise<void>,
): void {
  if (hasDatapath) Deno.test(`system: ${name}`, skippable(body));
}

/** A name for a datapath that no other test has; every test file counts from its own beginning. */
export function newName(): string {
  return `st${crypto.randomUUID().slice(0, 8)}`;
}

/** For a datapath that a test has destroyed itself. */
function isGone(error: unknown): undefined {
  if (!(error instanceof DatapathError) || error.code !== "ENODEV") throw error;
}

/** A datapath that is destroyed with `await using`. */
export async function makeDatapath(
  options: { name?: string; config?: NonNullable<OpenOptions["config"]> } = {},
): Promise<{ dp: Datapath } & AsyncDisposable> {
  const { name = newName(), ...rest } = options;
  const dp = await openDatapath(`system@${name}`, { create: "exclusive", ...rest });
  return {
    dp,
    async [Symbol.asyncDispose]() {
      // A test may have closed it: what it leaves, others would list.
      const left = dp.closed ? await openDatapath(dp.fullName).catch(isGone) : dp;
      await left?.destroy();
      await left?.close();
      // One that was destroyed has its sockets until it is closed.
      await dp.close();
    },
  };
}

/** Waits until `condition` holds; rejects after `timeoutMs`. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 30_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!await condition()) {
    if (performance.now() > deadline) {
      throw new Error(`Not so after ${timeoutMs} ms: ${condition}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
