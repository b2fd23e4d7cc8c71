// SPDX-License-Identifier: Apache-2.0
/** What is read and printed without a datapath: options, connections, packets, pages. */
import assert from "node:assert/strict";
import type { Connection } from "../providers/contract/conntrack.ts";
import { extractKey, formatKey, parseKey } from "../providers/odp/mod.ts";
import { run as runCommand } from "../tests/support/command.ts";
import { findProgram, skippable, Unsupported } from "../tests/support/skip.ts";
import config from "../deno.json" with { type: "json" };
import { completionsFor } from "./completions.ts";
import { composePacket } from "../control/compose.ts";
import {
  connectionText,
  filterOf,
  isFiveTuple,
  parseTuple,
  type TupleMatch,
} from "../control/text/conntrack.ts";
import { dpctl } from "./dpctl.ts";
import { tcpFlagsText } from "../control/text/flow.ts";
import { Log } from "../control/log.ts";
import { flagWords, parseCommandLine, parseControlOptions } from "../control/options.ts";
import type { Status } from "../control/status.ts";
import { lineOf, pageOf } from "./top/page.ts";
import { toolVerbs } from "./tool_verbs.ts";
import { toJson } from "../control/verbs/verb.ts";
import { verbs } from "../control/verbs/verbs.ts";
import { humanSize } from "../control/verbs/datapath.ts";
import { version } from "../control/version.ts";

async function call(...args: string[]): Promise<[number, string, string]> {
  let out = "";
  let err = "";
  const code = await dpctl(args, {
    print: (text) => out += text,
    complain: (text) => err += text,
    readText: () => Promise.resolve(""),
  });
  return [code, out, err];
}

Deno.test("options stand anywhere, may be shortened, and stop at --", () => {
  const { flags, words } = parseCommandLine(["show", "-sm", "a", "--stat", "--", "-x"]);
  assert.deepEqual(words, ["show", "a", "-x"]);
  assert.equal(flags.verbosity, 1);
  assert.equal(flags.statistics, true);
  assert.equal(flags.names, true, "-m names ports");
  assert.equal(parseCommandLine(["-m", "--no-names"]).flags.names, false);
  assert.equal(parseCommandLine(["-t5", "show"]).timeout, 5);
  assert.equal(parseCommandLine(["--socket=x", "show"]).socket, "x");
  assert.equal(parseCommandLine(["show", "--help", "--nonsense"]).instead, "help");
  for (
    const [args, message] of [
      [["--nonsense"], "unrecognized option '--nonsense'"],
      [["--na=5"], "option '--names' doesn't allow an argument"],
      [["--socket"], "option '--socket' requires an argument"],
      [["-t"], "option requires an argument -- 't'"],
      [["-sx"], "invalid option -- 'x'"],
      [["--timeout=0"], "value 0 on -t or --timeout is invalid"],
    ] as const
  ) assert.throws(() => parseCommandLine(args), { message });
  assert.throws(() => parseCommandLine(["--s"]), /is ambiguous; possibilities/);
});

Deno.test("flags survive the way over a control socket", () => {
  for (
    const line of ["", "-m", "-mm --no-names", "--names -s --clear --may-create --json"]
  ) {
    const { flags } = parseCommandLine(line.split(" ").filter((word) => word !== ""));
    const again = parseControlOptions([...flagWords(flags), "x"]);
    assert.deepEqual(again, { flags, rest: ["x"] }, line);
  }
  assert.throws(() => parseControlOptions(["--read-only"]), /Unrecognized option --read/);
  assert.throws(() => parseControlOptions(["-mx"]), /Unrecognized option -x/);
});

Deno.test("help lists every verb, and describes one", async () => {
  const [code, text] = await call("--help");
  assert.equal(code, 0);
  for (const { name } of [...verbs, ...toolVerbs]) {
    assert(text.includes(`  ${name} `), name);
  }
  assert.match(
    (await call("help", "mod-flow"))[1],
    /^usage: dpctl .* mod-flow \[dp\] flow/,
  );
  assert.deepEqual(await call("--version"), [0, `dpctl (Upcall) ${version}\n`, ""]);
  assert.equal(version, config.version);
  const [failed, , complaint] = await call("--nonsense");
  assert.equal(failed, 1);
  assert.match(complaint, /^dpctl: unrecognized option '--nonsense'\n {2}hint: /);
});

