// SPDX-License-Identifier: Apache-2.0
/**
 * `dpctl serve` as people run it: another process, found by the name of its datapath.
 */
import assert from "node:assert/strict";
import { control } from "../../control/socket.ts";
import { dpctl } from "../../cli/dpctl.ts";
import { openNetdev } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import { root } from "../support/tree.ts";
import { patience, until } from "../support/wait.ts";

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Calls dpctl in this process, with `folder` for its control sockets. */
async function call(folder: string, args: string[], input = ""): Promise<Outcome> {
  const before = Deno.env.get("UPCALL_RUNDIR");
  Deno.env.set("UPCALL_RUNDIR", folder);
  let out = "";
  let err = "";
  try {
    const code = await dpctl(args, {
      print: (text) => out += text,
      complain: (text) => err += text,
      readText: () => Promise.resolve(input),
    });
    return { code, out, err };
  } finally {
    if (before === undefined) Deno.env.delete("UPCALL_RUNDIR");
    else Deno.env.set("UPCALL_RUNDIR", before);
  }
}

/** Serves a datapath in a process of its own until the test is over. */
async function serving(
  words: string[],
  test: (
    folder: string,
    log: () => string,
    ended: Promise<Deno.CommandStatus>,
  ) => Promise<void>,
  env: Record<string, string> = {},
): Promise<number> {
  // Fails where this machine has no such datapaths, before a process does.
  await (await openNetdev(`cli${crypto.randomUUID().slice(0, 8)}`)).close();
  const folder = await Deno.makeTempDir({ prefix: "upcall-serve-" });
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `${root}dpctl.ts`, "serve", ...words],
    env: { UPCALL_RUNDIR: folder, NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let log = "";
  const reading = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      log += text;
    }
  })();
  let failure: { readonly cause: unknown } | undefined;
  try {
    // It may have to compile the library first.
    await until("it to serve", () => log.includes("|serving "), { limitMs: 120_000 });
    await test(folder, () => log, child.status);
  } catch (cause) {
    failure = { cause };
  }
  try {
    child.kill("SIGTERM");
  } catch {
    // It was told to exit.
  }
  await reading;
  const { code, signal } = await child.status;
  await Deno.remove(folder, { recursive: true });
  if (failure !== undefined) {
    const { message } = failure.cause as Error;
    throw new Error(
      `${message}\nIt ended by ${signal ?? `status ${code}`}, and had said:\n${log}`,
      failure,
    );
  }
  return code;
}

const frame = (last: string): string =>
  `${last === "01" ? "020000000002" : "020000000001"}0200000000${last}0806` +
  "0001080006040001".padEnd(92, "0");

