// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, throws } from "node:assert/strict";
import { directives } from "./c_build.ts";

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
