// SPDX-License-Identifier: Apache-2.0
/** The table of members is true: of the contract, and of the providers that this machine has. */
import assert from "node:assert/strict";
import type { Provider, ProviderDatapath } from "../../providers/contract/provider.ts";
import { DatapathError } from "../../providers/errors.ts";
import { netdevProvider } from "../../providers/netdev/mod.ts";
import { systemProvider } from "../../providers/system/mod.ts";
import { hasDatapath } from "../system/system.ts";
import { skippable, Unsupported } from "../support/skip.ts";
import { members } from "./members.ts";

const names = members.flatMap(({ member }) => member.split(" | "));

Deno.test("members: each is in one row, and the contract says what stands for it", () => {
  assert.equal(new Set(names).size, names.length);
  const folder = new URL("../../providers/contract/", import.meta.url);
  const text = [...Deno.readDirSync(folder)]
    .map(({ name }) => Deno.readTextFileSync(new URL(name, folder))).join("\n");
  const said = [...text.matchAll(/`([a-z]+(?:_[a-z*]+)+)`/g)].map(([, name]) =>
    name ?? ""
  );
  const unsaid = names.filter((name) =>
    name.includes("_") &&
    !said.some((one) =>
      one === name || (one.endsWith("*") && name.startsWith(one.slice(0, -1)))
    ) &&
    // A dump is said by its beginning and its end, policies by their first member.
    !/^(flow_dump_|ct_\w*timeout_policy)/.test(name)
  );
  assert.deepEqual(unsaid, []);
  for (const { at, ...reasons } of members) {
    for (const reason of [reasons.netdev, reasons.system]) {
      assert.ok(
        reason === undefined || /^[A-Z].{20,}\.$/.test(reason),
        `${at}: ${reason}`,
      );
    }
  }
});

/** What is at `meters.set`; undefined where a part of the way is absent. */
function reach(provider: Provider, dp: ProviderDatapath, at: string): unknown {
  let found: unknown = { ...dp, provider };
  for (const [i, part] of at.split(".").entries()) {
    found = (i === 0 && part !== "provider" ? dp : found as Record<string, unknown>)
      ?.[part as keyof typeof dp];
    if (found === undefined) return undefined;
  }
  return found;
}

async function check(type: "netdev" | "system", provider: Provider): Promise<void> {
  const name = `mb${Deno.pid}`;
  const dp = await provider.open(name, { create: "exclusive", onNotice: () => {} })
    .catch((error: unknown) => {
      if (error instanceof DatapathError && error.code === "ENOENT") {
        throw new Unsupported(error.message, { requirement: type });
      }
      throw error;
    });
  try {
    const wrong = members.flatMap((row) => {
      const isThere = reach(provider, dp, row.at) !== undefined;
      if (isThere && row[type] !== undefined) {
        return [`${row.at} is there, but a reason says not`];
      }
      return isThere || row[type] !== undefined
        ? []
        : [`${row.at} is absent without a reason`];
    });
    assert.deepEqual(wrong, []);
  } finally {
    await dp.destroy();
    await dp.close();
  }
}

Deno.test(
  "members: netdev has what the table says",
  skippable(() => check("netdev", netdevProvider)),
);

if (hasDatapath) {
  Deno.test("members: system has what the table says", () =>
    check("system", systemProvider));
}
