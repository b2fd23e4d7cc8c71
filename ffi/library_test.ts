// SPDX-License-Identifier: Apache-2.0
import { match, strictEqual, throws } from "node:assert/strict";
import { openLibc } from "./libc.ts";
import { openLibmnl } from "./libmnl.ts";
import { LibraryError, openLibrary, openSystemLibrary } from "./library.ts";
import { allocate, cString, fromCString } from "./memory.ts";

function failure(open: () => unknown): LibraryError {
  try {
    open();
  } catch (error) {
    if (error instanceof LibraryError) return error;
    throw error;
  }
  throw new Error("did not throw");
}

Deno.test("openLibmnl() opens by absolute path and gives typed functions", () => {
  using libmnl = openLibmnl();
  strictEqual(libmnl.path.startsWith("/"), true);
  const socket = libmnl.symbols.mnl_socket_open2(16, 0x80000); // NETLINK_GENERIC, SOCK_CLOEXEC
  strictEqual(libmnl.symbols.mnl_socket_bind(socket, 0, 0), 0);
  strictEqual(libmnl.symbols.mnl_socket_get_portid(socket) > 0, true);
  strictEqual(libmnl.symbols.mnl_socket_close(socket), 0);
});

Deno.test("openSystemLibrary() lists what was tried and names the package", () => {
  const error = failure(() =>
    openSystemLibrary("libnosuch.so.1", { symbols: {}, debianPackage: "libnosuch1" })
  );
  strictEqual(error.code, "missing");
  strictEqual(error.tried.includes("/usr/lib/libnosuch.so.1"), true);
  strictEqual(error.tried.at(-1), "libnosuch.so.1");
  match(error.message, /apt-get install libnosuch1$/);
});

Deno.test("openSystemLibrary() goes on past a file of that name that is no library", () => {
  const bad = Deno.makeTempDirSync();
  const good = Deno.makeTempDirSync();
  try {
    using libmnl = openLibmnl();
    Deno.writeTextFileSync(`${bad}/libx.so`, "not ELF");
    Deno.symlinkSync(libmnl.path, `${good}/libx.so`);
    const symbols = {};
    const found = { symbols, debianPackage: "x", directories: [bad, good] };
    using library = openSystemLibrary("libx.so", found);
    strictEqual(library.path, `${good}/libx.so`);

    const error = failure(() =>
      openSystemLibrary("libx.so", { ...found, directories: [bad] })
    );
    strictEqual(error.code, "unusable");
    match(error.message, /invalid ELF header|file too short/);
  } finally {
    Deno.removeSync(bad, { recursive: true });
    Deno.removeSync(good, { recursive: true });
  }
});

Deno.test("openLibrary() names a function that the library lacks", () => {
  using libmnl = openLibmnl();
  const symbols = { mnl_no_such_thing: { parameters: [], result: "i32" } } as const;
  const error = failure(() => openLibrary(libmnl.path, { symbols }));
  strictEqual(error.code, "symbol");
  match(error.message, /no function mnl_no_such_thing/);
});

Deno.test("openLibrary() refuses relative paths and paths to nothing", () => {
  throws(() => openLibrary("libmnl.so.0", { symbols: {} }), TypeError);
  strictEqual(failure(() => openLibrary("/no/such.so", { symbols: {} })).code, "missing");
});

Deno.test("close() may be repeated, and calls after it fail cleanly", () => {
  const libmnl = openLibmnl();
  strictEqual(libmnl.closed, false);
  libmnl.close();
  libmnl.close();
  strictEqual(libmnl.closed, true);
  strictEqual(failure(() => libmnl.symbols).code, "unusable");
});

Deno.test("a path-limited --allow-ffi is enough, and its lack is a typed error", async () => {
  using libmnl = openLibmnl();
  const script = `
    import { openLibmnl } from ${JSON.stringify(import.meta.resolve("./libmnl.ts"))};
    try { using libmnl = openLibmnl(); console.log(libmnl.path); }
    catch (error) { console.log(error.code, error.message); }`;
  const run = async (...flags: string[]): Promise<string> => {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--quiet", ...flags, "--ext=ts", "-"],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(script));
    await writer.close();
    return new TextDecoder().decode((await child.output()).stdout).trim();
  };
  strictEqual(await run(`--allow-ffi=${libmnl.path}`), libmnl.path);
  match(await run(), /^permission .*--allow-ffi/);
});

Deno.test("errno() tells why the call before it failed", () => {
  using libc = openLibc();
  strictEqual(libc.symbols.close(-1), -1);
  strictEqual(libc.errno(), 9); // EBADF
});

Deno.test("allocate() gives zeroed memory, and nothing after free()", () => {
  using libc = openLibc();
  const memory = allocate(libc, 32);
  strictEqual(memory.bytes.every((byte) => byte === 0), true);
  strictEqual(memory.bytes.length, 32);
  memory.free();
  memory.free();
  strictEqual(memory.bytes.length, 0);
  throws(() => allocate(libc, 0), RangeError);
});

Deno.test("C strings go out and come back, but not with a zero inside", () => {
  strictEqual(fromCString(cString("Ærø")), "Ærø");
  strictEqual(fromCString(new Uint8Array([104, 105])), "hi");
  strictEqual(fromCString(cString("")), "");
  throws(() => cString("a\0b"), TypeError);
});
