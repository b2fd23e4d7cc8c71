// SPDX-License-Identifier: Apache-2.0
/**
 * The rules of size and order that the tree keeps to, each as a function from files to offenders.
 *
 * @module
 */
import { importsOf, isGenerated, type SourceFile } from "../support/tree.ts";

/** Most lines of a file that people write. */
export const MAX_FILE_LINES = 430;
/** Most files of a folder, without tests and benches. */
export const MAX_FOLDER_FILES = 25;
/** Longest line of a comment, characters, where it starts at the margin or is indented. */
export const MAX_COMMENT_COLUMNS = 100;

/** Whether a file is a test, a bench, or a helper of these. */
export function isTest(path: string): boolean {
  return path.startsWith("tests/") || /_(test|bench)\.ts$/.test(path);
}

/** Imports among TypeScript files, types included. */
export function importGraph(
  files: readonly SourceFile[],
): ReadonlyMap<string, readonly string[]> {
  const modules = files.filter(({ path }) => path.endsWith(".ts"));
  const paths = new Set(modules.map(({ path }) => path));
  return new Map(
    modules.map((file) => [
      file.path,
      importsOf(file).flatMap(({ target }) =>
        target !== undefined && paths.has(target) ? [target] : []
      ),
    ]),
  );
}

/** Every set of files that reach each other, in order of their first file. */
export function circles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const found: string[][] = [];
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  // Tarjan's algorithm: files on the stack that reach back to one another are a circle.
  const visit = (file: string): number => {
    const number = order.size;
    order.set(file, number);
    lowest.set(file, number);
    stack.push(file);
    for (const target of graph.get(file) ?? []) {
      const reached = !order.has(target)
        ? visit(target)
        : stack.includes(target)
        ? order.get(target) as number
        : number;
      lowest.set(file, Math.min(lowest.get(file) as number, reached));
    }
    if (lowest.get(file) === number) {
      const members = stack.splice(stack.indexOf(file));
      if (members.length > 1 || graph.get(file)?.includes(file)) {
        found.push(members.sort());
      }
    }
    return lowest.get(file) as number;
  };
  for (const file of graph.keys()) if (!order.has(file)) visit(file);
  return found.sort(([a = ""], [b = ""]) => a < b ? -1 : 1);
}

/** Folders that hold too many files. */
export function crowdedFolders(paths: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const path of paths) {
    if (isTest(path)) continue;
    const folder = path.slice(0, path.lastIndexOf("/") + 1);
    counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return [...counts].filter(([folder, count]) =>
    folder !== "" && count > MAX_FOLDER_FILES
  )
    .map(([folder, count]) => `${folder} has ${count} files`);
}

/** Files that are longer than one reads. */
export function longFiles(files: readonly SourceFile[]): string[] {
  return files.filter((file) => !isGenerated(file))
    .map(({ path, text }) => ({ path, lines: text.split("\n").length - 1 }))
    .filter(({ lines }) => lines > MAX_FILE_LINES)
    .map(({ path, lines }) => `${path} has ${lines} lines`);
}

/**
 * Lines of comments that are too long to be read; a line that is one long word cannot be shorter.
 */
export function wideComments({ path, text }: SourceFile): string[] {
  return text.split("\n").flatMap((line, at) => {
    const comment = /^\s*(?:\/\*\*?|\*|\/\/)\s*(.*)$/.exec(line)?.[1];
    if (comment === undefined || line.length <= MAX_COMMENT_COLUMNS) return [];
    return comment.includes(" ") ? [`${path}:${at + 1}: ${line.length} columns`] : [];
  });
}

/**
 * Turns of phrase that make a reader turn the sentence round. Spelled so as not to match
 * themselves.
 */
const crooked: readonly RegExp[] = [
  /\bwhoeve[r]\b/i,
  /\bwho ask[s]\b/i,
  /\bdea[r] (to|packets|flows|way)\b|\b(is|are|how|however) dea[r]\b/i,
  /\btells? o[f]\b/i,
];

/** Lines with a turn of phrase that is not plain English. */
export function crookedLines({ path, text }: SourceFile): string[] {
  return text.split("\n").flatMap((line, at) => {
    const found = crooked.map((pattern) => pattern.exec(line)?.[0]).find(Boolean);
    return found === undefined ? [] : [`${path}:${at + 1}: "${found}"`];
  });
}
