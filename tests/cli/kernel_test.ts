// SPDX-License-Identifier: Apache-2.0
/**
 * dpctl against ovs-dpctl on the kernel's datapath: the same calls, the same words, exit status and
 * effect.
 */
import assert from "node:assert/strict";
import { dpctl } from "../../cli/dpctl.ts";
import { adviceLines } from "../../control/verbs/advice.ts";
import { udpFrame } from "../support/frames.ts";
import { findProgram, Unsupported } from "../support/skip.ts";
import { makeDatapath, systemTest, until } from "../system/system.ts";
import { type Call, calls } from "./calls.ts";

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function shell(script: string): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-c", script],
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

async function theirs({ words, input }: Call): Promise<Outcome> {
  const child = new Deno.Command("ovs-dpctl", {
    args: [...words],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input ?? "")).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  // What it logs is told apart from what it says by the time in front.
  const said = text(stderr).replaceAll(/^\d{4}-\d\d-\d\dT\S+\|\d{5}\|.*\n/gm, "");
  return {
    code,
    stdout: text(stdout),
    stderr: said.replaceAll(/([/]usr[/]bin[/])?ovs-dpctl: /g, "dpctl: "),
  };
}

async function ours({ words, input }: Call): Promise<Outcome> {
  let stdout = "";
  let stderr = "";
  const code = await dpctl(words, {
    print: (text) => stdout += text,
    complain: (text) => stderr += text.replaceAll(adviceLines, ""),
    readText: (path) =>
      path === "-" ? Promise.resolve(input ?? "") : Deno.readTextFile(path),
  });
  return { code, stdout, stderr };
}

/** Leaves out what differs from one moment to the next. */
function steady({ code, stdout, stderr }: Outcome): Outcome {
  // An attribute of newer kernels that Open vSwitch 3.1 has no name for.
  const text = stdout.replaceAll(",key32(00 00/00 00)", "").replaceAll(
    /used:\d+\.\d{3}s/g,
    "used:T",
  )
    // A new device sends of its own accord: neighbour discovery.
    .replaceAll(
      /(packets|bytes|hit|missed|lost|dropped|hit-rate|hit\/pkt):[\d.]+%?/g,
      "$1:N",
    )
    .replaceAll(/ \(\d+\.\d [KMGT]iB\)/g, "")
    .replaceAll(/,(id|timeout)=\d+/g, ",$1=N");
  return { code, stdout: text, stderr };
}

/** Lines in an order of their own: a listing of flows has none. */
function sorted(outcome: Outcome): Outcome {
  const lines = outcome.stdout.split("\n");
  return { ...outcome, stdout: lines.sort().join("\n") };
}

async function runAll(run: (call: Call) => Promise<Outcome>): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  try {
    for (const call of calls) {
      const outcome = call.shell === undefined
        ? await run(call)
        : await shell(call.shell);
      const isListing = call.words.some((word) => /^dump-(flows|conntrack)$/.test(word));
      outcomes.push(isListing ? sorted(steady(outcome)) : steady(outcome));
    }
  } finally {
    await shell(
      "ovs-dpctl del-dp d0; ovs-dpctl del-dp d1; ip link del v0; ip link del v2",
    );
  }
  return outcomes;
}

const show = ({ words, shell }: Call): string => shell ?? words.join(" ");

systemTest("dpctl says and does what ovs-dpctl says and does", async () => {
  if (findProgram("ovs-dpctl") === undefined) {
    throw new Unsupported("program ovs-dpctl", { requirement: "peer" });
  }
  const expected = await runAll(theirs);
  const actual = await runAll(ours);
  const different: string[] = [];
  calls.forEach((call, i) => {
    const [want, have] = [expected[i], actual[i]];
    if (JSON.stringify(want) === JSON.stringify(have)) return;
    const line = (outcome: Outcome | undefined): string =>
      `${outcome?.code} ${outcome?.stdout}${outcome?.stderr}`.trimEnd();
    different.push(`${show(call)}\n  theirs: ${line(want)}\n  ours:   ${line(have)}`);
  });
  if (different.length === 0) return;
  throw new Error(
    `${different.length} of ${calls.length} calls:\n${different.join("\n")}`,
  );
});

systemTest("dpctl monitor-conntrack tells what becomes of connections", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  const stop = new AbortController();
  let text = "";
  const tool = dpctl(["monitor-conntrack", dp.fullName, "kind=new,destroy"], {
    print: (more) => void (text += more),
    complain: (more) => void (text += more),
    readText: () => Promise.reject(new Error("nothing is read")),
    signal: stop.signal,
  });
  let srcPort = 1000;
  // What begins before the tool listens is not told.
  await until(() => {
    const packet = udpFrame({ srcPort: srcPort++, dstPort: 53 });
    dp.execute({ packet, key: "in_port(0)", actions: "ct(commit)" });
    dp.conntrack?.flush();
    return text.includes("[DESTROY]");
  });
  stop.abort();
  assert.equal(await tool, 0, text);
  const told = (kind: string): string[] =>
    [...text.matchAll(/^ *\[(\w+)\] udp,orig=\(src=10\.0\.0\.1,.*sport=(\d+),/gm)]
      .filter(([, word]) => word === kind).map(([, , port = ""]) => port);
  assert.ok(told("NEW").length > 0, text);
  assert.ok(told("DESTROY").some((port) => told("NEW").includes(port)), text);
});
