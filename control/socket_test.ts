// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import {
  control,
  type ControlCommand,
  type ControlCommands,
  ControlError,
  ControlSocket,
} from "./socket.ts";
import { JsonStream } from "../ovsdb/json_stream.ts";
import { findProgram, skippable, Unsupported } from "../tests/support/skip.ts";
import { until } from "../tests/support/wait.ts";

const commands: ControlCommands = new Map<string, ControlCommand>([
  ["version", { usage: "", args: [0, 0], run: () => "upcall 0\n" }],
  ["echo", {
    usage: "TEXT...",
    args: [1, 3],
    run: (args: readonly string[]) => args.join(" "),
  }],
  ["fail", {
    usage: "",
    args: [0, 0],
    run: () => {
      throw new Error("no such thing");
    },
  }],
]);

async function serving(test: (path: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await using socket = await ControlSocket.serve(`${directory}/test.ctl`, commands);
    await test(socket.path);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function appctl(
  path: string,
  ...args: string[]
): Promise<[number, string, string]> {
  const { code, stdout, stderr } = await new Deno.Command("ovs-appctl", {
    args: ["-t", path, ...args],
  }).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return [code, text(stdout), text(stderr)];
}

Deno.test("control() gets answers and refusals", () =>
  serving(async (path) => {
    assert.equal(await control(path, "echo", ["a", 'b {["\\']), 'a b {["\\');
    assert.match(
      await control(path, "list-commands", []),
      /^The available commands are:\n {2}echo/,
    );
    await assert.rejects(control(path, "fail", []), new ControlError("no such thing\n"));
    await assert.rejects(control(path, "echo", []), /requires at least 1 arguments\n$/);
    await assert.rejects(control(path, "version", ["x"]), /takes at most 0 arguments\n$/);
    await assert.rejects(
      control(path, "nonsense", []),
      /"nonsense" is not a valid command/,
    );
  }));

Deno.test(
  "the real ovs-appctl talks to a control socket",
  skippable(() => {
    if (findProgram("ovs-appctl") === undefined) {
      throw new Unsupported("program ovs-appctl", { requirement: "peer" });
    }
    return serving(async (path) => {
      assert.deepEqual(await appctl(path, "version"), [0, "upcall 0\n", ""]);
      assert.deepEqual(await appctl(path, "echo", "a", "b"), [0, "a b", ""]);
      const [code, out, err] = await appctl(path, "fail");
      assert.equal(code, 2);
      assert.equal(out, "");
      assert.match(err, /^no such thing\novs-appctl: .*: server returned an error\n$/);
    });
  }),
);

Deno.test("a socket file is private, taken over when stale, refused when served", () =>
  serving(async (path) => {
    assert.equal((Deno.statSync(path).mode ?? 0) & 0o777, 0o600);
    await assert.rejects(ControlSocket.serve(path, commands), Deno.errors.AddrInUse);
    const abandoned = `${path}.old`;
    const listener = Deno.listen({ transport: "unix", path: `${path}.new` });
    await Deno.rename(`${path}.new`, abandoned); // Deno removes the name that it knows.
    listener.close();
    assert(Deno.statSync(abandoned).isSocket);
    await using again = await ControlSocket.serve(abandoned, commands);
    assert.equal(await control(again.path, "version", []), "upcall 0\n");
  }));

const hostile: Readonly<Record<string, string>> = {
  "no JSON": "hello",
  "half a request": '{"id":0,"method":"ver',
  "a number": "17",
  "an array": "[1,2]",
  "no method": '{"id":0,"params":[]}',
  "params that are no array": '{"id":0,"method":"version","params":{}}',
  "deep nesting": "[".repeat(5000),
  "a huge argument": `{"id":0,"method":"echo","params":["${"x".repeat(3 << 20)}"]}`,
  "bad UTF-8": '{"id":0,"method":"\xff',
};

for (const [name, text] of Object.entries(hostile)) {
  Deno.test(`a client that sends ${name} harms nobody else`, () =>
    serving(async (path) => {
      const bad = await Deno.connect({ transport: "unix", path });
      try {
        await bad.write(new TextEncoder().encode(text));
        await bad.closeWrite();
        while ((await bad.read(new Uint8Array(1024))) !== null);
      } catch (error) {
        assert(
          error instanceof Deno.errors.BrokenPipe ||
            error instanceof Deno.errors.ConnectionReset,
        );
      } finally {
        bad.close();
      }
      assert.equal(await control(path, "version", []), "upcall 0\n");
    }));
}

Deno.test("a hundred clients at once are answered, each its own", () =>
  serving(async (path) => {
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) => control(path, "echo", [`${n}`])),
    );
    assert.deepEqual(answers, Array.from({ length: 100 }, (_, n) => `${n}`));
  }));

