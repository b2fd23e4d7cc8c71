// SPDX-License-Identifier: Apache-2.0
/** Examples that are asked for help say what they are for, as the gallery does, and end well. */
import assert from "node:assert/strict";
import { readExample, readExamples } from "../../docs/site/gallery.ts";

const root = new URL("../../", import.meta.url).pathname;

async function helpOf(path: string): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", path, "--help"],
    cwd: root,
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  assert.deepEqual([code, decoder.decode(stderr)], [0, ""], path);
  return decoder.decode(stdout);
}

Deno.test("each example says what it is for in a sentence, and how it is called", async () => {
  const examples = [
    ...readExamples(root).map((one) => ({ ...one, path: `examples/${one.name}` })),
    ...["openflow/demo.ts"].map((name) => ({
      ...readExample(name, Deno.readTextFileSync(`${root}examples/${name}`)),
      path: `examples/${name}`,
    })),
  ];
  assert.ok(examples.length > 15);
  for (const { path, about, command } of examples) {
    assert.match(about, /^[A-Z].{25,}[.]$/, path);
    assert.ok(command?.includes(path), `${path}: ${command}`);
    const help = await helpOf(path);
    assert.ok(help.startsWith(`${about}\n\n`), `${path}: ${help}`);
    assert.match(help, /^usage: deno run -A |usage: sudo deno run -A /m, path);
  }
});
