// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, notEqual, throws } from "node:assert/strict";
import { directives, includesOf } from "./c_build.ts";

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
