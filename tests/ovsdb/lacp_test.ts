// SPDX-License-Identifier: Apache-2.0
/** LACP: two ends that agree, one that goes silent, and a bond by the hash of packets. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { Lacp, noLacp } from "../../vswitch/bonds/lacp.ts";
import {
  lacpFrame,
  type LacpInfo,
  LacpState,
  parseLacp,
} from "../../vswitch/bonds/lacp_pdu.ts";
import { daemonCommands } from "../../vswitch/commands/commands.ts";
import { DaemonLog } from "../../vswitch/log.ts";
import { skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";
import { lab, ofctl } from "./lab.ts";

const end = (own: string): Lacp => {
  const config = { active: true, fast: true, sysId: undefined, sysPriority: 65_534 };
  const lacp = new Lacp({ ...config, fallback: false });
  const ports = [1, 2].map((port) => ({ name: `p${port}`, port, lacp: noLacp }));
  lacp.set(lacp.config, own, ports);
  return lacp;
};

Deno.test("lacp: messages are what they were, and others are none", () => {
  const info: LacpInfo = {
    ...{ sysPriority: 1, sysId: "02:00:00:00:00:01", key: 2, portPriority: 3 },
    ...{ portId: 4, state: 0x3d },
  };
  const other = { ...info, sysId: "02:00:00:00:00:02", portId: 9 };
  const frame = lacpFrame("02:00:00:00:00:01", info, other);
  strictEqual(frame.length, 124);
  deepStrictEqual(parseLacp(frame), { actor: info, partner: other });
  strictEqual(parseLacp(frame.subarray(0, 123)), undefined);
  for (const at of [12, 14, 15, 16, 17, 36, 37]) {
    const bad = frame.slice();
    bad[at] = 0x77;
    strictEqual(parseLacp(bad), undefined, `byte ${at}`);
  }
});

Deno.test("lacp: two ends agree, a link that goes silent is not used, a loop never", () => {
  const [a, b] = [end("02:00:00:00:00:0a"), end("02:00:00:00:00:0b")];
  let isCut = false;
  const pass = (nowMs: number): void => {
    for (const [from, to] of [[a, b], [b, a]] as const) {
      from.run(() => true, ({ port }, actor, partner) => {
        if (!(isCut && port === 2)) to.receive(port, { actor, partner }, nowMs);
      }, nowMs);
    }
  };
  pass(0);
  strictEqual(a.mayEnable("p1"), false);
  for (let ms = 100; ms <= 2000; ms += 100) pass(ms);
  deepStrictEqual(["p1", "p2"].map((name) => [a.mayEnable(name), b.mayEnable(name)]), [
    [true, true],
    [true, true],
  ]);
  ok(a.negotiated && b.negotiated);
  isCut = true;
  for (let ms = 2100; ms <= 12_000; ms += 100) pass(ms);
  deepStrictEqual([a.mayEnable("p1"), a.mayEnable("p2")], [true, false]);
  strictEqual(a.members.get("p2")?.status, "defaulted");
  // Its own messages that come back are nobody's agreement.
  const alone = end("02:00:00:00:00:0c");
  for (let ms = 0; ms <= 3000; ms += 100) {
    alone.run(() => true, ({ port }, actor, partner) => {
      alone.receive(port, { actor, partner }, ms);
    }, ms);
  }
  strictEqual(alone.mayEnable("p1"), false);
  ok(!alone.negotiated);
  strictEqual(a.actorOf(a.members.get("p1") as never).state & LacpState.synchronized, 8);
});

/** A packet of TCP, whose ports tell it from others. */
function tcp(port: number): string {
  return `in_port(9),eth(src=50:54:00:00:00:05,dst=50:54:00:00:01:00),eth_type(0x0800),` +
    `ipv4(src=10.0.0.2,dst=10.0.0.1,proto=6,tos=0,ttl=64,frag=no),tcp(src=8,dst=${port})`;
}

Deno.test(
  "bonds: balance-tcp over cables, once LACP has agreed, sends by the hash of a datapath",
  skippable(() =>
    lab(async (server, daemon) => {
      const commands = daemonCommands({ daemon, log: new DaemonLog(), exit: () => {} });
      const tell = async (name: string, ...args: string[]): Promise<string> =>
        await commands.get(name)?.run(args, new AbortController().signal as never) ?? "";
      const bond = (name: string, ports: readonly string[]): string[] => [
        ...["--", "add-bond", name, `bond-${name}`, ...ports, "bond_mode=balance-tcp"],
        ...["lacp=active", "other_config:lacp-time=fast"],
      ];
      await server.vs(
        "add-br",
        "br0",
        "--",
        "add-br",
        "br1",
        ...bond("br0", ["p1", "p2"]),
        ...bond("br1", ["p3", "p4"]),
        ...["p1", "p2"].flatMap((name) => [
          ...["--", "set", "interface", name, "type=dummy"],
          `options:pstream=punix:${server.folder}/${name}.sock`,
        ]),
        ...[["p3", "p1"], ["p4", "p2"]].flatMap(([name = "", to = ""]) => [
          ...["--", "set", "interface", name, "type=dummy"],
          `options:stream=unix:${server.folder}/${to}.sock`,
        ]),
        ...["--", "add-port", "br0", "p9", "--", "set", "interface", "p9", "type=dummy"],
      );
      for (const name of ["br0", "br1"]) {
        await ofctl(server, "add-flow", name, "actions=normal");
      }
      await until("both ends agree", async () => {
        const text = await tell("bond/show");
        return text.match(/may_enable: true/g)?.length === 4;
      });
      match(await tell("lacp/show", "bond-br0"), /status: active negotiated/);
      for (let port = 0; port < 60; port++) {
        await tell("netdev-dummy/receive", "p9", tcp(port));
      }
      await until("flows of both links", async () => {
        const text = await tell("dpctl/dump-flows");
        return /hash\(l4\(0\)\),recirc\(0x/.test(text) &&
          /dp_hash\([^\n]*actions:1\n/.test(text) &&
          /dp_hash\([^\n]*actions:2\n/.test(text);
      });
      const came = (): number[] =>
        [...daemon.datapaths.all()].flatMap(({ dp }) =>
          ["p3", "p4"].map((name) => {
            const no = dp.ports.get(name)?.no;
            return no === undefined ? 0 : Number(dp.ports.stats(no).rxPackets);
          })
        );
      // Of 60, and some of LACP, which come one a second.
      await until("packets by both links", () => came().every((count) => count > 18));
    })
  ),
);
