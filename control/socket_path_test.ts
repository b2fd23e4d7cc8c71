// SPDX-License-Identifier: Apache-2.0
/** Files of control sockets: nobody else's is taken, and nobody else's folder. */
import assert from "node:assert/strict";
import { skippable, Unsupported } from "../tests/support/skip.ts";
import { control, type ControlCommands, ControlSocket } from "./socket.ts";
import { controlPath, ControlPathError } from "./socket_path.ts";

const commands = (text: string): ControlCommands =>
  new Map([["version", { usage: "", args: [0, 0], run: () => text }]]);

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const names = (folder: string): string[] =>
  [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

Deno.test("what is at the path of a socket and is none stays", () =>
  inFolder(async (folder) => {
    const refused = (path: string): Promise<void> =>
      assert.rejects(ControlSocket.serve(path, commands("")), {
        name: "ControlPathError",
        message: `${path} is there already, and is no socket`,
      });
    await Deno.writeTextFile(`${folder}/file`, "the only copy");
    await refused(`${folder}/file`);
    assert.equal(await Deno.readTextFile(`${folder}/file`), "the only copy");
    await Deno.symlink(`${folder}/nowhere`, `${folder}/link`);
    await refused(`${folder}/link`);
    await Deno.mkdir(`${folder}/folder`);
    await refused(`${folder}/folder`);
    assert.deepEqual(names(folder), ["file", "folder", "link"], "nothing is left over");
  }));

Deno.test("a socket that closes leaves the file of the one that took its place", () =>
  inFolder(async (folder) => {
    const path = `${folder}/c.ctl`;
    const first = await ControlSocket.serve(path, commands("first"));
    await Deno.remove(path);
    const second = await ControlSocket.serve(path, commands("second"));
    await first.close();
    assert.equal(await control(path, "version", []), "second");
    await Deno.remove(path);
    await Deno.writeTextFile(path, "a file by now");
    await second.close();
    assert.equal(await Deno.readTextFile(path), "a file by now");
  }));

Deno.test("of programs that take over a dead one's socket at once, one serves it", () =>
  inFolder(async (folder) => {
    const path = `${folder}/c.ctl`;
    for (let round = 0; round < 60; round++) {
      const dead = Deno.listen({ transport: "unix", path: `${folder}/new` });
      await Deno.rename(`${folder}/new`, path); // Deno removes the name that it knows.
      dead.close();
      const started = await Promise.allSettled(
        Array.from({ length: 8 }, (_, n) => ControlSocket.serve(path, commands(`${n}`))),
      );
      const sockets = started.flatMap((end) =>
        end.status === "fulfilled" ? [end.value] : []
      );
      const failures = started.flatMap((end) =>
        end.status === "rejected" ? [end.reason] : []
      );
      assert.equal(sockets.length, 1, `${failures}`);
      for (const failure of failures) assert(failure instanceof Deno.errors.AddrInUse);
      assert.match(await control(path, "version", []), /^[0-7]$/);
      await sockets[0]?.close();
      assert.deepEqual(names(folder), []);
    }
  }));

Deno.test("paths that no socket can have are refused in words", async () => {
  const long = `/tmp/${"x".repeat(103)}`;
  const message =
    `${long}: the path of a socket has 107 bytes at most, and this one has 108`;
  await assert.rejects(
    ControlSocket.serve(long, commands("")),
    new ControlPathError(message),
  );
  await assert.rejects(control(long, "version", []), new ControlPathError(message));
  const wide = `/tmp/${"ü".repeat(52)}`; // Bytes count, not letters.
  await assert.rejects(control(wide, "version", []), /this one has 109$/);
  for (const none of ["", "/tmp/a\0b"]) {
    await assert.rejects(control(none, "version", []), ControlPathError);
  }
  await inFolder(async (folder) => {
    const longest = `${folder}/${"x".repeat(107 - folder.length - 1)}`;
    await using socket = await ControlSocket.serve(longest, commands("here"));
    assert.equal(await control(socket.path, "version", []), "here");
  });
});

/** Where a datapath's socket is, with a folder for sockets, or why not. */
async function pathIn(folder: string): Promise<string> {
  const before = Deno.env.get("UPCALL_RUNDIR");
  Deno.env.set("UPCALL_RUNDIR", folder);
  try {
    return await controlPath("netdev@br0");
  } catch (error) {
    if (!(error instanceof ControlPathError)) throw error;
    return error.message;
  } finally {
    if (before === undefined) Deno.env.delete("UPCALL_RUNDIR");
    else Deno.env.set("UPCALL_RUNDIR", before);
  }
}

Deno.test("the folder of sockets is made private, and used only if it is", () =>
  inFolder(async (base) => {
    const folder = `${base}/outer/run`;
    assert.equal(await pathIn(folder), `${folder}/netdev@br0.ctl`);
    assert.equal((Deno.statSync(folder).mode ?? 0) & 0o777, 0o700);
    for (const mode of [0o770, 0o702, 0o1777]) {
      await Deno.chmod(folder, mode);
      assert.match(await pathIn(folder), /others may write to it \(mode \d{4}\)/);
    }
    await Deno.chmod(folder, 0o755);
    assert.equal(await pathIn(folder), `${folder}/netdev@br0.ctl`);
    await Deno.chmod(`${base}/outer`, 0o777);
    assert.match(await pathIn(folder), /everybody may write to .*outer,/);
    await Deno.chmod(`${base}/outer`, 0o700);
  }));

Deno.test(
  "the folder of sockets is not taken from another user",
  skippable(() => {
    if (Deno.uid() !== 0) throw new Unsupported("root", { requirement: "netdev" });
    return inFolder(async (base) => {
      const folder = `${base}/run`;
      await pathIn(folder);
      await Deno.chown(folder, 12345, 12345);
      assert.match(await pathIn(folder), /it belongs to user 12345/);
      await Deno.chown(folder, 0, 0);
      await Deno.chown(base, 12345, 12345);
      assert.match(await pathIn(folder), /belongs to user 12345/);
      await Deno.chown(base, 0, 0);
      assert.equal(await pathIn(folder), `${folder}/netdev@br0.ctl`);
    });
  }),
);
