// SPDX-License-Identifier: Apache-2.0
/** Verbs on a datapath in memory: text, JSON, failures. */
import assert from "node:assert/strict";
import {
  openDatapath,
  registerProvider,
  unregisterProvider,
} from "../../providers/registry.ts";
import { fakeProvider } from "../../tests/support/fake_provider.ts";
import { type DatapathSource, openableDatapaths } from "../datapath_source.ts";
import { controlCommands } from "../commands.ts";
import { Log } from "../log.ts";
import { DatapathError } from "../../providers/errors.ts";
import { portNo } from "../../providers/ids.ts";
import { adviceLines } from "./advice.ts";
import { type Flags, type JsonAnswer, noFlags, VerbRun } from "./verb.ts";
import { runVerb, verbs } from "./verbs.ts";

interface Outcome {
  readonly ok: boolean;
  readonly out: string;
  readonly err: string;
}

/** Runs verbs on datapaths of a type of their own. */
async function onFake(
  test: (
    run: (
      line: string,
      flags?: Partial<Flags>,
      input?: string,
      /** Flows that a listing has before it fails. */
      flowsAtMost?: number,
    ) => Promise<Outcome>,
  ) => Promise<void>,
): Promise<void> {
  registerProvider(fakeProvider({ type: "cli" }));
  // What nobody has open is gone: this keeps it.
  const dp = await openDatapath("cli@d0", { create: true });
  try {
    await test(async (line, flags = {}, input = "", flowsAtMost) => {
      let out = "";
      let err = "";
      const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, a, b]) =>
        a ?? b ?? ""
      );
      const ok = await runVerb(words, {
        program: "dpctl",
        isControl: false,
        flags: { ...noFlags, ...flags },
        datapaths: flowsAtMost === undefined
          ? openableDatapaths(["cli"])
          : failingAfter(flowsAtMost),
        output: { print: (text) => out += text, complain: (text) => err += text },
        readText: () => Promise.resolve(input),
      });
      return { ok, out, err };
    });
  } finally {
    await dp.destroy();
    await dp.close();
    unregisterProvider("cli");
  }
}

/** Datapaths whose listings of flows fail. */
function failingAfter(count: number): DatapathSource {
  const source = openableDatapaths(["cli"]);
  return {
    ...source,
    open: async (name, options) => {
      const dp = await source.open(name, options);
      const dump = dp.flows.dump.bind(dp.flows);
      dp.flows.dump = function* (options) {
        let seen = 0;
        for (const flow of dump(options)) {
          if (++seen > count) {
            throw new DatapathError({ operation: "dump flows", code: "EIO" });
          }
          yield flow;
        }
      };
      return dp;
    },
  };
}

const arp = "in_port(1),eth(),eth_type(0x0806),arp()";

Deno.test("every verb of ovs-dpctl is there, once, and those about meters", () => {
  const names = verbs.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  assert.equal(names.length, 43 + 6);
  assert.deepEqual(names.slice(0, 7), [
    "add-dp",
    "del-dp",
    "add-if",
    "del-if",
    "set-if",
    "dump-dps",
    "show",
  ]);
  for (const { name, args: [min, max], summary } of verbs) {
    assert(min <= max && summary !== "", name);
  }
});

Deno.test("every verb answers --json with its shape, whatever comes of it", () =>
  onFake(async (run) => {
    for (const { name, args: [min] } of verbs) {
      const words = [name, ...Array<string>(min).fill("x@y")];
      const { ok, out, err } = await run(words.join(" "), { json: true });
      const answer = JSON.parse(out) as JsonAnswer;
      assert.deepEqual(Object.keys(answer), ["verb", "ok", "result", "errors"], name);
      assert.equal(answer.verb, name);
      assert.equal(answer.ok, ok, name);
      assert.equal(err, "", name);
      assert(ok || answer.errors.length > 0, name);
    }
  }));

Deno.test("help describes a verb, and fails for none", () =>
  onFake(async (run) => {
    const shown = await run("help show");
    assert.equal(shown.ok, true);
    assert.match(shown.out, /^usage: dpctl .* show /);
    assert.equal(shown.err, "");
    const { ok, out, err } = await run("help nope");
    assert.deepEqual([ok, out], [false, ""]);
    assert.match(err, /unknown command 'nope'/);
  }));

