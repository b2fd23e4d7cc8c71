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

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/**
 * What comes of all calls of ovs-dpctl. One shell makes them: in a guest a program starts in three
 * quarters of the time from a small process.
 */
async function theirs(): Promise<Outcome[]> {
  const folder = await Deno.makeTempDir({ prefix: "upcall-calls-" });
  try {
    const lines = await Promise.all(calls.map(async ({ words, input, shell }, i) => {
      await Deno.writeTextFile(`${folder}/${i}.in`, input ?? "");
      const program = shell === undefined
        ? ["ovs-dpctl", ...words].map(quoted).join(" ")
        : `sh -c ${quoted(shell)}`;
      const at = `${folder}/${i}`;
      return `${program} < ${at}.in > ${at}.out 2> ${at}.err; echo $? > ${at}.code`;
    }));
    const { code, stderr } = await shell(lines.join("\n"));
    assert.equal(code, 0, stderr);
    return await Promise.all(calls.map(async ({ shell }, i) => {
      const read = (name: string) => Deno.readTextFile(`${folder}/${i}.${name}`);
      const outcome: Outcome = {
        code: Number(await read("code")),
        stdout: await read("out"),
        stderr: await read("err"),
      };
      if (shell !== undefined) return outcome;
      // What it logs is told apart from what it says by the time in front.
      const said = outcome.stderr.replaceAll(/^\d{4}-\d\d-\d\dT\S+\|\d{5}\|.*\n/gm, "");
      return {
        ...outcome,
        stderr: said.replaceAll(/([/]usr[/]bin[/])?ovs-dpctl: /g, "dpctl: "),
      };
    }));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function ours({ words, input, shell: line }: Call): Promise<Outcome> {
  if (line !== undefined) return await shell(line);
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

/** Forgets what earlier tests left to be tracked, which would end while calls are made. */
async function flushConntrack(): Promise<void> {
  await using made = await makeDatapath();
  made.dp.conntrack?.flush();
}

/** Outcomes as they are compared; there is no datapath afterwards. */
async function compared(run: () => Promise<Outcome[]>): Promise<Outcome[]> {
  await flushConntrack();
  try {
    const outcomes = (await run()).map(steady);
    return outcomes.map((outcome, i) => {
      const { words = [] } = calls[i] ?? {};
      const isListing = words.some((word) => /^dump-(flows|conntrack)$/.test(word));
      return isListing ? sorted(outcome) : outcome;
    });
  } finally {
    await shell(
      "ovs-dpctl del-dp d0; ovs-dpctl del-dp d1; ip link del v0; ip link del v2",
    );
  }
}

async function allOurs(): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const call of calls) outcomes.push(await ours(call));
  return outcomes;
}

const show = ({ words, shell }: Call): string => shell ?? words.join(" ");

systemTest("dpctl says and does what ovs-dpctl says and does", async () => {
  if (findProgram("ovs-dpctl") === undefined) {
    throw new Unsupported("program ovs-dpctl", { requirement: "peer" });
  }
  const expected = await compared(theirs);
  const actual = await compared(allOurs);
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
