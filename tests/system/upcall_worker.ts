// SPDX-License-Identifier: Apache-2.0
/** A Worker that takes the upcalls of one handler and tells how many came. */
import { openDatapath } from "../../mod.ts";

const scope = self as unknown as {
  onmessage: (event: MessageEvent) => void;
  postMessage(message: unknown): void;
};

async function serve(datapath: string, handler: number, signal: AbortSignal) {
  await using dp = await openDatapath(datapath);
  const stream = dp.upcallBatches({ handler, signal });
  scope.postMessage("ready");
  let count = 0;
  try {
    for await (const batch of stream) scope.postMessage(count += batch.length);
  } catch (error) {
    if (error !== signal.reason) throw error;
  }
}

const abort = new AbortController();
scope.onmessage = ({ data }) => {
  if (data === "stop") abort.abort();
  else {
    serve(data.datapath, data.handler, abort.signal).then(() => scope.postMessage(-1));
  }
};
