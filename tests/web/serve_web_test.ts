// SPDX-License-Identifier: Apache-2.0
/** `dpctl serve --web`: served at a loopback address, and elsewhere with a token only. */
import assert from "node:assert/strict";
import { parseCommandLine } from "../../control/options.ts";
import { serve } from "../../cli/serve.ts";
import { openNetdev } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import { pause, until } from "../support/wait.ts";

/** Serves in this process until the test is over; what it said. */
async function serving(
  words: readonly string[],
  test: (log: () => string) => Promise<void>,
): Promise<string> {
  const name = `web${crypto.randomUUID().slice(0, 8)}`;
  await (await openNetdev(name)).close(); // Fails where this machine has no such datapaths.
  const folder = await Deno.makeTempDir({ prefix: "upcall-web-" });
  const stop = new AbortController();
  let log = "";
  const socket = ["--socket", `${folder}/control`];
  const line = parseCommandLine([
    "serve",
    `netdev@${name}`,
    "p1:dummy",
    ...socket,
    ...words,
  ]);
  const served = serve(line, {
    print: () => {},
    complain: (text) => log += text,
    readText: () => Promise.resolve(""),
    signal: stop.signal,
  });
  let failure: string | undefined;
  const ended = served.catch((error: Error) => failure = error.message);
  try {
    const found = await until("it to serve or fail", async () => {
      if (/dashboard at /.test(log)) return "up";
      await pause(5);
      return failure;
    });
    if (found === "up") await test(() => log);
  } finally {
    stop.abort();
    await ended;
    await Deno.remove(folder, { recursive: true });
  }
  return failure ?? "";
}

Deno.test(
  "dpctl serve --web serves the page, and says where",
  skippable(async () => {
    const failure = await serving(["--web", "127.0.0.1:0"], async (log) => {
      const [, url = ""] = /dashboard at (http:\/\/127\.0\.0\.1:\d+\/)\n/.exec(log()) ??
        [];
      const page = await fetch(url);
      assert.match(page.headers.get("content-type") ?? "", /^text\/html/);
      assert.match(await page.text(), /<title>Upcall<\/title>/);
      const status = await (await fetch(`${url}api/status`)).json();
      assert.equal(status.ports[1].name, "p1");
    });
    assert.equal(failure, "");
  }),
);

Deno.test(
  "dpctl serve --web refuses to be reached by others without a token, and bad addresses",
  skippable(async () => {
    const nothing = (): Promise<void> => Promise.reject(new Error("it serves"));
    assert.match(await serving(["--web", "0.0.0.0:0"], nothing), /without a token/);
    assert.match(await serving(["--web", "x:y"], nothing), /expected ADDRESS:PORT/);
    assert.match(
      await serving(["--web", "127.0.0.1:70000"], nothing),
      /expected ADDRESS:PORT/,
    );
    const file = await Deno.makeTempFile();
    await Deno.writeTextFile(file, "short\n");
    const words = ["--web", "0.0.0.0:0", "--web-token", file];
    assert.match(await serving(words, nothing), /token of 5 characters/);
    await Deno.writeTextFile(file, "a-token-that-is-long-enough\n");
    const failure = await serving(words, async (log) => {
      const [, port = ""] = /dashboard at http:\/\/0\.0\.0\.0:(\d+)\/\n/.exec(log()) ??
        [];
      const status = async (headers: Record<string, string>): Promise<number> => {
        const response = await fetch(`http://127.0.0.1:${port}/api/status`, { headers });
        await response.body?.cancel();
        return response.status;
      };
      assert.equal(await status({}), 401);
      const authorization = "Bearer a-token-that-is-long-enough";
      assert.equal(await status({ authorization }), 200);
    });
    assert.equal(failure, "");
    await Deno.remove(file);
    assert.match(await serving(["--web-token", file], nothing), /goes with --web/);
  }),
);
