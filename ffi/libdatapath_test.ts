// SPDX-License-Identifier: Apache-2.0
import { match, rejects, strictEqual } from "node:assert/strict";
import { abiVersion, layoutText } from "./layout.ts";
import { openLibdatapath } from "./libdatapath.ts";
import { LibraryError } from "./library.ts";
import { datapathSymbols } from "./symbols.ts";
import { skippable, Unsupported } from "../tests/support/skip.ts";

/** A library with every function of the ABI, of which two work. */
async function fakeLibrary(
  directory: string,
  { version = abiVersion as number, layout = layoutText, without = "" } = {},
): Promise<string> {
  const working = ["dp_abi_version", "dp_abi_layout"];
  const others = Object.keys(datapathSymbols).filter((name) =>
    !working.includes(name) && name !== without
  );
  const text = `#include <stdint.h>
#include <string.h>
uint32_t dp_abi_version(void) { return ${version}; }
int dp_abi_layout(char *text, uint32_t size) {
    static const char layout[] = ${JSON.stringify(layout)};
    if (size < sizeof layout) return 28;
    memcpy(text, layout, sizeof layout);
    return 0;
}
${others.map((name) => `int ${name}(void); int ${name}(void) { return 38; }`).join("\n")}
`;
  await Deno.writeTextFile(`${directory}/fake.c`, text);
  const path = `${directory}/fake-${crypto.randomUUID()}.so`;
  try {
    const args = ["-shared", "-fPIC", "-o", path, `${directory}/fake.c`];
    const { success, stderr } = await new Deno.Command("cc", { args }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Unsupported("C compiler", { requirement: "netdev" });
  }
  return path;
}

function fakeTest(name: string, body: (directory: string) => Promise<void>): void {
  Deno.test(
    name,
    skippable(async () => {
      const directory = await Deno.makeTempDir({ prefix: "upcall-fake-" });
      try {
        await body(directory);
      } finally {
        await Deno.remove(directory, { recursive: true });
      }
    }),
  );
}

const isError = (code: string, message: RegExp) => (error: unknown): boolean => {
  if (!(error instanceof LibraryError)) throw error;
  strictEqual(error.code, code);
  match(error.message, message);
  return true;
};

fakeTest(
  "openLibdatapath() takes a library of this version and layout",
  async (directory) => {
    const path = await fakeLibrary(directory);
    using library = await openLibdatapath({ path });
    strictEqual(library.path, path);
    strictEqual(library.symbols.dp_flow_flush(1n), 38);
  },
);

fakeTest(
  "openLibdatapath() refuses another version before it binds the rest",
  async (directory) => {
    const path = await fakeLibrary(directory, {
      version: abiVersion + 1,
      without: "dp_operate",
    });
    await rejects(openLibdatapath({ path }), isError("abi", /ABI is version/));
  },
);

fakeTest("openLibdatapath() names the field that lies elsewhere", async (directory) => {
  const line = /^field dp_op hash (\d+) 8$/m.exec(layoutText)?.[0] ?? "";
  const moved = layoutText.replace(line, "field dp_op hash 60 8");
  const path = await fakeLibrary(directory, { layout: moved });
  const message = new RegExp(`"field dp_op hash 60 8" where "${line}" is needed`);
  await rejects(openLibdatapath({ path }), isError("abi", message));

  const shorter = layoutText.trimEnd().split("\n").slice(0, -1).join("\n") + "\n";
  const cut = await fakeLibrary(directory, { layout: shorter });
  await rejects(openLibdatapath({ path: cut }), isError("abi", /"nothing" where "field/));
});

fakeTest(
  "openLibdatapath() names a function that the library lacks",
  async (directory) => {
    const path = await fakeLibrary(directory, { without: "dp_operate" });
    await rejects(openLibdatapath({ path }), isError("symbol", /no function dp_operate/));
  },
);

Deno.test("openLibdatapath() refuses a path to nothing", async () => {
  await rejects(
    openLibdatapath({ path: "/no/such.so" }),
    isError("missing", /no such file/),
  );
});
