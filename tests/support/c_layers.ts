// SPDX-License-Identifier: Apache-2.0
/**
 * The floors of `c/` and the rules between them, as functions that answer with the offenders, so
 * that tests can also show that a rule finds what it is for.
 *
 * @module
 */
import { type SourceFile, withoutComments } from "./tree.ts";

/** Folders of `c/`, each a unit, by floor; the entry points, in no folder, are on top. */
const floors: readonly (readonly string[])[] = [
  ["base", "record"],
  ["packet", "link"],
  ["segment"],
  ["odp", "cls", "meter", "bond", "ct", "ipf", "tnl", "port"],
  ["upcall"],
  ["path", "act"], // A burst runs actions, actions send and recirculate.
  ["pmd"],
  ["flow"],
  [""],
];

/** Headers without a floor: the ABI, whose structures all may use. */
const abiHeaders = ["dp.h", "abi_fields.h"];

/** The folder of a path in `c/`, which is its unit; "" for the entry points. */
export function unitOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.indexOf("/")) : "";
}

/** Whether a file in one unit may use what is in another. */
function mayUse(from: string, to: string): boolean {
  const floor = (unit: string): number =>
    floors.findIndex((units) => units.includes(unit));
  if (from === to) return true;
  if (floor(from) < 0 || floor(to) < 0) return false;
  return floor(to) < floor(from) ||
    [from, to].every((unit) => unit === "path" || unit === "act");
}

/** Whether a file may define functions of `dp.h` and include `dp_int.h`. */
function isEntry(path: string): boolean {
  return /^dp(_\w+)?\.c$/.test(path);
}

/** The headers of `c/` that a file includes. */
function includesOf({ text }: SourceFile): string[] {
  return [...text.matchAll(/^#include "([^"]+)"/gm)].map(([, name]) => name ?? "");
}

/** What is wrong with the includes of the files of `c/`; paths are in `c/`. */
export function includeOffenders(files: readonly SourceFile[]): string[] {
  const known = new Set(files.map(({ path }) => path));
  const offenders: string[] = [];
  for (const file of files) {
    const unit = unitOf(file.path);
    if (!floors.flat().includes(unit)) {
      offenders.push(`${file.path}: ${unit}/ has no floor`);
    }
    for (const name of includesOf(file)) {
      if (!known.has(name)) {
        offenders.push(`${file.path} includes ${name}, which is not there`);
      } else if (abiHeaders.includes(name)) {
        continue;
      } else if (!mayUse(unit, unitOf(name))) {
        offenders.push(`${file.path} includes ${name}, which is no lower floor's`);
      } else if (name.endsWith("_int.h") && unit !== unitOf(name)) {
        offenders.push(`${file.path} includes ${name}, which is another unit's own`);
      } else if (name === "dp_int.h" && !isEntry(file.path)) {
        offenders.push(`${file.path} includes ${name}, which is for dp_*.c`);
      }
    }
  }
  const graph = new Map(files.map((file) => [file.path, includesOf(file)]));
  return [...offenders, ...circles(graph)];
}

/** What an object defines and wants, in all builds of one source. */
export interface Symbols {
  /** Path of the source in `c/`. */
  readonly path: string;
  readonly defines: ReadonlySet<string>;
  readonly wants: ReadonlySet<string>;
}

/** Where each name is defined. */
function definers(objects: readonly Symbols[]): Map<string, string> {
  return new Map(
    objects.flatMap(({ path, defines }) =>
      [...defines].map((name) => [name, path] as const)
    ),
  );
}

/** What is wrong with who calls whom. */
export function callOffenders(objects: readonly Symbols[]): string[] {
  const places = definers(objects);
  const offenders: string[] = [];
  const graph = new Map<string, string[]>();
  for (const { path, wants } of objects) {
    const called = new Set<string>();
    for (const name of wants) {
      const place = places.get(name);
      if (place === undefined || place === path) continue;
      called.add(place);
      if (!mayUse(unitOf(path), unitOf(place))) {
        offenders.push(`${path} wants ${name} of ${place}, which is on no lower floor`);
      }
    }
    graph.set(path, [...called].sort());
  }
  return [...offenders, ...circles(graph)];
}

/** Names of functions and objects that a header declares. */
export function declaredBy({ text }: SourceFile): string[] {
  const code = withoutComments(text)
    .replace(/^#(?:.*\\\n)*.*$/gm, "")
    .replace(/\b__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)/g, "");
  const names: string[] = [];
  let depth = 0;
  let statement = "";
  // Statements at the outermost level; what stands in braces is left out.
  for (const character of code) {
    if (character === "{") depth++;
    if (depth === 0) statement += character;
    if (character === "}" && --depth === 0 && /\)\s*$/.test(statement)) statement = "";
    if (depth > 0 || character !== ";") continue;
    const declaration = statement.replace(/\s+/g, " ").trim();
    statement = "";
    if (/^(static|typedef|struct \w+ ?;|union|enum|_Static_assert)\b/.test(declaration)) {
      continue;
    }
    if (/^[A-Z_]+\(/.test(declaration)) continue; // A macro that makes a type: LIST_HEAD().
    if (declaration.startsWith("extern ") && !declaration.includes("(")) {
      names.push(
        ...declaration.slice(0, -1).split(",").map((part) =>
          /(\w+)\s*(?:\[[^\]]*\]\s*)*$/.exec(part)?.[1] ?? ""
        ),
      );
      continue;
    }
    const name = /\b(\w+) ?\(/.exec(declaration)?.[1];
    if (name !== undefined) names.push(name);
  }
  return names;
}

/**
 * Names that a header declares and something else defines than may: the source of its name, or,
 * of `UNIT/UNIT.h` and `NAME_int.h`, any source of its unit; of `dp.h`, an entry point.
 */
export function declarationOffenders(
  headers: readonly SourceFile[],
  objects: readonly Symbols[],
): string[] {
  const places = definers(objects);
  const sources = new Set(objects.map(({ path }) => path));
  const offenders: string[] = [];
  for (const header of headers) {
    const own = header.path.replace(/\.h$/, ".c");
    const unit = unitOf(header.path);
    const ofUnit = header.path === `${unit}/${unit}.h` ||
      header.path.endsWith("_int.h") ||
      !sources.has(own);
    for (const name of declaredBy(header)) {
      const place = places.get(name);
      const fits = place !== undefined &&
        (header.path === "dp.h"
          ? isEntry(place)
          : ofUnit
          ? unitOf(place) === unit
          : place === own);
      if (!fits) offenders.push(`${header.path} declares ${name}, defined by ${place}`);
    }
  }
  const api = headers.filter(({ path }) => path === "dp.h").flatMap(declaredBy);
  for (const { path, defines } of objects) {
    if (isEntry(path)) continue;
    const taken = api.filter((name) => defines.has(name));
    offenders.push(...taken.map((name) => `${path} defines ${name} of dp.h`));
  }
  return offenders;
}

/** One line for each circle of a graph: a path that comes back to where it began. */
function circles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (node: string, way: readonly string[]): void => {
    const at = way.indexOf(node);
    if (at >= 0) {
      found.push(`circle: ${[...way.slice(at), node].join(" -> ")}`);
      return;
    }
    if (done.has(node)) return;
    for (const next of graph.get(node) ?? []) visit(next, [...way, node]);
    done.add(node);
  };
  for (const node of graph.keys()) visit(node, []);
  return found;
}
