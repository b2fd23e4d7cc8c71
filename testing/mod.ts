// SPDX-License-Identifier: Apache-2.0
/**
 * Tests of programs, without root and without devices: dummy ports, frames in and out, waiting, and
 * assertions that say what a frame differs in.
 *
 * ```ts no-eval
 * import { arp, build, ethernet, replyTo } from "../frames/mod.ts";
 * import { openLab } from "./mod.ts";
 *
 * Deno.test("my switch floods what it does not know", async () => {
 *   await using lab = await openLab({ ports: ["p1", "p2", "p3"] });
 *   mySwitch(lab.dp);
 *   const frame = build([ethernet({ dst: "ff:ff:ff:ff:ff:ff" }), arp()]);
 *   await lab.inject("p1", frame);
 *   await lab.expect("p2", frame);
 *   await lab.expect("p3", frame);
 * });
 * ```
 *
 * @module
 */
export { assertFrames, frameDifference, FramesError } from "./difference.ts";
export { Lab, type LabOptions, openLab, until, type UntilOptions } from "./lab.ts";
