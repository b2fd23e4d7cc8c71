// SPDX-License-Identifier: Apache-2.0
/**
 * The packets of a flow as a pcapng file that grows while it is sent.
 *
 * @module
 */
import type { Datapath } from "../../providers/datapath.ts";
import { captureInto } from "../capture/capture.ts";
import { securityHeaders } from "./guard.ts";
import { ufidOf } from "./flow_page.ts";
import { numberOf, QueryError } from "./query.ts";

/** Captures at once: each marks a flow. */
const maxCaptures = 4;
/** Bytes that wait for a browser; then the capture ends. */
const maxBuffered = 16 << 20;
let running = 0;

/**
 * Begins the capture that a query asks for: `id` of a flow, `count`, `seconds`. It ends early with
 * the signal, and when the browser goes.
 */
export function captureStream(
  dp: Datapath,
  query: URLSearchParams,
  ending: AbortSignal,
): Response {
  const ufid = ufidOf(query);
  const count = numberOf(query, "count", { usual: 100, max: 10_000, min: 1 });
  const seconds = numberOf(query, "seconds", { usual: 10, max: 600, min: 1 });
  dp.flows.get({ ufid }); // ENOENT if it has gone.
  if (running >= maxCaptures) {
    throw new QueryError(`${maxCaptures} captures are running already`);
  }
  const { promise: until, resolve: stop } = Promise.withResolvers<void>();
  const end = (): void => stop();
  ending.addEventListener("abort", end, { once: true });
  running++;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const write = (bytes: Uint8Array): void => {
        if ((controller.desiredSize ?? 0) > 0) controller.enqueue(bytes.slice());
        else stop();
      };
      // Not awaited: the stream begins at once.
      void captureInto(dp, write, { ufid, count, seconds, until })
        .then(() => controller.close(), (error) => controller.error(error))
        .catch(() => {}) // The browser has gone.
        .finally(() => {
          running--;
          ending.removeEventListener("abort", end);
        });
    },
    cancel: () => stop(),
  }, new ByteLengthQueuingStrategy({ highWaterMark: maxBuffered }));
  return new Response(body, {
    headers: {
      ...securityHeaders,
      "content-type": "application/x-pcapng",
      "content-disposition": `attachment; filename="flow-${ufid.slice(0, 8)}.pcapng"`,
    },
  });
}
