// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { parseAbiHeader } from "./abi_header.ts";
import { datapathSymbols } from "./symbols.ts";
import { skippable, Unsupported } from "../tests/support/skip.ts";

Deno.test("parseAbiHeader() reads prototypes over several lines", () => {
  const { functions } = parseAbiHeader(`
DP_API uint32_t dp_a(void);
DP_API int dp_b(uint64_t dp, const struct dp_x *x,
                char *text, uint32_t size);
`);
  deepStrictEqual(functions, [
    { name: "dp_a", result: "u32", parameters: [], waits: false },
    {
      name: "dp_b",
      result: "i32",
      parameters: [
        { type: "u64", declaration: "uint64_t dp" },
        { type: "buffer", declaration: "const struct dp_x *x" },
        { type: "buffer", declaration: "char *text" },
        { type: "u32", declaration: "uint32_t size" },
      ],
      waits: false,
    },
  ]);
});

Deno.test("parseAbiHeader() knows which functions wait by the sentence that says so", () => {
  const { functions } = parseAbiHeader(`
/* Does it.  Waits. */
DP_API int dp_above(uint64_t a);
DP_API int dp_plain(uint64_t a); /* EAGAIN if an upcall waits already, then do not wait. */
DP_API int dp_behind(uint64_t a); /* Waits. */
DP_API int dp_after(uint64_t a);
/* Starts it; later calls only count.  Waits (150-250 ms the first time). */
DP_API int dp_reason(void);
/* Stops
 * it all; waits. */
DP_API int dp_end(void);
`);
  const waiting = functions.filter(({ waits }) => waits).map(({ name }) => name);
  deepStrictEqual(waiting, ["dp_above", "dp_behind", "dp_reason", "dp_end"]);
});

Deno.test("parseAbiHeader() reads structs with lists, arrays, pointers and comments", () => {
  const { structs, constants } = parseAbiHeader(`
#define DP_SIZE 64      /* With a comment. */
#define DP_BIT 0x10u
#define DP_OTHER UINT32_MAX
struct dp_x {
    uint32_t no;  /* A comment; with a semicolon. */
    uint64_t a, b;
    char name[DP_SIZE];
    const uint8_t *key;
    struct dp_y y;
};
`);
  deepStrictEqual(structs, [{
    name: "dp_x",
    fields: ["no", "a", "b", "name", "key", "y"],
  }]);
  deepStrictEqual(constants, [["DP_SIZE", 64], ["DP_BIT", 16]]);
});

Deno.test("parseAbiHeader() refuses what it does not know", () => {
  const wrong = [
    "DP_API float dp_a(void);",
    "DP_API int dp_a(size_t n);",
    "DP_API int dp_a(uint8_t *p); /* Waits. */",
    "DP_API int dp_a(int (*f)(void));",
  ];
  for (const text of wrong) {
    throws(() => parseAbiHeader(`\n${text}\n`), SyntaxError, text);
  }
});

/** C types as the compiler spells them, for FFI types. */
function nativeType(type: string): string {
  if (type.includes("*")) return "buffer";
  const names: Record<string, string> = {
    "int": "i32",
    "uint32_t": "u32",
    "uint64_t": "u64",
    "unsigned int": "u32",
    "long unsigned int": "u64",
    "unsigned long": "u64",
  };
  return names[type] ?? type;
}

Deno.test(
  "the compiler reads the same prototypes from dp.h as symbols.ts has",
  skippable(async () => {
    const work = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(`${work}/abi.c`, '#include "dp.h"\n');
      const include = new URL("../c/", import.meta.url).pathname;
      const args = ["-I", include, "-aux-info", "out", "-c", "-o", "/dev/null", "abi.c"];
      const { success } = await new Deno.Command("cc", { args, cwd: work }).output();
      if (!success) {
        throw new Unsupported("compiler with -aux-info", { requirement: "tool" });
      }

      const seen: Record<string, { result: string; parameters: string[] }> = {};
      const text = await Deno.readTextFile(`${work}/out`);
      for (
        const [, result = "", name = "", list = ""] of text.matchAll(
          /extern (\w[\w ]*?) (dp_\w+) \((.*)\);/g,
        )
      ) {
        const parameters = list === "void" ? [] : list.split(", ").map(nativeType);
        seen[name] = { result: nativeType(result), parameters };
      }
      const ours = Object.fromEntries(
        Object.entries(datapathSymbols).map(([name, { result, parameters }]) => [name, {
          result: result as string,
          parameters: [...parameters] as string[],
        }]),
      );
      deepStrictEqual(ours, seen);
      strictEqual(Object.keys(seen).length > 40, true);
    } finally {
      await Deno.remove(work, { recursive: true });
    }
  }),
);

Deno.test("functions that wait take integers only, and only they are nonblocking", () => {
  const waiting = Object.entries(datapathSymbols)
    .filter(([, symbol]) => "nonblocking" in symbol);
  strictEqual(waiting.some(([name]) => name === "dp_port_delete"), true);
  strictEqual(waiting.some(([name]) => name === "dp_operate"), false);
  for (const [name, { parameters }] of waiting) {
    strictEqual((parameters as readonly string[]).includes("buffer"), false, name);
  }
});
