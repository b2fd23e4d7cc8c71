// SPDX-License-Identifier: Apache-2.0
/**
 * A capture that goes to another program as it is taken, through a socket which that program made.
 * A reader that is slow holds up neither packets nor this program: what does not fit is left out.
 *
 * @module
 */
import type { Datapath } from "../../providers/datapath.ts";
import { captureInto, type CaptureOptions, type CaptureResult } from "./capture.ts";

/** Bytes that wait for the reader at most. */
const maxWaiting = 8 << 20;
/** Type of a block with a packet (pcapng); the others must not be left out. */
const ENHANCED_PACKET = 6;

/** Whether a capture to this path is one that another program reads as it is taken. */
export async function isPipe(path: string): Promise<boolean> {
  const info = await Deno.stat(path).catch(() => undefined);
  return info?.isSocket === true;
}

/** Captures into the socket at a path, until enough packets came, or the reader has gone. */
export async function capturePiped(
  dp: Datapath,
  path: string,
  options: CaptureOptions,
): Promise<CaptureResult> {
  using reader = await Deno.connect({ transport: "unix", path });
  const left = Promise.withResolvers<void>();
  const blocks: Uint8Array[] = [];
  let waiting = 0;
  let slow = 0;
  let isLeft = false;
  let sending = Promise.resolve();
  // It says nothing, so what is read is its end.
  const end = (): void => {
    isLeft = true;
    left.resolve();
  };
  void reader.read(new Uint8Array(1)).then(end, end);
  const send = async (): Promise<void> => {
    for (let block = blocks[0]; block !== undefined && !isLeft; block = blocks[0]) {
      try {
        for (let at = 0; at < block.length;) at += await reader.write(block.subarray(at));
      } catch {
        return end(); // It has seen enough.
      }
      waiting -= block.length;
      blocks.shift();
    }
  };
  const write = (bytes: Uint8Array): void => {
    const [type] = new Uint32Array(bytes.slice(0, 4).buffer);
    if (type === ENHANCED_PACKET && waiting + bytes.length > maxWaiting) {
      slow++;
      return;
    }
    waiting += bytes.length;
    blocks.push(bytes.slice());
    if (blocks.length === 1) sending = send();
  };
  const until = Promise.race([left.promise, ...(options.until ? [options.until] : [])]);
  const { packets, lost } = await captureInto(dp, write, { ...options, until });
  // A reader that takes nothing would hold this up for ever.
  await Promise.race([sending, ...(options.until ? [options.until] : [])]);
  return { packets: packets - slow, lost: lost + slow };
}
