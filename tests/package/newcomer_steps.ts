// SPDX-License-Identifier: Apache-2.0
/**
 * What a new user does, step by step, as the pages say: the commands are theirs, and so are the
 * programs, which are saved under the names that the pages give them.
 *
 * @module
 */
import { type Block, blocksOf, pages, programOf, textOf } from "../docs/pages.ts";

/** A step, in a checkout. */
export interface NewcomerStep {
  readonly name: string;
  /** Text for sh(1) with `-eu`, in the checkout. */
  readonly script: string;
  /** Whose step it is: of one who may do all, or of an ordinary user. */
  readonly by: "root" | "user";
  /**
   * Whether it fetches something. `deno task` does so once a user: packages that the tests import.
   */
  readonly network?: boolean;
  /** Whether it changes the machine, so that it is for a bare one only. */
  readonly installs?: boolean;
  /** What standard output and error must have in them. */
  readonly says: RegExp;
}

const serve = "deno run -A dpctl.ts serve netdev@br0 p1:dummy p2:dummy p3:dummy";

/** Runs a command in the background until the rest of the script is through. */
function meanwhile(command: string, body: string): string {
  return `
${command} > serve.log 2>&1 &
server=$!
trap 'kill "$server" 2> /dev/null || true; wait "$server" || true; cat serve.log' EXIT
tries=0
until grep -q '|serving ' serve.log; do
  tries=$((tries + 1)); [ "$tries" -lt 600 ]; kill -0 "$server"; sleep 0.1
done
${body}`;
}

/** The way from nothing to a switch of one's own, seen, tested, and installed. */
export const steps: readonly NewcomerStep[] = [
  {
    name: "npm, git and sudo, by apt",
    by: "root",
    network: true,
    installs: true,
    script: `apt-get update -q
apt-get install -y -q --no-install-recommends ca-certificates git npm sudo
npm --version`,
    says: /\d+\.\d+\.\d+/,
  },
  {
    name: "Deno, by npm",
    by: "root",
    network: true,
    installs: true,
    script: "sudo npm install --global deno\ndeno --version",
    says: /deno \d+\.\d+/,
  },
  {
    name: "compiler, DPDK and tools of the demo, by apt",
    by: "root",
    network: true,
    installs: true,
    script: "deno task setup library traffic",
    says: /setup: done/,
  },
  {
    name: "what the machine lacks",
    by: "user",
    script: "deno run -A dpctl.ts doctor",
    says: /\d+ of \d+ checks are well/,
  },
  {
    name: "first packet, the library compiled",
    by: "user",
    script: "deno run -A examples/first.ts",
    says: /1 hit, 1 missed/,
  },
  {
    name: "own switch, served, shown, on a page",
    by: "user",
    script: meanwhile(
      `${serve} --policy examples/my_switch.ts --web 127.0.0.1:0`,
      `deno run -A dpctl.ts show netdev@br0
deno run -A dpctl.ts dump-flows netdev@br0
page=$(sed -n 's/.*dashboard at \\([^ ]*\\).*/\\1/p' serve.log)
deno eval "console.log(await (await fetch('$page')).text())" | grep '<title>'`,
    ),
    says: /netdev@br0:\n[^]*port 3: p3 \(dummy\)[^]*<title>Upcall/,
  },
  {
    name: "test of it, without root",
    by: "user",
    script: "deno test -A examples/my_switch_test.ts",
    says: /1 passed/,
  },
  {
    name: "demo: two hosts, ping and iperf3",
    by: "root",
    network: true,
    script: 'sudo env "PATH=$PATH" deno task demo',
    says: /Result: \d+ % loss, \d+\.\d\d Gbit\/s/,
  },
  {
    name: "dpctl as a command",
    by: "user",
    script: `deno install --global --allow-all --name dpctl dpctl.ts
dpctl --version`,
    says: /dpctl \(Upcall\) \d+\.\d+\.\d+/,
  },
  {
    name: "package for Debian, made",
    by: "user",
    network: true,
    script: "deno task package --output dist",
    says: /made dist\/upcall_/,
  },
  {
    name: "package for Debian, installed, serving",
    by: "root",
    network: true,
    installs: true,
    script: `sudo apt-get install -y -q --no-install-recommends ./dist/upcall_*.deb
${
      meanwhile(
        "/usr/bin/dpctl serve netdev@br1 p1:dummy",
        "/usr/bin/dpctl show netdev@br1",
      )
    }`,
    says: /netdev@br1:\n[^]*port 1: p1 \(dummy\)/,
  },
];

/** Programs of the guide's first page, by name. */
export function firstPrograms(): ReadonlyMap<string, string> {
  const blocks = blocksOf("docs/first_switch.md", textOf("docs/first_switch.md"));
  return new Map(blocks.flatMap((block) => {
    const program = programOf(block);
    return program === undefined ? [] : [[program.name, `${block.text}\n`] as const];
  }));
}

/** Lines of the steps that are in no page: a newcomer could not know of them. */
export function unheardOf(of: readonly NewcomerStep[] = steps): string[] {
  const isShell = ({ language }: Block): boolean => language === "sh";
  const known = pages().flatMap((page) =>
    blocksOf(page, textOf(page)).filter(isShell).flatMap(({ text }) => text.split("\n"))
  ).map((line) => line.replace(/\s+#.*$/, "").trim());
  const commands = of.flatMap(({ script }) => script.split("\n"))
    .filter((line) =>
      /^(sudo )?(env |deno (run|test|task|install)|npm install)/.test(line)
    );
  return commands.filter((line) => {
    const plain = line.replace(/ (>|--web) .*$/, "").replace(
      / -y -q --no-install-recommends/,
      "",
    );
    return !known.some((one) => one.startsWith(plain));
  });
}
