// SPDX-License-Identifier: Apache-2.0
/**
 * What people read who call dpctl wrongly: Open vSwitch's line, then a reason, and what to do.
 */
import assert from "node:assert/strict";
import { dpctl } from "../../cli/dpctl.ts";
import { toolVerbs } from "../../cli/tool_verbs.ts";
import { serve } from "../../control/serve.ts";
import { adviceLines } from "../../control/verbs/advice.ts";
import { verbs } from "../../control/verbs/verbs.ts";
import { openNetdev } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Calls dpctl as a shell would, with `folder` for control sockets. */
async function call(folder: string, line: string | string[]): Promise<Outcome> {
  const before = Deno.env.get("UPCALL_RUNDIR");
  Deno.env.set("UPCALL_RUNDIR", folder);
  let out = "";
  let err = "";
  const args = typeof line === "string"
    ? line.split(" ").filter((word) => word !== "")
    : line;
  try {
    const code = await dpctl(args, {
      print: (text) => out += text,
      complain: (text) => err += text,
      readText: () => Promise.reject(new Deno.errors.NotFound("no such file")),
      signal: AbortSignal.timeout(0), // What should run on and on ends at once.
    });
    return { code, out, err };
  } finally {
    if (before === undefined) Deno.env.delete("UPCALL_RUNDIR");
    else Deno.env.set("UPCALL_RUNDIR", before);
  }
}

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "upcall-advice-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What a datapath that this program cannot open is called: nobody else has its number. */
const absent = `netdev@absent${Deno.pid}`;