Deno.test("requests that follow each other without a break are answered in order", () =>
  serving(async (path) => {
    const client = await Deno.connect({ transport: "unix", path });
    const request = (n: number): string =>
      `{"id":${n},"method":"echo","params":["${n}"]}`;
    await client.write(
      new TextEncoder().encode(request(1) + request(2) + "\n " + request(3)),
    );
    await client.closeWrite();
    let text = "";
    const buffer = new Uint8Array(1024);
    for (let n = await client.read(buffer); n !== null; n = await client.read(buffer)) {
      text += new TextDecoder().decode(buffer.subarray(0, n));
    }
    client.close();
    assert.deepEqual(text.match(/"result":"\d"/g), [
      '"result":"1"',
      '"result":"2"',
      '"result":"3"',
    ]);
  }));

Deno.test("closing ends clients that wait", async () => {
  const directory = await Deno.makeTempDir();
  const socket = await ControlSocket.serve(`${directory}/test.ctl`, commands);
  const client = await Deno.connect({ transport: "unix", path: socket.path });
  await client.write(new TextEncoder().encode('{"id":'));
  await socket.close();
  await socket.close();
  await client.read(new Uint8Array(8)).then(
    (size) => assert.equal(size, null),
    (error) => assert(error instanceof Deno.errors.ConnectionReset),
  );
  client.close();
  await Deno.remove(directory); // Fails unless the file is gone.
});