Deno.test("flows are added, shown, changed, named and deleted", () =>
  onFake(async (run) => {
    assert.deepEqual(await run(`add-flow ${arp} 2`), { ok: true, out: "", err: "" });
    const shown = await run("dump-flows d0x");
    assert.match(shown.err, /datapath not found \(Invalid argument\)/);
    assert.match(
      (await run("dump-flows")).out,
      /^in_port\(1\).*eth_type\(0x0806\), packets:0, bytes:0, used:never, actions:2\n$/,
    );
    const again = await run(`add-flow ${arp} 2`);
    assert.deepEqual(again, {
      ok: false,
      out: "",
      err: "dpctl: updating flow table (File exists)\n" +
        '  hint: "mod-flow" changes it\n',
    });
    assert.equal(
      (await run(`mod-flow cli@d0 ${arp} 1`, { statistics: true })).out,
      "packets:0, bytes:0, used:never\n",
    );
    const { out } = await run("dump-flows cli@d0", { json: true });
    const { result } = JSON.parse(out) as JsonAnswer;
    const [{ ufid, actions }] = result as [{ ufid: string; actions: string }];
    assert.equal(actions, "1");
    assert.match((await run(`get-flow ufid:${ufid}`)).out, /actions:1\n$/);
    assert.equal((await run(`del-flow ufid:${ufid}`)).ok, true);
    const gone = await run(`del-flow ${arp}`);
    assert.equal(gone.out, "Perhaps you need to specify a UFID?\n");
    assert.equal(gone.err, "dpctl: deleting flow (No such file or directory)\n");
  }));

Deno.test("bad text is shown from the field on that is wrong", () =>
  onFake(async (run) => {
    const said = async (line: string): Promise<string> => {
      const { err } = await run(line);
      assert.match(err, /\n {2}reason: .+\n$/, "and why");
      return err.replaceAll(adviceLines, "");
    };
    assert.equal(
      await said("add-flow in_port(1),eth(),arp(op=x),vlan() 1"),
      "dpctl: parsing flow key (syntax error at arp(op=x),vlan()) (Invalid argument)\n",
    );
    assert.equal(
      await said("del-flow in_port(1)nonsense"),
      "dpctl: syntax error at nonsense (Invalid argument)\n",
    );
    assert.equal(
      await said(`add-flow ${arp} nonsense`),
      "dpctl: parsing actions (Invalid argument)\n",
    );
    assert.equal(
      await said("add-flow ufid:12 1"),
      "dpctl: parsing flow ufid (Invalid argument)\n",
    );
  }));

Deno.test("a file of flows goes on behind bad lines, with exit status 0", () =>
  onFake(async (run) => {
    const file =
      `# a comment\n${arp} 2\n\n  add ${arp.replace("1", "2")} 1 # another\nnonsense\n` +
      `delete ${arp}\nm ${arp.replace("1", "2")} 3\n`;
    const { ok, err } = await run("add-flows -", {}, file);
    assert.equal(ok, true);
    assert.equal(
      err,
      "dpctl: Failed parsing line number 5, skipped!\n" +
        "  hint: a line is [add|modify] FLOW ACTIONS, or delete FLOW\n",
    );
    const { out } = await run("dump-flows");
    assert.match(out, /^in_port\(2\).*actions:3\n$/);
    await run("del-flows -", {}, arp.replace("1", "2"));
    assert.equal((await run("dump-flows")).out, "");
  }));

Deno.test("counts and flags are checked before anything is done", () =>
  onFake(async (run) => {
    const said = async (line: string, flags = {}): Promise<string> =>
      (await run(line, flags)).err.replaceAll(adviceLines, "");
    assert.equal(await said(""), "dpctl: missing command name; use --help for help\n");
    assert.equal(
      await said("nonsense"),
      "dpctl: unknown command 'nonsense'; use --help for help\n",
    );
    assert.equal(
      await said("add-dp"),
      "dpctl: 'add-dp' command requires at least 1 arguments\n",
    );
    assert.equal(
      await said("del-dp a b"),
      "dpctl: 'del-dp' command takes at most 1 arguments\n",
    );
    assert.equal(
      await said("del-flows", { readOnly: true }),
      "dpctl: 'del-flows' command does not work in read only mode\n",
    );
  }));

