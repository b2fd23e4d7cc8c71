// SPDX-License-Identifier: Apache-2.0
/**
 * Code with its comments, strings and words marked, as HTML.
 *
 * @module
 */
import { escape } from "./escape.ts";

const typescript =
  /(?<comment>\/\/[^\n]*|\/\*[^]*?\*\/)|(?<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|(?<word>\b(?:import|from|export|const|let|await|using|async|for|of|in|if|else|return|new|function|class|extends|type|interface|readonly|while|break|continue|throw|try|catch|finally|undefined|true|false|this|default|as|satisfies|static|void|struct|int|char|unsigned)\b)|(?<number>\b(?:0x[\da-fA-F]+|\d[\d_]*n?)\b)/g;
const shell =
  /(?<comment>(?<=^|\s)#[^\n]*)|(?<string>"(?:\\.|[^"\\])*"|'[^']*')|(?<word>(?<=^|\n)\$? ?(?:sudo |deno|npx|apt-get|git|dpctl|ip|podman|systemctl))/g;

const languages: Readonly<Record<string, RegExp>> = {
  ts: typescript,
  js: typescript,
  c: typescript,
  typescript,
  sh: shell,
  bash: shell,
  console: shell,
};

/** Marks code of a language; of one that is not known it only escapes. */
export function highlight(code: string, language: string): string {
  const token = languages[language];
  if (token === undefined) return escape(code);
  let html = "";
  let at = 0;
  for (const match of code.matchAll(token)) {
    const [kind] = Object.entries(match.groups ?? {}).find(([, text]) =>
      text !== undefined
    ) ??
      [""];
    html += escape(code.slice(at, match.index)) +
      `<span class="${kind}">${escape(match[0])}</span>`;
    at = match.index + match[0].length;
  }
  return html + escape(code.slice(at));
}