const connection: Connection = {
  orig: { src: "10.0.0.1", dst: "10.0.0.2", proto: 6, srcPort: 1000, dstPort: 80 },
  reply: { src: "10.0.0.2", dst: "10.0.0.1", proto: 6, srcPort: 80, dstPort: 1000 },
  zone: 5,
  mark: 7,
  labels: 0x12n,
  status: 0x18e,
  timeout: 100,
  tcp: { orig: "SYN_RECV", reply: "SYN_RECV" },
  counters: {
    orig: { packets: 1n, bytes: 60n },
    reply: { packets: 0n, bytes: 0n },
  },
};

Deno.test("connections are printed as ovs-dpctl does", () => {
  const tuples = "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1000,dport=80)," +
    "reply=(src=10.0.0.2,dst=10.0.0.1,sport=80,dport=1000)";
  assert.equal(
    connectionText(connection, {}),
    `${tuples},zone=5,mark=7,labels=0x12,protoinfo=(state=ESTABLISHED)`,
  );
  assert.equal(
    connectionText(connection, { statistics: true }),
    `${tuples.replace("dport=80)", "dport=80,packets=1,bytes=60)")},zone=5,timeout=100,` +
      "mark=7,labels=0x12,protoinfo=(state=ESTABLISHED)",
  );
  assert.equal(
    connectionText(connection, { verbose: true }),
    `${tuples},id=0,zone=5,status=SEEN_REPLY|ASSURED|CONFIRMED|SRC_NAT_DONE|DST_NAT_DONE,` +
      "mark=7,labels=0x12,protoinfo=(state_orig=SYN_RECV,state_reply=SYN_RECV)",
  );
});

Deno.test("tuples are read, and a flush is asked for what they name", () => {
  const match: TupleMatch = { orig: {}, reply: {} };
  parseTuple("ct_nw_src=10.0.0.1,ct_nw_proto=6,ct_tp_dst=80", "orig", match);
  assert.equal(isFiveTuple(match), false);
  parseTuple("ct_nw_src=10.0.0.9,ct_tp_src=0", "reply", match);
  assert.deepEqual(filterOf(match), {
    orig: { src: "10.0.0.1", proto: 6, dstPort: 80 },
    reply: { src: "10.0.0.9" },
  });
  const six: TupleMatch = { orig: {}, reply: {} };
  parseTuple("ct_ipv6_src=FC00:0:0::1,ct_ipv6_dst=fc00::2", "orig", six);
  assert.deepEqual(six.orig, { src: "fc00::1", dst: "fc00::2" });
  for (
    const [text, message] of [
      ["ct_nw_src=1.2.3", "failed to parse field ct_nw_src"],
      ["ct_nw_src=1.2.3.4,ct_nw_src=1.2.3.4", "ct_nw_src is set multiple times"],
      ["ct_nw_src=1.2.3.4,ct_ipv6_src=::1", "the L3 protocol does not match ::1"],
      ["ct_tp_src=4", "port is set without protocol"],
      ["icmp_id=4", "invalid L4 fields"],
      ["ct_nw_proto=256", "failed to parse field ct_nw_proto"],
      ["x=4", "invalid conntrack tuple field: x"],
      ["ct_nw_src", "field ct_nw_src missing value"],
    ] as const
  ) {
    assert.throws(() => parseTuple(text, "orig", { orig: {}, reply: {} }), { message });
  }
});

