// SPDX-License-Identifier: Apache-2.0
/**
 * Reads `c/dp.h`: its functions, structs and constants, for the files generated from it and
 * for the test that compares them.
 *
 * This is no C parser. It reads the flat style that the header keeps to, and throws on what
 * it does not know rather than guess.
 *
 * @module
 */

/** A function of the ABI. */
export interface AbiFunction {
  readonly name: string;
  readonly result: Deno.NativeResultType;
  readonly parameters: readonly AbiParameter[];
  /** Its comment says "Waits.": it blocks, so it is called on another thread. */
  readonly waits: boolean;
}

/** A parameter, as FFI sees it and as C declares it. */
export interface AbiParameter {
  readonly type: Deno.NativeType;
  readonly declaration: string;
}

/** A struct of the ABI. */
export interface AbiStruct {
  readonly name: string;
  readonly fields: readonly string[];
}

/** All that the header declares. */
export interface AbiHeader {
  readonly functions: readonly AbiFunction[];
  readonly structs: readonly AbiStruct[];
  /** `#define NAME NUMBER`, in order. */
  readonly constants: readonly (readonly [name: string, value: number])[];
}

/** Reads the text of the header. Throws `SyntaxError` on a declaration it does not know. */
export function parseAbiHeader(text: string): AbiHeader {
  return {
    functions: [...parseFunctions(text)],
    structs: [...parseStructs(text)],
    constants: [...parseConstants(text)],
  };
}

const scalars: Readonly<Record<string, Deno.NativeType>> = {
  "int": "i32",
  "uint8_t": "u8",
  "uint16_t": "u16",
  "uint32_t": "u32",
  "uint64_t": "u64",
  "int32_t": "i32",
  "int64_t": "i64",
};

/** `waits` as a sentence, or the end of one: "…; waits." but not "if an upcall waits". */
const waitsSentence = /(^|[.;]|\*)\s*waits\s*(\.|\(|$)/im;

function* parseFunctions(text: string): Generator<AbiFunction> {
  // A prototype with the comment right above it, and the one behind it on its last line.
  const prototype =
    /((?:\/\*(?:[^*]|\*(?!\/))*\*\/\s*\n)?)DP_API\s+([^;()]+?)\b(\w+)\(([^;{}]*)\);([^\n]*)/g;
  let count = 0;
  for (
    const [, above = "", result = "", name = "", list = "", behind = ""] of text.matchAll(
      prototype,
    )
  ) {
    count++;
    const resultType = result.trim() === "void" ? "void" : scalars[result.trim()];
    if (resultType === undefined) throw unknown(`result ${result.trim()} of ${name}`);
    const parameters = list.trim() === "void"
      ? []
      : list.split(",").map((one) =>
        parseParameter(one.trim().replace(/\s+/g, " "), name)
      );
    const comment = `${isTrailing(text, above) ? "" : above}\n${behind}`
      .replace(/\/\*|\*\//g, " ");
    const waits = waitsSentence.test(comment);
    if (waits && parameters.some(({ type }) => type === "buffer")) {
      throw unknown(`${name}, which waits and yet takes a buffer`);
    }
    yield { name, result: resultType, parameters, waits };
  }
  const declared = text.match(/^DP_API\b/gm)?.length ?? 0;
  if (declared !== count) throw unknown(`${declared - count} of ${declared} prototypes`);
}

/** Whether a comment stands behind code on its line, and so belongs to that. */
function isTrailing(text: string, comment: string): boolean {
  if (comment === "") return false;
  const at = text.indexOf(comment);
  const lineStart = text.lastIndexOf("\n", at - 1) + 1;
  return text.slice(lineStart, at).trim() !== "";
}

function parseParameter(declaration: string, name: string): AbiParameter {
  if (/^(const )?(struct )?\w+ \*\w+$/.test(declaration)) {
    return { type: "buffer", declaration };
  }
  const type = scalars[/^(\w+) \w+$/.exec(declaration)?.[1] ?? ""];
  if (type === undefined) throw unknown(`parameter "${declaration}" of ${name}`);
  return { type, declaration };
}

function* parseStructs(text: string): Generator<AbiStruct> {
  for (
    const [, name = "", body = ""] of text.matchAll(/^struct (\w+) \{\n([^}]*)\n\};/gm)
  ) {
    const fields = body.replace(/\/\*[^]*?\*\//g, "").split(";")
      .map((line) => line.trim().replace(/\s+/g, " ")).filter((line) => line !== "")
      .flatMap((line) => {
        const [, list = ""] = /^(?:const )?(?:struct )?\w+ (.+)$/.exec(line) ?? [];
        const names = list.split(",").map((one) =>
          /^\s*\*?(\w+)(?:\[\w+\])?$/.exec(one)?.[1]
        );
        return names.map((one) => {
          if (one === undefined) throw unknown(`field "${line}" of struct ${name}`);
          return one;
        });
      });
    yield { name, fields };
  }
}

function* parseConstants(text: string): Generator<readonly [string, number]> {
  const define = /^#define (DP_\w+) (\(?(?:0x)?[0-9a-fA-F]+[uU]?\)?)[ \t]*(?:\/\*.*)?$/gm;
  for (const [, name = "", value = ""] of text.matchAll(define)) {
    yield [name, Number(value.replace(/[uU()]/g, ""))];
  }
}

function unknown(what: string): SyntaxError {
  return new SyntaxError(`Cannot read dp.h: do not know ${what}`);
}
