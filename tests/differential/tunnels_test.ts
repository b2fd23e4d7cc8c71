// SPDX-License-Identifier: Apache-2.0
/**
 * Encapsulation beside Open vSwitch, byte for byte: what one puts before packets the other puts,
 * too, and takes off again, with the same metadata; what is wrong is dropped by both.
 */
import assert from "node:assert/strict";
import { toKeyAndMaskBytes } from "../../providers/odp/input.ts";
import { encodeKey, formatKey } from "../../providers/odp/mod.ts";
import { type Dummy, startDummy } from "../odp/ovs_dummy.ts";
import { figure } from "../support/figure.ts";
import { collectAll, NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import {
  erspanCases,
  type TunnelCase,
  tunnelCases,
  type TunnelKind,
} from "./tunnel_cases.ts";
import { plain, through } from "./tunnel_judge.ts";

const count = Number(Deno.env.get("TUNNEL_CASES") ?? 1020);
const seed = Number(Deno.env.get("TUNNEL_SEED") ?? 15);
const dp = "dummy@ovs-dummy";
const kinds: readonly TunnelKind[] = ["vxlan", "geneve", "gre"];

type Numbers = Readonly<Record<TunnelKind, number>>;

/** Identifier of the `n`-th flow. */
const ufidOf = (n: number) =>
  `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;

/** Adds ports of each kind to Open vSwitch; gives their numbers in its datapath. */
async function addTunnels<K extends string>(
  dummy: Dummy,
  kinds: readonly K[],
): Promise<Readonly<Record<K, number>>> {
  for (const kind of kinds) {
    await dummy.vsctl(
      ...["add-port", "br0", `t-${kind}`, "--", "set", "interface", `t-${kind}`],
      ...[`type=${kind}`, "options:remote_ip=flow", "options:key=flow"],
    );
  }
  const shown = await dummy.call("dpctl/show", dp);
  return Object.fromEntries(
    [...shown.matchAll(/port (\d+): \S+ \((\w+)/g)]
      .map(([, no, kind]) => [kind, Number(no)]),
  ) as Record<K, number>;
}

/** Puts flows into Open vSwitch in place of all that it has. */
async function setFlows(dummy: Dummy, lines: readonly string[]): Promise<void> {
  const file = await Deno.makeTempFile({ prefix: "upcall-tunnels-" });
  try {
    await Deno.writeTextFile(file, lines.map((line) => `add ${line}\n`).join(""));
    await dummy.call("dpctl/del-flows", dp);
    await dummy.call("dpctl/add-flows", dp, file);
  } finally {
    await Deno.remove(file);
  }
}

const pushText = ({ kind, header }: TunnelCase, numbers: Numbers, out: number) =>
  `tnl_push(tnl_port(${numbers[kind]}),${header},out_port(${out})),2`;

/** Keys that a frame of any of these kinds has at port 3. */
const outerKey = (type: string) => `in_port(3),eth(),eth_type(${type})`;

/** Flows that take off the headers of a kind's packets at port 3, without those of other kinds. */
const popFlows = (numbers: Numbers) =>
  [["0x0800", "ipv4"], ["0x86dd", "ipv6"]].flatMap(([type = "", ip]) => [
    `${outerKey(type)},${ip}(proto=17,frag=no),udp(dst=4789) tnl_pop(${numbers.vxlan})`,
    `${outerKey(type)},${ip}(proto=17,frag=no),udp(dst=6081) tnl_pop(${numbers.geneve})`,
    `${outerKey(type)},${ip}(proto=47,frag=no) tnl_pop(${numbers.gre})`,
  ]);

Deno.test(
  "tunnels: headers and metadata are Open vSwitch's, byte for byte",
  skippable(async () => {
    await using dummy = await startDummy();
    await using bench = await NetdevBench.open();
    await bench.ports("p1", "p2", "p3");
    await dummy.call("upcall/set-flow-limit", "0");
    const theirs = await addTunnels(dummy, kinds);
    const ours = {} as Record<TunnelKind, number>;
    for (const kind of kinds) {
      ours[kind] = (await bench.dp.ports.add({ name: `t-${kind}`, type: kind })).no;
    }
    const cases = tunnelCases(count, seed);

    // Headers go on.
    await setFlows(
      dummy,
      cases.map((one, n) => {
        const mac = one.frame.subarray(6, 12).toHex().replaceAll(/..(?!$)/g, "$&:");
        return `ufid:${ufidOf(n)},in_port(1),eth(src=${mac}),${one.type} ` +
          pushText(one, theirs, 100);
      }),
    );
    const pushed = await through(dummy, cases.map(({ frame }) => frame), ["p1", 2]);
    const own = cases.map((one) => {
      bench.dp.execute({ packet: one.frame, actions: pushText(one, ours, 1) });
      const [frame] = collectAll(bench.dp, 2 as never);
      assert.ok(frame, one.header);
      return frame;
    });
    cases.forEach(({ header }, n) => {
      const [have, want] = [own[n], pushed[n]].map((frame) =>
        plain(frame ?? new Uint8Array())
      );
      assert.equal(have, want, `case ${n} of seed ${seed}: ${header}`);
    });

    // And off: of every other case what Open vSwitch has sent, of the rest our own.
    const outer = cases.map((_, n) =>
      (n % 2 === 0 ? pushed[n] : own[n]) ?? new Uint8Array()
    );
    for (const line of popFlows(ours)) {
      const [key = "", actions = ""] = line.split(" ");
      bench.dp.flows.put({ key, actions });
    }
    const upcalls = bench.dp.upcalls({ signal: AbortSignal.timeout(300_000) });
    const exact: string[] = [];
    for (const [n, frame] of outer.entries()) {
      bench.inject(3 as never, frame);
      const { value: upcall } = await upcalls.next();
      assert.ok(upcall);
      assert.equal(upcall.packet.toHex(), cases[n]?.frame.toHex(), cases[n]?.header);
      const key = {
        ...upcall.key,
        inPort: theirs[cases[n]?.kind ?? "vxlan"] as never,
      };
      const text = formatKey(toKeyAndMaskBytes(encodeKey(key)), { verbose: true });
      exact.push(`ufid:${ufidOf(n + 100)},${text} 4`);
    }
    await upcalls.return?.();
    await setFlows(dummy, [...popFlows(theirs), ...exact]);
    const popped = await through(dummy, outer, ["p3", 4]);
    assert.deepEqual(
      popped.map((frame) => frame.toHex()),
      cases.map(({ frame }) => frame.toHex()),
    );
    figure(`${count} packets got headers, and lost them again, as in Open vSwitch`);
  }),
);

Deno.test(
  "tunnels: ERSPAN comes out as in Open vSwitch, with the same metadata",
  skippable(async () => {
    await using dummy = await startDummy();
    await using bench = await NetdevBench.open();
    await bench.ports("p1", "p2", "p3");
    await dummy.call("upcall/set-flow-limit", "0");
    const theirs = await addTunnels(dummy, ["erspan"]);
    const { no: ours } = await bench.dp.ports.add({ name: "t-erspan", type: "erspan" });
    const outer = `${outerKey("0x0800")},ipv4(proto=47,frag=no)`;
    bench.dp.flows.put({ key: outer, actions: `tnl_pop(${ours})` });
    const cases = erspanCases(Math.ceil(count / 4), seed);
    const upcalls = bench.dp.upcalls({ signal: AbortSignal.timeout(300_000) });
    const exact: string[] = [];
    for (const [n, { outer, inner }] of cases.entries()) {
      bench.inject(3 as never, outer);
      const { value: upcall } = await upcalls.next();
      assert.ok(upcall);
      assert.equal(upcall.packet.toHex(), inner.toHex(), `case ${n} of seed ${seed}`);
      const key = { ...upcall.key, inPort: theirs.erspan as never };
      const text = formatKey(toKeyAndMaskBytes(encodeKey(key)), { verbose: true });
      exact.push(`ufid:${ufidOf(n + 100)},${text} 4`);
    }
    await upcalls.return?.();
    await setFlows(dummy, [`${outer} tnl_pop(${theirs.erspan})`, ...exact]);
    const popped = await through(dummy, cases.map(({ outer }) => outer), ["p3", 4]);
    assert.deepEqual(
      popped.map((frame) => frame.toHex()),
      cases.map(({ inner }) => inner.toHex()),
    );
    figure(`${cases.length} packets of ERSPAN came out as in Open vSwitch`);
  }),
);
