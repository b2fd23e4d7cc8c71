// SPDX-License-Identifier: Apache-2.0
import { ok, rejects, strictEqual } from "node:assert/strict";
import { bindSocket } from "./unix_socket.ts";

Deno.test("unix socket: no program takes or removes what is another's", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/a.mgmt`;
  const first = await bindSocket(path);
  strictEqual((Deno.statSync(path).mode ?? 0) & 0o777, 0o600);
  await rejects(bindSocket(path), /another program's/);
  Deno.removeSync(path);
  const second = await bindSocket(path);
  await first.close();
  (await Deno.connect({ transport: "unix", path })).close();
  // That of a program that died is replaced.
  Deno.renameSync(path, `${folder}/b`);
  await second.close();
  Deno.renameSync(`${folder}/b`, path);
  const third = await bindSocket(path);
  await third.close();
  strictEqual([...Deno.readDirSync(folder)].length, 0);
  Deno.mkdirSync(path);
  await rejects(bindSocket(path), /is no socket/);
  ok(Deno.statSync(path).isDirectory);
  await rejects(bindSocket(`${folder}/none/a`));
  await Deno.remove(folder, { recursive: true });
});