/** Calls without a datapath: the first line, and the second. */
const wrong: readonly (readonly [line: string, first: RegExp, second: RegExp])[] = [
  ["", /missing command name; use --help for help/, /hint: "dpctl show" tells/],
  ["shwo", /unknown command 'shwo'; use --help for help/, /did you mean "show"\?/],
  ["serv x", /unknown command 'serv'/, /did you mean "serve"\?/],
  ["add-port x y", /unknown command 'add-port'/, /hint: "dpctl add-if" does it/],
  ["ofproto/trace br0 x", /unknown command/, /"dpctl trace" follows flows/],
  ["dpif-netdev/pmd-rxq-show -pmd 1", /unknown command/, /where several datapaths/],
  ["capture netdev@br0", /'capture' needs the name of a file/, /usage: dpctl capture/],
  ["frobnicate", /unknown command/, /hint: "dpctl help" lists the verbs/],
  ["help dumpflows", /unknown command 'dumpflows'/, /did you mean "dump-flows"\?/],
  ["dumpflows --help", /unknown command 'dumpflows'/, /did you mean "dump-flows"\?/],
  ["--jsn show", /unrecognized option '--jsn'/, /did you mean "--json"\?/],
  ["--qqqqqq show", /unrecognized option '--qqqqqq'/, /"dpctl help" lists the options/],
  [
    "add-if x",
    /'add-if' command requires at least 2 arg/,
    /usage: dpctl add-if dp iface/,
  ],
  ["del-dp a b", /'del-dp' command takes at most 1 arg/, /usage: dpctl del-dp dp/],
  [
    `add-dp ${absent}`,
    /add_dp \(Operation not supported\)/,
    /"dpctl serve netdev@absent/,
  ],
  [
    "add-dp netdv@x",
    /add_dp \(Address family/,
    /no provider of type "netdv".*"netdev"\?/,
  ],
  ["add-dp a/b", /add_dp \(Invalid argument\)/, /reason: Cannot use "a\/b" as the name/],
  [
    `show ${absent}`,
    /opening datapath netdev@absent\d+ failed \(No such device\)/,
    /no program .* serves netdev@absent\d+; "dpctl serve .*" runs one.*serve\(dp\)/,
  ],
  [`del-dp ${absent}`, /opening datapath \(No such device\)/, /dpctl serve/],
  ["serve", /'serve' needs the name of a datapath/, /usage: dpctl serve DP/],
  [
    "serve netdv@x",
    /no provider of type "netdv" \(there are: system, netdev\)/,
    /"netdev"\?/,
  ],
  ["serve netdev@x --miss lern", /one of drop, flood, learn: it is lern/, /"learn"\?/],
  ["capture", /'capture' needs the name of a file/, /usage: dpctl capture/],
  [`capture ${absent} f`, /where a program serves/, /"dpctl serve netdev@absent/],
  ["trace", /'trace' needs a packet/, /usage: dpctl trace/],
  [`trace ${absent} x`, /nobody serves netdev@absent/, /"dpctl serve netdev@absent/],
  ["top a b", /'top' takes one datapath/, /usage: dpctl top/],
  ["top --interval x", /must be numbers above 0/, /usage: dpctl top/],
  ["explain", /'explain' needs a flow/, /usage: dpctl explain/],
  [`explain ${absent} x`, /no served datapath/, /dpctl serve netdev@absent\d+ --policy/],
  ["policy", /'policy' needs one of/, /usage: dpctl policy/],
  ["policy replay x", /'policy replay' needs/, /usage: dpctl policy/],
  ["completions tcsh", /'completions' needs the name of a shell/, /usage: dpctl compl/],
  ["doctor x", /'doctor' takes no arguments/, /usage: dpctl doctor/],
  ["parse-actions ouput:1", /odp_actions_from_string \(Invalid arg/, /reason: .*/],
];

Deno.test("a wrong call says what is wrong, why, and what to do", () =>
  inFolder(async (folder) => {
    for (const [line, first, second] of wrong) {
      const { code, out, err } = await call(folder, line);
      const [said = "", why = "", ...more] = err.trimEnd().split("\n");
      assert.match(said, first, line);
      assert.match(said, /^dpctl: /, line);
      assert.match(why, /^ {2}(reason|hint): /, line);
      assert.match(why, second, line);
      assert.deepEqual([code, out, more], [1, "", []], line);
    }
  }));

Deno.test("--json has reason and hint as members", () =>
  inFolder(async (folder) => {
    const { out, err } = await call(folder, `--json show ${absent}`);
    const [error] = JSON.parse(out).errors;
    assert.equal(error.message, `opening datapath ${absent} failed`);
    assert.equal(error.code, "ENODEV");
    assert.match(error.reason, /no program on this machine serves/);
    assert.match(error.hint, /^"dpctl serve netdev@absent/);
    assert.equal(err, "");
    const tool = JSON.parse((await call(folder, "--json serve netdv@x")).out);
    assert.equal(tool.errors[0].hint, 'did you mean "netdev"?');
    assert.equal(tool.errors[0].code, "EAFNOSUPPORT");
    const usage = JSON.parse((await call(folder, "--json capture")).out);
    assert.match(usage.errors[0].hint, /^usage: dpctl capture/);
  }));

Deno.test("where nothing is, show says so and how to begin", () =>
  inFolder(async (folder) => {
    const { out, err } = await call(folder, "show");
    // A machine with a datapath in its kernel shows that.
    if (out !== "") return;
    assert.match(err, /^ {2}reason: .*; "dpctl serve netdev@br0" runs a datapath/);
    assert.equal(err.replaceAll(adviceLines, ""), "", "Open vSwitch says nothing");
    const json = JSON.parse((await call(folder, "--json show")).out);
    assert.match(json.errors[0].hint, /dpctl serve netdev@br0/);
  }));

Deno.test("no verb throws, whatever its arguments are", () =>
  inFolder(async (folder) => {
    const words = [absent, "x", "in_port(1", "", "--", "-", "0x", "\0", "9".repeat(40)];
    for (const { name } of [...verbs, ...toolVerbs]) {
      for (const word of words) {
        for (const count of [1, 2, 3]) {
          const line = [name, ...Array<string>(count).fill(word)];
          if (name === "serve" && word === "x") continue; // That may well be one.
          const { code, err } = await call(folder, line);
          const text = JSON.stringify(line);
          assert(code === 0 || code === 1, text);
          assert.doesNotMatch(err, /\n {4}at /, text);
        }
      }
    }
  }));

Deno.test(
  "a served datapath tells the types, options, cores and ports that there are",
  skippable(async () => {
    const name = `adv${Deno.pid}`;
    await using dp = await openNetdev(name);
    await dp.ports.add({ name: "uplink", type: "dummy" });
    await inFolder(async (folder) => {
      const full = `netdev@${name}`;
      await using _served = await serve(dp, { path: `${folder}/${full}.ctl` });
      for (
        const [line, first, second] of [
          [
            `add-if ${full} a,type=tpa`,
            /a: failed to open network device \(Address family/,
            /no port type "tpa" \(there are: dummy, null, .*\); did you mean "tap"\?/,
          ],
          [
            `add-if ${full} a,type=dummy,quue=4`,
            /adding a to netdev@\S+ failed \(Invalid argument\)/,
            /have no option "quue" \(there are: queue mtu.*\); did you mean "queue"\?/,
          ],
          [
            `add-if ${full} a,type=null,x=4`,
            /adding a to .* failed \(Invalid argument\)/,
            /ports of type null have no option "x" \(there are: [^)]+\)$/,
          ],
          [
            `add-if ${full} a,type=dummy,queue=x`,
            /adding a to .* failed/,
            /option queue is "x", expected a number from 1 to \d+/,
          ],
          [
            `add-if ${full} a,type=patch`,
            /adding a to .* failed/,
            /the option peer=NAME/,
          ],
          [
            `add-if ${full} nosuchdevice`,
            /adding nosuchdevice to .* failed \(No such device\)/,
            /no device nosuchdevice.*another type says so: nosuchdevice,type=dummy$/,
          ],
          [`add-if ${full} a:tap`, /adding a:tap to/, /says so: a,type=tap$/],
          [`del-if ${full} uplnk`, /no port named uplnk/, /did you mean "uplink"\?/],
          [`del-if ${full} zzz`, /no port named zzz/, /the ports are adv\d+, uplink/],
          [`set-if ${full} zzz,a=b`, /zzz: failed to query port/, /the ports are adv/],
          [`add-flow ${full} in_port(1 2`, /parsing flow key/, /reason: .+/],
          [`add-flow ${full} in_port(1),eth() nothng`, /parsing actions/, /reason: .+/],
          [
            `add-flow ${full} in_port=1,tcp,tp_dst=80 output:2`,
            /parsing flow key/,
            /no field of this name .*; keys are written as dump-flows prints them/,
          ],
          [`add-flow ${full} in_port(uplnk),eth() 2`, /parsing/, /no port named uplnk/],
          [
            `add-flow ${full} in_port(1),eth()`,
            /parsing flow key/,
            /come FLOW and ACTIONS/,
          ],
          [`add-flow ${full} in_prt(1),eth() 2`, /parsing/, /did you mean "in_port"\?$/],
          [
            `add-flow ${full} in_port(1) psh_vlan`,
            /parsing/,
            /did you mean "push_vlan"\?$/,
          ],
          [
            `add-flow ${full} eth_type(0x0800),ipv4(prot=6) 2`,
            /parsing/,
            /no field of ipv4 \(src, dst, proto, .*frag\) at offset/,
          ],
          [
            `add-flow ${full} eth_type(0x0800),ipv4(src=10.1.0.0/12,proto=6) 2`,
            /parsing/,
            /masks are written as addresses: 10.1.0.0\/255.240.0.0$/,
          ],
          [
            `add-flow ${full} eth_type(0x86dd),ipv6(src=fc00::/7) 2`,
            /parsing/,
            /masks are written as addresses: fc00::\/fe00::$/,
          ],
          [
            `add-flow ${full} eth_type(0x0800),ipv4(src=10.1.0.0/33) 2`,
            /parsing/,
            /expected an address \(ipv4\) at offset \d+: "33\)"$/,
          ],
          [
            `add-flow ${full} in_port(1) packets:0,bytes:0,actions:2`,
            /parsing actions/,
            /a line of dump-flows is one word in quotes; otherwise FLOW and ACTIONS/,
          ],
          [`add-flow ${full} in_port(1) output:2`, /parsing act/, /is an output: 2$/],
          [`add-flow ${full} in_port(1) ouptut(2)`, /parsing act/, /is an output: 2$/],
          [
            `add-flow ${full} in_port(1) uplnk`,
            /parsing act/,
            /did you mean "uplink"\?$/,
          ],
          [`add-flow ${full} in_port(1),eth() 2`, /updating/, /name the EtherType/],
          [
            `add-flow ${full} in_port(1),eth(),eth_type(0x0800),tcp(dst=80) 2`,
            /updating flow table/,
            /tcp\(\) wants ipv4\(proto=6\), and that eth_type\(0x0800\)$/,
          ],
          [`add-meter ${full} meter=1,kbps`, /specify bands/, /usage: dpctl add-meter/],
          [`del-meters ${full} 1`, /field 1 missing/, /usage: dpctl del-meters/],
          [`capture ${full} /x prot=1`, /^dpctl: cannot use prot=1/, /usage: dpctl cap/],
          [`trace ${full} in_port(1),eth(src=z)`, /^dpctl: expected/, /usage: dpctl tr/],
          [`explain ${full} in_port(1)`, /^dpctl: no policy runs/, /--policy FILE/],
          [
            `ovs/rout/show ${full}`,
            /^dpctl: "ovs\/rout\/show" is not a val/,
            /list-comm/,
          ],
          [`del-flow ${full} inport(1)`, /syntax error at inport\(1\)/, /reason: .+/],
          [
            `show netdev@adb${Deno.pid}`,
            /opening datapath/,
            /did you mean "netdev@adv\d+"/,
          ],
          [`show ${name}`, /opening datapath/, /did you mean "netdev@adv\d+"\?/],
        ] as const
      ) {
        const { code, err } = await call(folder, line);
        const [said = "", why = ""] = err.trimEnd().split("\n");
        assert.match(said, first, line);
        assert.match(said, /^dpctl: /, line);
        assert.match(why, second, line);
        assert.equal(code, 1, line);
      }
      const path = `${folder}/flows`;
      await Deno.writeTextFile(
        path,
        "\n# A flow.\nin_port(1),eth(),eth_type(0x0800),tcp() 2\n",
      );
      const ofFile = await call(folder, `add-flows ${full} ${path}`);
      assert.match(ofFile.err, /reason: .*; it is line 3; what is in front says/);
      // A command of control sockets finds the only program, or that of the datapath it names.
      for (const words of ["pmd-rxq-show", `pmd-perf-show -nh ${full}`]) {
        const { code, out, err } = await call(folder, `dpif-netdev/${words}`);
        assert.deepEqual([code, err], [0, ""], words);
        assert.match(out, /^pmd thread numa_id/m, words);
      }
      const routes = await call(folder, `ovs/route/show ${full}`);
      assert.match(routes.out, /^Route Table:/);
      const json = JSON.parse(
        (await call(folder, `--json add-if ${full} a,type=tpa`)).out,
      );
      assert.equal(json.errors[0].hint, 'did you mean "tap"?');
      assert.match(json.errors[0].reason, /there is no port type "tpa"/);
    });
    for (
      const [line, said] of [
        ["p:tpa", /there is no port type "tpa".*\n {2}hint: did you mean "tap"\?\n$/],
        ["p:tap,devise=x", /no option "devise".*\n {2}hint: did you mean "device"\?\n$/],
        ["--poll-threads 0x1000000000000000", /may run on [\d,-]+ only \(EINVAL\)\n$/],
        ["--poll-threads zz", /it must be a hexadecimal mask/],
        ["--policy /nosuch.ts", /Cannot load \/nosuch.ts: Module not found/],
        ["--metrics 192.0.2.1:80", /Cannot serve metrics at 192.0.2.1:80: /],
        ["--metrics x", /--metrics x: expected ADDRESS:PORT/],
        [
          "--web 0.0.0.0:0",
          /without a token: .*\n {2}hint: --web-token FILE gives it one/,
        ],
        ["nosuchdevice", /no device nosuchdevice.*\n {2}hint: .*: nosuchdevice:dummy\n$/],
        ["--socket /nosuch/x", /Cannot serve \/nosuch\/x: /],
        ["--flows /nosuch", /Cannot read \/nosuch: no such file/],
      ] as const
    ) {
      await inFolder(async (folder) => {
        const { code, err } = await call(folder, `serve netdev@ads${Deno.pid} ${line}`);
        assert.match(err, said, line);
        assert.equal(code, 1, line);
      });
    }
  }),
);

Deno.test("help of each tool explains each word and option of its usage", () =>
  inFolder(async (folder) => {
    let count = 0;
    for (const { name, usage } of toolVerbs) {
      const given = usage.match(
        /--[a-z-]+|\b[a-z]+=(?=[A-Z\w])|\b(?:show|record|replay)\b/g,
      );
      const options = (given ?? []).filter((one) => !one.startsWith("OPTION"));
      for (const words of [`help ${name}`, `${name} --help`]) {
        const { code, out } = await call(folder, words);
        assert.equal(code, 0, words);
        const [head, summary, ...rows] = out.split("\n");
        assert.equal(head, `usage: dpctl [OPTION...] ${name} ${usage}`.trimEnd());
        assert.match(summary ?? "", /^ {2}[a-z].{10,}$/, words);
        for (const option of options) {
          const row = rows.find((row) => row.startsWith(`  ${option}`));
          assert.match(row ?? "", / {2}[a-z].{10,}/, `${name}: ${option}`);
          assert(row !== undefined && row.length <= 100, option);
          count++;
        }
      }
    }
    assert(count > 50, `${count} options`);
    const policy = (await call(folder, "help policy")).out;
    assert.match(policy, /^ {2}replay RECORD +run them under another policy/m);
    assert.match(policy, /^ {2}--policy FILE +that policy; exit status 1 if/m);
  }));