Deno.test("a program whose descriptors are used up serves on when some are free", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/few.ctl`;
  const module = new URL("./socket.ts", import.meta.url).href;
  // Deno 2.9.6 opens what it needs for signals late, and panics when it cannot: here it does so
  // first.
  const script = `import { ControlSocket } from ${JSON.stringify(module)};
    Deno.addSignalListener("SIGUSR2", () => {});
    await ControlSocket.serve(${JSON.stringify(path)}, new Map());`;
  await Deno.writeTextFile(`${folder}/few.ts`, script);
  const child = new Deno.Command("sh", {
    args: [
      "-c",
      `ulimit -n 64; exec "$0" run -A --no-config --no-lock --quiet ${folder}/few.ts`,
      Deno.execPath(),
    ],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const stderr = new Response(child.stderr).text();
  try {
    const connect = () => Deno.connect({ transport: "unix", path });
    (await until("the socket", () => connect().catch(() => undefined))).close();
    // Those that it cannot accept wait in the queue of the kernel.
    const clients = await Promise.all(Array.from({ length: 100 }, connect));
    const descriptors = () => [...Deno.readDirSync(`/proc/${child.pid}/fd`)].length;
    // One that it was started with may be above the limit.
    await until("descriptors to be used up", () => descriptors() >= 64, {
      state: descriptors,
    });
    for (const client of clients) client.close();
    assert.match(await control(path, "list-commands", []), /^The available commands/);
  } finally {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended, which the next line shows.
    }
    await child.status;
    assert.equal(await stderr, "");
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("clients that only hold their connections keep nobody out", () =>
  serving(async (path) => {
    const idle = await Promise.all(
      Array.from({ length: 300 }, () => Deno.connect({ transport: "unix", path })),
    );
    try {
      assert.equal(await control(path, "version", []), "upcall 0\n");
      // The oldest made room; the last ones are there still.
      const last = idle.at(-1) as Deno.UnixConn;
      await last.write(
        new TextEncoder().encode('{"id":1,"method":"version","params":[]}'),
      );
      const size = await last.read(new Uint8Array(1024));
      assert((size ?? 0) > 0);
      assert.equal(await idle[0]?.read(new Uint8Array(8)), null);
    } finally {
      idle.forEach((client) => client.close());
    }
  }));

Deno.test("clients that do not take their answers keep nobody out", () =>
  serving(async (path) => {
    const text = "x".repeat(200_000);
    const request = `{"id":1,"method":"echo","params":["${text}","${text}","${text}"]}`;
    const bytes = new TextEncoder().encode(request);
    const deaf: Deno.UnixConn[] = [];
    try {
      for (let n = 0; n < 260; n++) {
        const client = await Deno.connect({ transport: "unix", path });
        deaf.push(client);
        for (let at = 0; at < bytes.length;) at += await client.write(bytes.subarray(at));
      }
      assert.equal(await control(path, "version", []), "upcall 0\n");
    } finally {
      deaf.forEach((client) => client.close());
    }
  }));

Deno.test("blanks and crumbs take time by their number", () => {
  // Where each byte moves all that follow it, this takes hours.
  for (
    const crumb of [" ", "[]", '{"id":null}', "\n\t", '{"id":0,"params":["{[\\""]} ']
  ) {
    const count = Math.ceil((4 << 20) / crumb.length);
    const bytes = new TextEncoder().encode(crumb.repeat(count));
    const started = performance.now();
    const values = new JsonStream(Infinity).push(bytes);
    const took = performance.now() - started;
    assert(values.length === 0 || values.length === count, `${values.length} values`);
    assert(took < 20_000, `4 MB of ${JSON.stringify(crumb)} took ${took} ms`);
  }
});

Deno.test("values are cut the same however their bytes come", () => {
  const texts = ['{"a":["\\"}"]}', "[]", '{"b":{"c":[1,2]}}', '{"ü":"é"}'];
  const bytes = new TextEncoder().encode(texts.join(" \n") + "  ");
  for (let size = 1; size <= bytes.length; size++) {
    const stream = new JsonStream(40);
    const values: string[] = [];
    for (let at = 0; at < bytes.length; at += size) {
      values.push(...stream.push(bytes.subarray(at, at + size)));
    }
    assert.deepEqual(values, texts, `${size} bytes at once`);
  }
  const large = new TextEncoder().encode(`["${"x".repeat(100)}"`);
  assert.throws(() => new JsonStream(40).push(large), /larger than 40 bytes/);
});

Deno.test("a command that ends the server is answered, one that takes long is told", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/test.ctl`;
  let closing: Promise<void> | undefined;
  let gone = 0;
  const socket: ControlSocket = await ControlSocket.serve(
    path,
    new Map<string, ControlCommand>([
      ["end", {
        usage: "",
        args: [0, 0],
        run: async () => {
          closing = socket.close();
          await new Promise((resolve) => setTimeout(resolve, 50));
          return "ended\n";
        },
      }],
      ["long", {
        usage: "",
        args: [0, 0],
        run: async (_, client) => {
          await client.hungUp();
          gone++;
          return "";
        },
      }],
    ]),
  );
  const request = new TextEncoder().encode('{"id":1,"method":"long","params":[]}');
  const leaving = await Deno.connect({ transport: "unix", path });
  await leaving.write(request);
  leaving.close();
  await until("the one that left", () => gone === 1);
  const staying = await Deno.connect({ transport: "unix", path });
  await staying.write(request);
  assert.equal(await control(path, "end", []), "ended\n");
  await closing;
  assert.equal(gone, 2);
  staying.close();
  await Deno.remove(folder);
});
