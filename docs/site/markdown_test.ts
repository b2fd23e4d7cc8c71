// SPDX-License-Identifier: Apache-2.0
/** Markdown as HTML: what the pages use is rendered, the rest is refused. */
import assert from "node:assert/strict";
import { readExample } from "./gallery.ts";
import { highlight } from "./highlight.ts";
import { render } from "./markdown.ts";

const html = (markdown: string): string =>
  render(markdown, (target) => `to/${target}`).html;

Deno.test("paragraphs, emphasis, code, links and pictures", () => {
  assert.equal(
    html(
      "One `a < b` and **bold _it_**,\ntwo [a `link`](x.md#y) ![pic](p.png) <https://a.b/>.",
    ),
    "<p>One <code>a &lt; b</code> and <strong>bold <em>it</em></strong>,\n" +
      'two <a href="to/x.md#y">a <code>link</code></a> <img src="to/p.png" alt="pic"> ' +
      '<a href="https://a.b/">https://a.b/</a>.</p>',
  );
  assert.equal(
    html("snake_case_name and 2 * 3 * 4"),
    "<p>snake_case_name and 2 * 3 * 4</p>",
  );
  assert.equal(html("``a ` b``"), "<p><code>a ` b</code></p>");
  assert.equal(html("a <b> & \\*c\\*"), "<p>a &lt;b&gt; &amp; *c*</p>");
});

Deno.test("headings have ids that are unique, and parts that the search reads", () => {
  const { headings, parts } = render(
    "# A `b` c!\n\ntext\n\n## Same\n\nx\n\n## Same\n\ny",
    (t) => t,
  );
  assert.deepEqual(headings.map(({ id }) => id), ["a-b-c", "same", "same-1"]);
  assert.deepEqual(parts.map(({ text }) => text.trim()), ["text", "x", "y"]);
});

Deno.test("tables, lists within lists, quotes and code", () => {
  const table = html("| a | b |\n| - | -: |\n| `x\\|y` | 1 |");
  assert.match(table, /<th scope="col">a<\/th><th scope="col" class="right">b<\/th>/);
  assert.match(table, /<td><code>x\|y<\/code><\/td><td class="right">1<\/td>/);
  assert.equal(
    html("- one\n  goes on\n- two\n  - inner\n- three").replaceAll("\n", ""),
    "<ul><li>onegoes on</li><li>two<ul><li>inner</li></ul></li><li>three</li></ul>",
  );
  assert.equal(html("1. a\n2. b").replaceAll("\n", ""), "<ol><li>a</li><li>b</li></ol>");
  assert.equal(html("> said"), "<blockquote><p>said</p></blockquote>");
  assert.equal(
    html('```ts\nconst a = "<"; // why\n```'),
    '<pre><code><span class="word">const</span> a = <span class="string">&quot;&lt;&quot;</span>; ' +
      '<span class="comment">// why</span></code></pre>',
  );
  assert.equal(html("<!-- hidden\n-->\ntext"), "<p>text</p>");
});

Deno.test("what is not known is refused", () => {
  for (const bad of ["<div>x</div>", "    indented", "```\nno end", "| a |\n| b |"]) {
    assert.throws(() => html(bad), SyntaxError, bad);
  }
});

Deno.test("marking code loses no letter of it", () => {
  const code = "// a \"b\"\nconst x = `<${1}>`; /* c */ 0xff & 'd'\n";
  const text = highlight(code, "ts").replaceAll(/<\/?span[^>]*>/g, "")
    .replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&");
  assert.equal(text, code);
});

Deno.test("an example says what it shows and how it is started", () => {
  const plain = readExample(
    "hub.ts",
    "// A hub: all ports.\n// Try: deno run -A examples/hub.ts netdev@h eth1\n" +
      'import { openDatapath, type Flow } from "../mod.ts";\n',
  );
  assert.equal(plain.about, "A hub: all ports.");
  assert.equal(plain.command, "deno run -A examples/hub.ts netdev@h eth1");
  assert.deepEqual(plain.uses, ["openDatapath", "Flow"]);
  const inBlock = readExample(
    "demo.ts",
    "// SPDX-License-Identifier: Apache-2.0\n/**\n * Two hosts.\n *\n *     sudo deno run -A examples/demo.ts [--x]\n *\n * @module\n */\n",
  );
  assert.equal(inBlock.command, "sudo deno run -A examples/demo.ts [--x]");
  assert.equal(inBlock.about, "Two hosts.");
});
