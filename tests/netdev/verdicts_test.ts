// SPDX-License-Identifier: Apache-2.0
/** Verdicts by the library's own copy of upcalls, where the handler does not outlive them. */
import assert from "node:assert/strict";
import { cString } from "../../ffi/memory.ts";
import { Errno } from "../../providers/errno.ts";
import type { Context } from "../../providers/netdev/context.ts";
import { holdLibrary, type Symbols } from "../../providers/netdev/library.ts";
import { NetdevUpcalls } from "../../providers/netdev/upcalls.ts";
import { NetdevVerdicts } from "../../providers/netdev/verdicts.ts";
import { encodeActions, exact, output } from "../../providers/odp/mod.ts";
import { udpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

/** The library, whose handlers somebody closes as soon as they have carried verdicts out. */
function closingBehind(symbols: Symbols): Symbols {
  const dp_upcall_exchange: Symbols["dp_upcall_exchange"] = (...args) => {
    const errno = symbols.dp_upcall_exchange(...args);
    return errno === 0 && args[3] > 0 ? Errno.ESHUTDOWN : errno;
  };
  return { ...symbols, dp_upcall_exchange };
}

Deno.test(
  "verdicts: what was carried out before its handler closed is not done again",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    await bench.ports("p1", "p2");
    const library = await holdLibrary({ operation: "give verdicts" });
    const { symbols } = library;
    const { fullName } = bench.dp;
    const dp = new BigUint64Array(1);
    const name = cString(fullName.slice("netdev@".length));
    assert.equal(symbols.dp_open(name, 0, new Uint8Array(dp.buffer)), 0);
    const context: Context = {
      symbols: closingBehind(symbols),
      dp: dp[0] as bigint,
      fullName,
      subject: (operation) => ({ operation }),
    };
    const handler = new NetdevUpcalls(context).handler(0);
    try {
      await bench.injectAll(1, [udpFrame({})]);
      await bench.settle();
      const upcalls = handler.receive(8);
      assert.equal(upcalls.length, 1);
      const actions = encodeActions([output(2)]);
      const given = new NetdevVerdicts(context)
        .give(upcalls, [{ mask: exact("inPort", "ethernet"), actions }]);
      assert.deepEqual(given, [{ ok: true }]);
      assert.equal((await bench.collect(2)).length, 1);
    } finally {
      await handler.close();
      await symbols.dp_close(dp[0] as bigint);
      library.release();
    }
  }),
);
