// SPDX-License-Identifier: Apache-2.0
/** What the tool writes, where it cannot, and how it ends. */
import assert from "node:assert/strict";
import { printable, printableLine } from "../control/text/printable.ts";
import { root } from "../tests/support/tree.ts";
import { until } from "../tests/support/wait.ts";
import { Output, OutputError } from "./output.ts";

/** A stream that takes `room` bytes at once, and keeps what it took. */
class Stream {
  readonly #isScreen: boolean;
  readonly pieces: string[] = [];
  fail: (() => void) | undefined;

  constructor(isScreen = false) {
    this.#isScreen = isScreen;
  }

  isTerminal(): boolean {
    return this.#isScreen;
  }

  writeSync(bytes: Uint8Array): number {
    this.fail?.();
    const piece = bytes.subarray(0, 40_000);
    this.pieces.push(new TextDecoder().decode(piece));
    return piece.length;
  }
}

Deno.test("output is written in large pieces, and when the program waits", async () => {
  const stream = new Stream();
  const output = new Output(stream);
  for (let n = 0; n < 10_000; n++) output.print(`line ${n} é\n`);
  assert.ok(stream.pieces.length > 0 && stream.pieces.length < 10);
  await Promise.resolve();
  const text = stream.pieces.join("");
  assert.equal(text.split("\n").length, 10_001);
  assert.ok(text.endsWith("line 9999 é\n"));
  assert.equal(text.replaceAll(/line \d+ é\n/g, ""), "", "no letter is cut");
});

Deno.test("a screen shows control characters and does not obey them", () => {
  const name = "a\x1b[31mb\x07c\x9bd\u202ee\tf\n";
  const screen = new Stream(true);
  const output = new Output(screen);
  output.print(name);
  output.draw("\x1b[H");
  output.flush();
  assert.equal(screen.pieces.join(""), "a\\x1b[31mb\\x07c\\x9bd\\u202ee\tf\n\x1b[H");
  const file = new Stream();
  const raw = new Output(file);
  raw.print(name);
  raw.flush();
  assert.equal(file.pieces.join(""), name, "programs get what there is");
  assert.equal(printableLine("a\nb\t"), "a\\x0ab\\x09");
  assert.equal(printable("naïve 名前"), "naïve 名前");
});

Deno.test("output that cannot be written is told to the next who writes", async () => {
  const stream = new Stream();
  const output = new Output(stream);
  let tries = 0;
  stream.fail = () => {
    if (++tries < 3) throw new Deno.errors.WouldBlock("not now");
    throw new Error("the disk is full");
  };
  output.print("text");
  await Promise.resolve();
  assert.equal(tries, 3, "what is full for now is tried again");
  assert.throws(() => output.print("more"), OutputError);
  assert.throws(() => output.flush(), { message: "the disk is full" });
});

const dpctl = (args: string[]): string[] => [
  "run",
  "-A",
  "--no-check",
  "--no-lock",
  `${root}dpctl.ts`,
  ...args,
];

Deno.test("output to a full disk is a message, and to a reader that left no failure", async () => {
  const run = async (script: string) => {
    const { code, stderr } = await new Deno.Command("sh", {
      args: ["-c", script, Deno.execPath(), ...dpctl(["help"])],
      env: { NO_COLOR: "1" },
    }).output();
    return { code, stderr: new TextDecoder().decode(stderr) };
  };
  assert.deepEqual(await run('"$0" "$@" > /dev/full'), {
    code: 1,
    stderr: "dpctl: cannot write: no space left on device\n",
  });
  assert.equal((await run('"$0" "$@" > /dev/full 2> /dev/full')).code, 1);
  assert.deepEqual(await run('{ "$0" "$@"; echo "status $?" >&2; } | true'), {
    code: 0,
    stderr: "status 0\n",
  });
});

Deno.test("signals end a verb that waits, and leave no file", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/hung.ctl`;
  const listener = Deno.listen({ transport: "unix", path });
  const clients: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const client of listener) clients.push(client);
  })();
  try {
    for (
      const [words, input] of [
        [["show"], undefined],
        [["add-flows", "netdev@x", "-"], undefined],
        [["add-flows", "netdev@x", "-"], "in_port(1),eth() 2\n"],
      ] as const
    ) {
      for (const signal of ["SIGINT", "SIGTERM"] as const) {
        const accepted = clients.length;
        const child = new Deno.Command(Deno.execPath(), {
          args: dpctl(["--socket", path, ...words]),
          env: { TMPDIR: folder },
          stdin: "piped",
          stdout: "null",
          stderr: "null",
        }).spawn();
        if (input !== undefined) {
          const writer = child.stdin.getWriter();
          await writer.write(new TextEncoder().encode(input));
          await writer.close();
        }
        const waits = words[0] === "show" || input !== undefined
          ? () => clients.length > accepted
          : () => Deno.readTextFileSync(`/proc/${child.pid}/cmdline`).includes("dpctl");
        await until("it to wait", waits);
        child.kill(signal);
        assert.equal((await child.status).signal, signal, words.join(" "));
        if (input === undefined) await child.stdin.close().catch(() => {});
        assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), [
          "hung.ctl",
        ]);
      }
    }
  } finally {
    listener.close();
    for (const client of clients) client.close();
    await accepting;
    await Deno.remove(folder, { recursive: true });
  }
});