Deno.test("composed packets have the key they were made from", () => {
  const ether = "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)";
  const ip4 = (proto: number, frag = "no"): string =>
    `eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=${proto},tos=4,ttl=64,frag=${frag})`;
  const ip6 = (proto: number, frag = "no"): string =>
    `eth_type(0x86dd),ipv6(src=fc00::1,dst=fc00::2,label=0x5,proto=${proto},tclass=3,` +
    `hlimit=9,frag=${frag})`;
  for (
    const rest of [
      `${ip4(6)},tcp(src=1,dst=2),tcp_flags(psh|ack)`,
      `${ip4(6)},tcp(src=1,dst=2),tcp_flags(syn)`,
      `${ip4(17)},udp(src=1,dst=2)`,
      `${ip4(132)},sctp(src=1,dst=2)`,
      `${ip4(1)},icmp(type=8,code=0)`,
      `${ip4(47)}`,
      `${ip4(17, "later")}`,
      `${ip4(17, "first")},udp(src=1,dst=2)`,
      `${ip6(6)},tcp(src=1,dst=2),tcp_flags(ack)`,
      `${ip6(58)},icmpv6(type=128,code=0)`,
      `${
        ip6(58)
      },icmpv6(type=135,code=0),nd(target=fc00::9,sll=02:00:00:00:00:09,tll=00:00:00:00:00:00)`,
      `${ip6(17, "first")},udp(src=1,dst=2)`,
      "eth_type(0x0806),arp(sip=1.1.1.1,tip=2.2.2.2,op=1,sha=02:00:00:00:00:03,tha=02:00:00:00:00:04)",
      `eth_type(0x8100),vlan(vid=5,pcp=1),encap(${ip4(17)},udp(src=1,dst=2))`,
      "eth_type(0x8847),mpls(label=5,tc=1,ttl=9,bos=1)",
    ]
  ) {
    const text = `${ether},${rest}`;
    const { key } = parseKey(text);
    const packet = composePacket(key);
    const again = extractKey(packet, { inPort: 1 });
    assert.equal(
      formatKey({ key: { recircId: 0, ...again } }).replace("recirc_id(0),", "")
        .replace(/,nd_ext\(.*?\)/, ""),
      formatKey({ key }),
      text,
    );
  }
  // A header that a protocol has is there, whether something is said of it or not.
  for (
    const [rest, size] of [
      [ip4(6), 118],
      [ip4(17), 106],
      [ip4(132), 110],
      [ip4(1), 106],
      [ip4(47), 34],
      ["eth_type(0x0800)", 34],
      ["eth_type(0x86dd)", 54],
    ] as const
  ) {
    assert.equal(composePacket(parseKey(`${ether},${rest}`).key).length, size, rest);
  }
  const { key } = parseKey(`${ether},${ip4(17)},udp(src=1,dst=2)`);
  assert.equal(composePacket(key, { length: 200 }).length, 200);
  assert.throws(() => composePacket(key, { length: 20 }), RangeError);
});

Deno.test("sizes, flags and numbers are printed for people and for programs", () => {
  assert.equal(humanSize(1023n), "");
  assert.equal(humanSize(1536n), " (1.5 KiB)");
  assert.equal(humanSize(5n * 1024n ** 4n), " (5.0 TiB)");
  assert.equal(tcpFlagsText(0xfff), "SFPRU.ECN[200][400][800]");
  assert.equal(
    toJson({ a: 5n, b: 1n << 60n, c: Uint8Array.of(1, 255) }),
    '{"a":5,"b":"1152921504606846976","c":"01ff"}',
  );
});

Deno.test("a log says what its levels let it", () => {
  const lines: string[] = [];
  const log = new Log((line) => lines.push(line));
  log.say("control", "dbg", "one");
  log.set("control:dbg");
  log.say("control", "dbg", "two");
  log.say("upcall", "dbg", "three");
  log.set("off");
  log.say("control", "emer", "four");
  assert.throws(() => log.set("control:nonsense"), SyntaxError);
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? "", /^\d{4}-.*Z\|00001\|control\|DBG\|two\n$/);
  assert.match(log.list(), /upcall +OFF/);
});

const status = (atMs: number, more: Partial<Status> = {}): Status => ({
  name: "netdev@d0",
  atMs,
  hit: 0,
  missed: 0,
  lost: 0,
  flows: 1,
  masks: 1,
  ports: [{
    no: 1,
    name: "p1",
    type: "dummy",
    rxPackets: 0,
    rxBytes: 0,
    txPackets: 0,
    txBytes: 0,
    drops: 0,
  }],
  drops: {},
  threads: [{ core: 1, busy: 0, idle: 0, sleep: 0 }],
  top: [{ id: "f", packets: 0, bytes: 0, text: "in_port(1), actions:2" }],
  ...more,
});

