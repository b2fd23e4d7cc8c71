// SPDX-License-Identifier: Apache-2.0
/** `dpctl serve --policy`, `explain` and `policy`, on a datapath of this process. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { dpctl } from "../../cli/dpctl.ts";
import { servePolicy } from "../../cli/policy.ts";
import { Log } from "../../control/log.ts";
import { serve } from "../../control/serve.ts";
import { openDatapath, registerProvider } from "../../providers/registry.ts";
import { fakeProvider } from "../support/fake_provider.ts";
import { ethernet } from "../support/frames.ts";
import { root } from "../support/tree.ts";
import { pause, until } from "../support/wait.ts";

async function call(
  ...args: string[]
): Promise<{ code: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const code = await dpctl(args, {
    print: (text) => out += text,
    complain: (text) => err += text,
    readText: () => Promise.resolve(""),
  });
  return { code, out, err };
}

const text = (to: number) => `
import { forward, type Policy, StateMap } from "file://${root}policy/mod.ts";
const heard = new StateMap<string, number>({ name: "heard" });
export const policy: Policy = (packet) => {
  if (packet.ethernet) packet.learn(heard, packet.ethernet.src, packet.inPort);
  return forward(heard.lookup(packet, "ethernet.dst") ?? ${to});
};
`;

Deno.test("a served policy explains itself, is recorded, and is taken anew with its file", async () => {
  const folder = await Deno.makeTempDir({ prefix: "upcall-policy-" });
  const file = `${folder}/policy.ts`;
  await Deno.writeTextFile(file, text(2));
  registerProvider(fakeProvider({ type: "served-policy" }));
  await using dp = await openDatapath("served-policy@d0", { create: true });
  for (const no of [1, 2, 3]) await dp.ports.add({ name: `p${no}`, type: "dummy", no });
  const socket = `${folder}/socket`;
  await using _server = await serve(dp, { path: socket });
  let log = "";
  const stop = new AbortController();
  const serving = servePolicy(dp, file, {
    log: new Log((line) => log += line),
    signal: stop.signal,
  });
  await until("the policy to run", () => log.includes("running"));
  const send = async (port: number, src: string, dst: string): Promise<void> => {
    const frame = ethernet(0x1234, new Uint8Array(50), { src, dst });
    dp.ports.inject?.(port, frame);
    for (let i = 0; i < 4; i++) await pause(0);
  };
  await send(3, "02:00:00:00:00:03", "02:00:00:00:00:01");
  ok(dp.ports.collect?.(2) !== undefined);

  const why = await call(
    "--socket",
    socket,
    "explain",
    "in_port(1),eth(),eth_type(0x0806)",
  );
  strictEqual(why.code, 0, why.err);
  match(why.out, /read +ethernet.dst in heard/);
  match(why.out, /verdict +2/);
  const shown = await call("--socket", socket, "--json", "policy", "show");
  strictEqual(JSON.parse(shown.out).flows, 1);
  const told = await call("--socket", socket, "policy", "show");
  match(told.out, /^flows: +1 of at most \d+, of 1 masks\n/);
  match(told.out, /^upcalls: +\d+: 1 set up a flow, /m);
  match(told.out, /^failures: +none$/m);
  const record = await call("--socket", socket, "policy", "record");
  const events = record.out.trim().split("\n").map((line) => JSON.parse(line).event);
  ok(events.includes("upcall"));

  const recorded = `${folder}/record`;
  await Deno.writeTextFile(recorded, record.out);
  const same = await call("policy", "replay", recorded, "--policy", file);
  strictEqual(same.code, 0, same.out + same.err);
  const other = `${folder}/other.ts`;
  await Deno.writeTextFile(other, text(1));
  const differs = await call("policy", "replay", recorded, "--policy", other);
  strictEqual(differs.code, 1);
  match(differs.out, /1 with another verdict[^]*2 -> 1/);

  await pause(20); // A file's time has few digits on some systems.
  await Deno.writeTextFile(file, text(1));
  await until("the policy to be taken anew", () => log.includes("-> 1"));
  match(log, /0 flows kept, 1 modified, 0 deleted\n.*2 -> 1\n/);
  await send(3, "02:00:00:00:00:03", "02:00:00:00:00:01");
  ok(dp.ports.collect?.(1) !== undefined, "the flow has the new verdict");
  // What the old one heard is known to the new one.
  await send(1, "02:00:00:00:00:01", "02:00:00:00:00:03");
  ok(dp.ports.collect?.(3) !== undefined);

  await pause(20);
  await Deno.writeTextFile(file, "export const policy = 1;\n");
  await until("the file to be refused", () => log.includes("was not taken"));
  stop.abort();
  await serving;
  const gone = await call("--socket", socket, "explain", "in_port(1)");
  match(gone.err, /no policy runs here/);
  deepStrictEqual(gone.code === 0, false);
  await Deno.remove(folder, { recursive: true });
});