Deno.test(
  "a served switch is found by name, learns, tells its numbers, and stops when told",
  skippable(async () => {
    const status = await serving(
      ["netdev@lab", "p1:dummy", "p2:dummy", "p3:dummy", "--miss", "learn"]
        .concat(["--metrics", "127.0.0.1:0", "--poll-threads", "0x1"]),
      async (folder, log) => {
        const shown = await call(folder, ["show"]);
        assert.equal(shown.err, "");
        assert.match(shown.out, /^netdev@lab:\n[^]*port 3: p3 \(dummy\)\n$/);
        assert.equal(shown.code, 0);
        assert.equal((await call(folder, ["dump-dps"])).out, "netdev@lab\n");
        const json = await call(folder, ["--json", "show", "netdev@lab"]);
        assert.equal(JSON.parse(json.out).result[0].name, "netdev@lab");

        const path = `${folder}/netdev@lab.ctl`;
        const send = (port: string, last: string): Promise<string> =>
          control(path, "netdev-dummy/receive", [port, frame(last)]);
        const take = (port: string): Promise<string> =>
          control(path, "netdev-dummy/collect", [port]);
        const taken = (port: string): Promise<string> =>
          until(`a frame from ${port}`, async () => await take(port) || undefined);
        await send("p1", "01"); // Nobody knows 02: everywhere.
        assert.equal(await taken("p2"), `${frame("01")}\n`);
        assert.equal(await taken("p3"), `${frame("01")}\n`);
        assert.equal(await take("p1"), "");
        await send("p2", "02"); // 01 is behind port 1.
        assert.equal(await taken("p1"), `${frame("02")}\n`);
        assert.equal(await take("p3"), "");
        await send("p2", "02"); // By the flow.
        await until("the flow to count", async () => {
          const { out } = await call(folder, ["dump-flows", "netdev@lab"]);
          return /in_port\(2\).*packets:1, .*actions:1\n/.test(out);
        });
        assert.match((await call(folder, ["-m", "dump-flows"])).out, /in_port\(p2\)/);

        const [, url = ""] = await until(
          "the address of the metrics",
          () => /metrics at (http:\S+)\n/.exec(log()),
        );
        const response = await fetch(url);
        assert.match(
          response.headers.get("content-type") ?? "",
          /^application\/openmetrics/,
        );
        assertOpenMetrics(await response.text());
        const other = await fetch(url.replace("metrics", "x"));
        assert.equal(other.status, 404);
        await other.body?.cancel();
        assertOpenMetrics((await call(folder, ["metrics", "netdev@lab"])).out);

        const traced = await call(folder, [
          "trace",
          "netdev@lab",
          `in_port(p2)${frame("02")}`,
        ]);
        assert.match(traced.out, /flow: [^]*sent to port 1, p1\nverdict: sent to 1\n$/);
        const watched = await call(
          folder,
          ["top", "--interval", "0.1", "--count", "2"],
        );
        assert.match(watched.out, /^(netdev@lab hit\/s .* flows 1 masks 1\n){2}$/);

        const input = "in_port(3),eth(),eth_type(0x0806),arp() 1\n";
        assert.equal(
          (await call(folder, ["add-flows", "netdev@lab", "-"], input)).code,
          0,
        );
        assert.match((await call(folder, ["show"])).out, /flows: 2\n/);
        const failed = await call(folder, ["add-dp", "netdev@other"]);
        assert.deepEqual([failed.code, failed.err], [
          1,
          "dpctl: add_dp (Operation not supported)\n  reason: a netdev datapath lives in the " +
          'program that forwards for it; "dpctl serve netdev@other" runs one\n',
        ]);
        const refused = await call(folder, ["--read-only", "del-flows", "netdev@lab"]);
        assert.match(refused.err, /does not work in read only mode/);
        assert.equal(await control(path, "exit", []), "");
      },
    );
    assert.equal(status, 0);
  }),
);

Deno.test(
  "a served datapath begins with the flows of a file, and ends on a signal",
  skippable(async () => {
    const file = await Deno.makeTempFile();
    await Deno.writeTextFile(file, "in_port(1),eth(),eth_type(0x0806),arp() 2\n");
    const status = await serving(
      ["netdev@files", "a:dummy", "b:dummy", "--flows", file],
      async (folder) => {
        const { out } = await call(folder, ["dump-flows"]);
        assert.match(out, /in_port\(1\).*actions:2\n$/);
      },
    );
    assert.equal(status, 0);
    await Deno.remove(file);
  }),
);

Deno.test(
  "a served datapath exports its metrics by OpenTelemetry when that is on",
  skippable(async () => {
    const received = Promise.withResolvers<string>();
    const collector = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen: () => {} },
      async (request) => {
        const body = await request.text();
        if (body.includes("upcall_lookups")) received.resolve(body);
        return Response.json({});
      },
    );
    try {
      await serving(["netdev@otel", "p1:dummy"], async () => {
        const signal = patience();
        signal.addEventListener("abort", () => received.reject(signal.reason));
        const body = await received.promise;
        for (const word of ["netdev@otel", "upcall_flows", "upcall_port_packets"]) {
          assert(body.includes(word), word);
        }
      }, {
        OTEL_DENO: "true",
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.addr.port}`,
        OTEL_METRIC_EXPORT_INTERVAL: "200",
      });
    } finally {
      await collector.shutdown();
    }
  }),
);

for (
  const [option, value] of [
    ["--miss", "drop"],
    ["--miss", "learn"],
    ["--policy", new URL("../../examples/switch.ts", import.meta.url).pathname],
  ] as const
) {
  Deno.test(
    `a datapath that is deleted by its control socket ends serve ${option} ${value} in order`,
    skippable(async () => {
      const name = `netdev@del${value.replace(/.*\//, "")}`;
      const status = await serving(
        [name, "p1:dummy", option, value],
        async (folder, log, ended) => {
          const deleted = await call(folder, ["del-dp", name]);
          assert.deepEqual(deleted, { code: 0, out: "", err: "" });
          await ended;
          assert.match(log(), /\|stopping: the datapath was deleted\n$/);
          assert.doesNotMatch(log(), /error|warn|at file:/i);
          assert.deepEqual([...Deno.readDirSync(folder)], []);
        },
      );
      assert.equal(status, 0);
    }),
  );
}

Deno.test(
  "escape sequences in names reach neither log nor screen, and metrics stay one line each",
  skippable(async () => {
    const port = "p\x1b]0;owned\x07\x9b31m";
    await serving(["netdev@esc", `${port}:dummy`], async (folder, log) => {
      const path = `${folder}/netdev@esc.ctl`;
      await control(path, "vlog/set", ["dbg"]);
      await control(path, "dpctl/set-if", ["netdev@esc", port, "x\ny"]).catch(() => {});
      await until("the log", () => log().includes("received dpctl/set-if"));
      // deno-lint-ignore no-control-regex -- they are what is looked for
      assert.doesNotMatch(log().replaceAll("\n", ""), /[\0-\x1f\x7f-\x9f]/);
      assert.match(log(), /p\\x1b\]0;owned\\x07\\x9b31m,? x\\x0ay/);
      // What scripts read is what Open vSwitch prints.
      assert((await call(folder, ["show"])).out.includes(port));
      assertOpenMetrics((await call(folder, ["metrics", "netdev@esc"])).out);
    });
  }),
);

