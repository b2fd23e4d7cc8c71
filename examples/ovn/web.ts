// SPDX-License-Identifier: Apache-2.0
/**
 * A web server that says its name, and the address that a request came from: `web.ts NAME PORT...`.
 * Of `/endless` there is a line each 50 ms, for as long as it is read.
 *
 * @module
 */
const LINE_MS = 50;

const [name = "", ...ports] = Deno.args;

function endless(line: Uint8Array): ReadableStream<Uint8Array> {
  let timer: ReturnType<typeof setInterval> | undefined;
  return new ReadableStream({
    start(controller) {
      timer = setInterval(() => {
        if ((controller.desiredSize ?? 0) > 0) controller.enqueue(line);
      }, LINE_MS);
    },
    cancel: () => clearInterval(timer),
  });
}

for (const port of ports) {
  Deno.serve(
    { port: Number(port), hostname: "0.0.0.0", onListen: () => {} },
    ({ url }, { remoteAddr }) => {
      const line = `${name} ${remoteAddr.hostname}\n`;
      return new Response(
        url.endsWith("/endless") ? endless(new TextEncoder().encode(line)) : line,
      );
    },
  );
}
