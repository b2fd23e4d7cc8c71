// SPDX-License-Identifier: Apache-2.0
/** Numbers and texts of errno, against the headers and the C library of this machine. */
import { deepStrictEqual as equal, ok, strictEqual } from "node:assert/strict";
import { skippable, Unsupported } from "../tests/support/skip.ts";
import { openSystemLibrary } from "../ffi/library.ts";
import { Errno, type ErrnoName, errnoName, errnoNumber, errnoText } from "./errno.ts";

const names = Object.keys(Errno) as ErrnoName[];

Deno.test("names and numbers of errno lead to each other", () => {
  for (const name of names) strictEqual(errnoName(errnoNumber(name)), name);
  equal(new Set(Object.values(Errno)).size, names.length);
  strictEqual(errnoName(4095), "EIO");
});

Deno.test(
  "numbers of errno are those of the kernel's headers",
  skippable(() => {
    let text = "";
    try {
      for (const header of ["errno-base", "errno"]) {
        text += Deno.readTextFileSync(`/usr/include/asm-generic/${header}.h`);
      }
    } catch {
      throw new Unsupported("headers of the kernel", { requirement: "tool" });
    }
    const defined = new Map(
      [...text.matchAll(/^#define\s+(E\w+)\s+(\d+)/gm)].map(([, name, number]) => [
        name,
        Number(number),
      ]),
    );
    equal(
      names.map((name) => [name, Errno[name]]),
      names.map((name) => [name, defined.get(name)]),
    );
  }),
);

Deno.test("texts of errno are those of the C library", () => {
  using libc = openSystemLibrary("libc.so.6", {
    symbols: { strerror: { parameters: ["i32"], result: "pointer" } },
    debianPackage: "libc6",
  });
  for (const name of names) {
    const text = libc.symbols.strerror(Errno[name]);
    ok(text !== null);
    strictEqual(
      errnoText(name),
      new Deno.UnsafePointerView(text).getCString().toLowerCase(),
    );
  }
});
