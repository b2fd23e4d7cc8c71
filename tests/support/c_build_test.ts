// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, notEqual, rejects, throws } from "node:assert/strict";
import { checkWarnings, directives, includesOf } from "./c_build.ts";
import { skippable } from "./skip.ts";

Deno.test("directives() reads the first comment only", () => {
  const text = `/* SPDX-License-Identifier: Apache-2.0
 * link: cls*.c hash.c, rcu.c
 * eal: yes
 * sanitize: thread, address
 *
 * What it is for. */
/* link: other.c */`;
  deepStrictEqual(directives(text), {
    link: ["cls*.c", "hash.c", "rcu.c"],
    sanitize: ["address", "thread"],
  });
});

Deno.test("directives() links all units and finds bad addresses unless told", () => {
  const nothing = { link: undefined, sanitize: ["address"] };
  deepStrictEqual(directives("/* What the link: is for. */\nint main(void);"), nothing);
  deepStrictEqual(directives("int main(void);"), nothing);
  deepStrictEqual(directives("/* link: everything */"), nothing);
  deepStrictEqual(directives("/* sanitize: address,undefined */").sanitize, ["address"]);
  throws(() => directives("/* sanitize: memory */"), SyntaxError);
});

Deno.test("includesOf() is another when a header changes, of this folder or of another", async () => {
  const root = await Deno.makeTempDir();
  try {
    for (const folder of ["c", "fuzz"]) await Deno.mkdir(`${root}/${folder}`);
    const text = '#include "../c/model.h"\n#include "beside.h"\n#include "base/hash.c"\n';
    const hash = () => includesOf(text, `${root}/fuzz/`);
    const hashes: string[] = [];
    for (const name of ["fuzz/beside.h", "c/model.h", "c/wanted_by_model.h"]) {
      for (const content of ["/* one */", "/* two */"]) {
        await Deno.writeTextFile(`${root}/${name}`, content);
        hashes.push(await hash());
      }
    }
    deepStrictEqual([...new Set(hashes)], hashes);
    deepStrictEqual(await hash(), hashes.at(-1));
    notEqual(
      await includesOf(text.replace("hash.c", "rcu.c"), `${root}/fuzz/`),
      hashes.at(-1),
    );
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test(
  "checkWarnings() sees what came after it passed, in the file and in a header beside it",
  skippable(async () => {
    const root = await Deno.makeTempDir();
    const write = (name: string, text: string) =>
      Deno.writeTextFile(`${root}/${name}`, text);
    const check = () => checkWarnings(`${root}/one.c`);
    try {
      const text = '#include "beside.h"\nint one(void);\nint one(void) { return ONE; }\n';
      await write("beside.h", "#define ONE 1\n");
      await write("one.c", text);
      await check();
      await check();
      await write("beside.h", "#define ONE 1\nint two(void) { return 2; }\n");
      for (let i = 0; i < 2; i++) await rejects(check, /missing-prototypes/);
      await write("beside.h", "#define ONE 1\n");
      await write("one.c", `${text}int two(void) { return 2; }\n`);
      await rejects(check, /missing-prototypes/);
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  }),
);