Deno.test("what a datapath cannot do is answered as Open vSwitch answers it", () =>
  onFake(async (run) => {
    for (
      const [line, words] of [
        ["ct-get-maxconns", "maxconns could not be retrieved"],
        ["ct-set-maxconns 5", "ct set maxconns failed"],
        ["ct-get-nconns", "nconns could not be retrieved"],
        ["ct-get-tcp-seq-chk", "TCP sequence checking query failed"],
        ["ct-enable-tcp-seq-chk", "enabling TCP sequence checking failed"],
        ["ct-get-sweep-interval", "failed to get the sweep interval"],
        ["ct-set-sweep-interval 5", "failed to set the sweep interval"],
        ["dump-conntrack", "starting conntrack dump"],
        ["dump-conntrack-exp", "starting conntrack expectations dump"],
        ["flush-conntrack", "failed to flush conntrack"],
        ["ct-set-limits default=1", "failed to set conntrack limit"],
        ["ct-del-limits zone=1", "failed to delete conntrack limit"],
        ["ipf-set-enabled v4", "enabling fragmentation reassembly failed"],
        ["ipf-set-max-nfrags 5", "setting maximum fragments failed"],
        ["ipf-get-status", "ipf status could not be retrieved"],
        ["offload-stats-show", "retrieving offload statistics"],
      ] as const
    ) {
      assert.equal(
        (await run(line)).err,
        `dpctl: ${words} (Operation not supported)\n`,
        line,
      );
    }
  }));

Deno.test("ports are added, shown and removed, going on behind failures", () =>
  onFake(async (run) => {
    const added = await run("add-if cli@d0 p1,type=dummy ,, p2,type=dummy,port_no=7");
    assert.equal(added.ok, false);
    assert.equal(
      added.err,
      "dpctl: ,, is not a valid network device name\n" +
        "  hint: an interface is NAME[,type=TYPE][,port_no=N][,OPTION=VALUE]...\n",
    );
    const { out } = await run("show", { statistics: true });
    assert.match(out, / {2}port 1: p1 \(dummy\)\n {4}RX packets:0 errors:0 dropped:0/);
    assert.match(out, / {2}port 7: p2 \(dummy\)\n/);
    assert.match(
      (await run("set-if cli@d0 p2,port_no=8")).err,
      /p2: can't change port number from 7 to 8/,
    );
    const removed = await run("del-if cli@d0 p1 nothere 7");
    assert.equal(
      removed.err,
      "dpctl: no port named nothere\n  hint: the ports are d0, p2\n",
    );
    assert.doesNotMatch((await run("show")).out, /port [17]:/);
  }));

Deno.test("text makes no results, and results no text", () => {
  let printed = "";
  const made: string[] = [];
  const print = (text: string): void => void (printed += text);
  for (const json of [false, true]) {
    const run = new VerbRun({
      program: "dpctl",
      isControl: false,
      flags: { ...noFlags, json },
      datapaths: openableDatapaths([]),
      output: { print, complain: print },
      readText: () => Promise.resolve(""),
    });
    run.print(() => {
      made.push(`text ${json}`);
      return "text\n";
    });
    run.result(() => {
      made.push(`result ${json}`);
      return 1;
    });
    run.finish("show");
  }
  assert.deepEqual(made, ["text false", "result true"]);
  assert.equal(printed, 'text\n{"verb":"show","ok":true,"result":[1],"errors":[]}\n');
});

Deno.test("flows are printed while they are listed", () =>
  onFake(async (run) => {
    for (let n = 0; n < 300; n++) {
      await run(`add-flow in_port(${n}),eth(),eth_type(0x0806),arp() 2`);
    }
    // The listing fails in the middle: what came before it has been printed.
    const { out, err } = await run("dump-flows", {}, "", 200);
    assert.equal(out.split("\n").length - 1, 200);
    assert.match(err, /Failed to dump flows from datapath \(Input\/output error\)/);
  }));

Deno.test("counters are found by their own names only, and ports that go are left out", async () => {
  registerProvider(fakeProvider({ type: "cli" }));
  const dp = await openDatapath("cli@d0", { create: true });
  try {
    for (const name of ["p1", "p2"]) await dp.ports.add({ name, type: "dummy" });
    const commands = controlCommands({ dp, log: new Log(() => {}), onExit: () => {} });
    const client = { hungUp: () => new Promise<void>(() => {}) };
    const read = commands.get("coverage/read-counter");
    assert.equal(await read?.run(["datapath_hit"], client), "0\n");
    for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
      await assert.rejects(
        async () => await read?.run([name], client),
        /No such counter/,
      );
    }
    const dump = dp.ports.dump.bind(dp.ports);
    dp.ports.dump = function* () {
      yield* [...dump()];
      yield { no: portNo(77), name: "gone", type: "dummy" };
    };
    const text = await commands.get("metrics/show")?.run([], client) ?? "";
    assert.match(text, /name="p2"/);
    assert.doesNotMatch(text, /gone/);
    const status = JSON.parse(await commands.get("upcall/status")?.run([], client) ?? "");
    assert.deepEqual(status.ports.map(({ name }: { name: string }) => name), [
      "d0",
      "p1",
      "p2",
    ]);
  } finally {
    await dp.destroy();
    await dp.close();
    unregisterProvider("cli");
  }
});