Deno.test("top shows rates between two looks, no wider or longer than its screen", () => {
  const before = status(1000);
  const now = status(3000, {
    hit: 2000,
    missed: 20,
    ports: [{
      ...before.ports[0] as Status["ports"][number],
      rxPackets: 4000,
      rxBytes: 4e6,
    }],
    drops: { no_port: 10 },
    threads: [{ core: 1, busy: 25, idle: 50, sleep: 25 }],
    top: [{ id: "f", packets: 6000, bytes: 1, text: "in_port(1), actions:2" }],
  });
  assert.equal(
    lineOf(before, now),
    "netdev@d0 hit/s 1,000 missed/s 10 lost/s 0 hit 99.0% flows 1 masks 1",
  );
  const page = pageOf(before, now, { columns: 80, rows: 40 }).join("\n");
  assert.match(page, /^1 +p1 +dummy +2,000 +16\.0M +0 +0 +0$/m);
  assert.match(page, /^core 1 +\[#{5}\.{15}\] +25\.0% busy$/m);
  assert.match(page, /^no_port +5\/s +10$/m);
  assert.match(page, /^ +3,000 {2}in_port\(1\) -> 2$/m);
  const small = pageOf(before, now, { columns: 20, rows: 3 });
  assert.equal(small.length, 3);
  assert(small.every((row) => row.length <= 20));
  // A datapath that was made anew counts from 0.
  assert.match(lineOf(now, { ...before, atMs: 4000, hit: 5 }), /hit\/s 5 /);
});

Deno.test(
  "completions are scripts that their shells take, and know every verb",
  skippable(async () => {
    const known = [...verbs, ...toolVerbs];
    for (const shell of ["bash", "zsh", "fish"] as const) {
      const script = completionsFor(shell, known);
      for (const { name } of known) assert(script.includes(name), `${shell}: ${name}`);
    }
    if (findProgram("bash") === undefined) {
      throw new Unsupported("bash", { requirement: "tool" });
    }
    const script = completionsFor("bash", known);
    const answer = await runCommand(
      "bash",
      "-c",
      `${script}\nCOMP_WORDS=(dpctl mod-f); COMP_CWORD=1; _dpctl; echo "\${COMPREPLY[@]}"`,
    );
    assert.equal(answer, "mod-flow mod-flows\n");
  }),
);

Deno.test(
  "completions for bash run nothing that is in a name, and quote what they insert",
  skippable(async () => {
    if (findProgram("bash") === undefined) {
      throw new Unsupported("program bash", { requirement: "peer" });
    }
    const folder = await Deno.makeTempDir();
    try {
      const names = [
        "netdev@plain",
        "netdev@x$(touch ran)",
        "netdev@x`touch ran`",
        "netdev@x;touch ran;",
        "netdev@x'\"*?",
        "system@-n",
      ];
      await Deno.writeTextFile(`${folder}/names`, names.map((n) => `${n}\n`).join(""));
      await Deno.writeTextFile(`${folder}/c.bash`, completionsFor("bash", verbs));
      const complete = async (word: string): Promise<string[]> => {
        const script = `dpctl() { cat names; }; . ./c.bash
          COMP_WORDS=(dpctl show "$1"); COMP_CWORD=2; _dpctl
          printf '%s\\n' "\${COMPREPLY[@]}"
          # What Tab inserts is read by the shell again.
          for reply in "\${COMPREPLY[@]}"; do eval "printf '%s\\n' $reply" >> read; done`;
        const { stdout } = await new Deno.Command("bash", {
          args: ["--norc", "-c", script, "bash", word],
          cwd: folder,
        }).output();
        return new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "");
      };
      assert.equal((await complete("")).length, names.length);
      const read = await Deno.readTextFile(`${folder}/read`);
      assert.deepEqual(read.split("\n").slice(0, -1), names);
      assert.deepEqual(await complete("netdev@pl"), ["netdev@plain"]);
      assert.equal((await complete("netdev@x\\$")).length, 1, "what was quoted goes on");
      assert.ok(![...Deno.readDirSync(folder)].some(({ name }) => name === "ran"));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }),
);
