// SPDX-License-Identifier: Apache-2.0
/** An example run from a URL, as people run it who have no checkout. */
import assert from "node:assert/strict";
import { tryRun } from "../support/command.ts";
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

const root = new URL("../../", import.meta.url);

Deno.test(
  "an example runs from a URL, library and all",
  skippable(async () => {
    await using _ = await NetdevBench.open();
    const server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      async (request) => {
        const path = new URL(request.url).pathname.slice(1);
        const text = await Deno.readTextFile(new URL(path, root)).catch(() => undefined);
        const type = path.endsWith(".ts") ? "application/typescript" : "text/plain";
        return new Response(text ?? "not found", {
          status: text === undefined ? 404 : 200,
          headers: { "content-type": type },
        });
      },
    );
    const directory = await Deno.makeTempDir({ prefix: "upcall-url-" });
    try {
      // A capture file with nothing but its header: no host, nothing counted.
      await Deno.writeFile(
        `${directory}/empty.pcap`,
        Uint8Array.fromHex("d4c3b2a1020004000000000000000000ffff000001000000"),
      );
      const host = `127.0.0.1:${server.addr.port}`;
      const { code, stdout, stderr } = await tryRun(
        Deno.execPath(),
        "run",
        "-A",
        "--no-config",
        "--no-lock",
        "--quiet",
        `--reload=http://${host}`,
        `http://${host}/examples/counter.ts`,
        `${directory}/empty.pcap`,
      );
      assert.equal(code, 0, stderr);
      assert.equal(stdout, "");
    } finally {
      await Deno.remove(directory, { recursive: true });
      await server.shutdown();
    }
  }),
);