Deno.test(
  "--json is JSON for every tool that answers",
  skippable(async () => {
    await serving(["netdev@json", "p1:dummy"], async (folder) => {
      const answer = async (...words: string[]) => {
        const { out, err, code } = await call(folder, ["--json", ...words]);
        assert.equal(err, "", words.join(" "));
        assert.equal(out.split("\n").length, 2, "one line");
        return { code, ...JSON.parse(out) };
      };
      const metrics = await answer("metrics", "netdev@json");
      assert.deepEqual([metrics.verb, metrics.ok, metrics.code], ["metrics", true, 0]);
      const flows = metrics.result.find((one: { name: string }) =>
        one.name === "upcall_flows"
      );
      assert.deepEqual(flows.samples[0].labels, { datapath: "netdev@json" });
      const file = `${folder}/c.pcapng`;
      const captured = await answer("capture", "netdev@json", file, "seconds=0.1");
      assert.deepEqual(captured.result, [{ file, packets: 0 }]);
      assert.equal((await answer("trace", "netdev@json", "in_port(1),eth()")).ok, true);
      assert.equal((await answer("completions", "bash")).ok, true);
      const refused = await answer("capture", "netdev@json", "/proc/nothing/at/all");
      assert.deepEqual([refused.ok, refused.code], [false, 1]);
      const nobody = await answer("--socket", `${folder}/none.ctl`, "show");
      assert.match(nobody.errors[0].message, /^nobody serves/);
    });
  }),
);

Deno.test("serve says what is wrong with its words", async () => {
  const nowhere = await Deno.makeTempDir();
  await Deno.remove(nowhere);
  const said = async (...words: string[]): Promise<string> =>
    (await call(nowhere, ["serve", ...words])).err;
  assert.match(await said(), /'serve' needs the name of a datapath/);
  assert.match(await said("netdev@x", "--miss", "guess"), /one of drop, flood, learn/);
  assert.match(await said("netdev@x", ":dummy"), /":dummy" is no port/);
  assert.match(await said("netdev@x", "p:dummy,x"), /"x" is not OPTION=VALUE/);
  assert.match(
    (await call(nowhere, [`--socket=${nowhere}/x`, "show"])).err,
    /nobody serves/,
  );
  assert.match(
    (await call(nowhere, [`--socket=/${"x".repeat(107)}`, "show"])).err,
    /^dpctl: \S+: the path of a socket has 107 bytes at most, and this one has 108\n$/,
  );
});

/** Asserts that text is OpenMetrics: types before samples, suffixes, labels, the end. */
function assertOpenMetrics(text: string): void {
  const lines = text.split("\n");
  assert.deepEqual(lines.slice(-2), ["# EOF", ""]);
  let family = "";
  let type = "";
  const seen = new Set<string>();
  for (const line of lines.slice(0, -2)) {
    const [, name, kind] = /^# TYPE (\w+) (counter|gauge)$/.exec(line) ?? [];
    if (name !== undefined && kind !== undefined) {
      assert(!seen.has(name), `${name} comes twice`);
      seen.add(name);
      [family, type] = [name, kind];
    } else if (line.startsWith("#")) {
      assert(new RegExp(`^# (HELP|UNIT) ${family} .`).test(line), line);
    } else {
      const suffix = type === "counter" ? "_total" : "";
      const pattern = `^${family}${suffix}\\{(\\w+="[^"]*",?)+\\} \\d+$`;
      assert(new RegExp(pattern).test(line), line);
    }
  }
  assert(seen.has("upcall_port_packets") && seen.has("upcall_poll_thread_cycles"));
}
