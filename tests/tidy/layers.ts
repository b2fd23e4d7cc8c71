// SPDX-License-Identifier: Apache-2.0
/**
 * The layers of the TypeScript tree, and the imports that break them.
 *
 * @module
 */
import { importsOf, type SourceFile } from "../support/tree.ts";
import { isTest } from "./rooms.ts";

/**
 * The layers, from the bottom. A file is in the first layer that one of its patterns fits, and
 * imports from its own layer's folder or from lower layers.
 */
const layers: readonly (readonly [layer: string, rank: number, pattern: RegExp])[] = [
  ["words", 0, /^providers\/(types\w*|ids|check|errno|errors)\.ts$/],
  ["ovsdb", 0.5, /^ovsdb\//],
  ["codec", 1, /^providers\/codec\//],
  ["frames", 1.4, /^frames\//],
  ["odp", 1.5, /^providers\/odp\//],
  ["contract", 2, /^providers\/contract\//],
  ["netlink", 2, /^providers\/netlink\//],
  ["system", 3, /^providers\/system\//],
  ["netdev", 3, /^providers\/netdev\//],
  ["datapath", 4, /^providers\/\w+\.ts$/],
  ["testing", 4.5, /^testing\//],
  ["policy", 5, /^policy\//],
  ["openflow", 6, /^openflow\//],
  ["control", 7, /^control\//],
  ["vswitch", 7.5, /^vswitch\//],
  ["cli", 8, /^(cli\/|(dpctl|switchd)\.ts$)/],
  ["mod", 9, /^mod\.ts$/],
  ["examples", 10, /^examples\//],
  ["site", 11, /^docs\/site\//],
  ["packaging", 10, /^packaging\//],
  ["ffi", -1, /^ffi\//],
];

function layerOf(path: string): readonly [layer: string, rank: number] | undefined {
  const found = layers.find(([, , pattern]) => pattern.test(path));
  return found && [found[0], found[1]];
}

/** Layers that use shared libraries: the providers, and the tools that examine a machine. */
const usersOfFfi = [
  "netlink",
  "system",
  "netdev",
  "control",
  "vswitch",
  "cli",
  "packaging",
];

/** Layers that see a datapath as programs do, and what they may import besides themselves. */
const programs: Readonly<Record<string, readonly string[]>> = {
  policy: ["words", "codec", "odp", "datapath"],
  openflow: ["words", "codec", "odp", "datapath", "policy"],
};

/** Imports of `files` that go up, or sideways, or past a door. */
export function badImports(files: readonly SourceFile[]): string[] {
  const offenders: string[] = [];
  for (const file of files) {
    if (!file.path.endsWith(".ts") || isTest(file.path)) continue;
    const from = layerOf(file.path);
    if (from === undefined) {
      offenders.push(`${file.path} is in no layer`);
      continue;
    }
    const [layer, rank] = from;
    for (const { target } of importsOf(file)) {
      if (target === undefined || target.startsWith("c/")) continue;
      if (isTest(target)) offenders.push(`${file.path} imports the test file ${target}`);
      const to = layerOf(target);
      if (to === undefined || layer === to[0]) continue;
      const good = to[0] === "ffi"
        ? usersOfFfi.includes(layer)
        : rank > to[1] && layer !== "ffi" && (programs[layer]?.includes(to[0]) ?? true);
      if (!good) offenders.push(`${file.path} (${layer}) imports ${target} (${to[0]})`);
    }
  }
  return offenders;
}
