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
import { checksum } from "../support/frames.ts";
import { collectAll, NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";
import { type TunnelCase, tunnelCases, type TunnelKind } from "./tunnel_cases.ts";

const count = Number(Deno.env.get("TUNNEL_CASES") ?? 1020);
const seed = Number(Deno.env.get("TUNNEL_SEED") ?? 15);
const dp = "dummy@ovs-dummy";
const kinds: readonly TunnelKind[] = ["vxlan", "geneve", "gre"];

type Numbers = Readonly<Record<TunnelKind, number>>;

/** Identifier of the `n`-th flow. */
const ufidOf = (n: number) =>
  `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;

/** Adds ports of each kind to Open vSwitch; gives their numbers in its datapath. */
async function addTunnels(dummy: Dummy): Promise<Numbers> {
  for (const kind of kinds) {
    await dummy.vsctl(
      ...["add-port", "br0", `t-${kind}`, "--", "set", "interface", `t-${kind}`],
      ...[`type=${kind}`, "options:remote_ip=flow", "options:key=flow"],
    );
  }
  const shown = await dummy.call("dpctl/show", dp);
  return Object.fromEntries(
    [...shown.matchAll(/port (\d+): \S+ \((vxlan|geneve|gre)\b/g)]
      .map(([, no, kind]) => [kind, Number(no)]),
  ) as Numbers;
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

/** Gives frames to a port of Open vSwitch, and those that come out of another. */
async function through(
  dummy: Dummy,
  frames: readonly Uint8Array[],
  [from, to]: readonly [string, number],
  want = frames.length,
): Promise<Uint8Array[]> {
  const sent: Uint8Array[] = [];
  assert.deepEqual(await dummy.sent(to), []);
  for (const frame of frames) {
    await dummy.call("netdev-dummy/receive", from, frame.toHex());
  }
  await until(`${want} frames from Open vSwitch`, async () => {
    await dummy.call("version");
    sent.push(...await dummy.sent(to));
    return sent.length >= want;
  }, { state: () => `${sent.length} came` });
  return sent;
}

/** A frame without what is random in it: UDP's source port, which its checksum then is right for. */
function plain(frame: Uint8Array): string {
  const bytes = frame.slice();
  const isIpv6 = bytes[12] === 0x86;
  const l4 = isIpv6 ? 54 : 34;
  if (bytes[isIpv6 ? 20 : 23] !== 17) return bytes.toHex();
  const port = (bytes[l4] ?? 0) << 8 | (bytes[l4 + 1] ?? 0);
  assert.ok(port >= 32768 && port < 61000, `source port ${port}`);
  if ((bytes[l4 + 6] ?? 0) | (bytes[l4 + 7] ?? 0)) {
    const rest = bytes.subarray(l4);
    const pseudo = [0, 0, rest.length >> 8, rest.length & 0xff, 0, 17];
    const sum = checksum(
      Uint8Array.from([
        ...bytes.subarray(isIpv6 ? 22 : 26, l4),
        ...pseudo,
        ...rest,
      ]),
    );
    assert.equal(sum, 0, `UDP checksum of ${frame.toHex()}`);
    bytes.set([1, 1], l4 + 6);
  }
  bytes.set([0, 0], l4);
  return bytes.toHex();
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
    const theirs = await addTunnels(dummy);
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
