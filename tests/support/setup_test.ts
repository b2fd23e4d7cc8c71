// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { missingPackages, packages, setup } from "./setup.ts";
import { figure } from "./figure.ts";
import { findProgram, needProgram, needRoot, skippable, Unsupported } from "./skip.ts";

function needDebian(): void {
  if (findProgram("dpkg-query") === undefined) {
    throw new Unsupported("Debian", { requirement: "tool" });
  }
}

/** Runs a command in a mount namespace in which sudo is no program. */
function withoutSudo(command: string): string {
  const unshare = needProgram("unshare", { requirement: "tool" });
  return `exec ${unshare} -m sh -c 'for sudo in /usr/bin/sudo /bin/sudo; do
    if [ -e $sudo ]; then mount --bind /dev/null $sudo; fi; done
    ${command}'`;
}

Deno.test(
  "missingPackages() gives what dpkg does not have, in order",
  skippable(async () => {
    needDebian();
    const wanted = ["upcall-no-such-b", "dpkg", "upcall-no-such-a", "libc6"];
    deepStrictEqual(await missingPackages(wanted), [
      "upcall-no-such-b",
      "upcall-no-such-a",
    ]);
  }),
);

Deno.test(
  "setup() is done at once when nothing is missing",
  skippable(async () => {
    needDebian();
    const missing = await missingPackages(Object.values(packages).flat());
    if (missing.length > 0) {
      throw new Unsupported(`packages ${missing.join(" ")}`, { requirement: "tool" });
    }
    let best = Infinity;
    for (let run = 0; run < 3; run++) {
      const started = performance.now();
      strictEqual(await setup(Object.values(packages).flat()), true);
      best = Math.min(best, performance.now() - started);
    }
    figure(`setup with nothing to install: ${best.toFixed(0)} ms, wanted 100`);
    // Asking apt would take seconds.
    strictEqual(best <= 1000, true, `took ${best.toFixed(0)} ms`);
  }),
);

Deno.test(
  "setup() without root and without sudo says what to type",
  skippable(async () => {
    needDebian();
    needRoot("tool");
    const setpriv = needProgram("setpriv", { requirement: "tool" });
    const directory = await Deno.makeTempDir({ prefix: "upcall-setup-" });
    try {
      // Copied: a user without rights may not be able to read the checkout.
      const file = `${directory}/setup.ts`;
      await Deno.copyFile(new URL("./setup.ts", import.meta.url), file);
      await Deno.chmod(directory, 0o755);
      await Deno.writeTextFile(
        `${directory}/main.ts`,
        `import { setup } from "./setup.ts";
        console.log(await setup(["upcall-no-such-package", "dpkg"]));`,
      );
      const asNobody = `exec ${setpriv} --reuid=65534 --regid=65534 --clear-groups \
        ${Deno.execPath()} run -A --quiet ${directory}/main.ts`;
      const { stdout, stderr } = await new Deno.Command("sh", {
        args: [
          "-c",
          findProgram("sudo") === undefined ? asNobody : withoutSudo(asNobody),
        ],
        env: { DENO_DIR: `${directory}/deno`, HOME: directory, NO_COLOR: "1" },
        cwd: "/",
        stdin: "null",
      }).output();
      const said = new TextDecoder().decode(stderr);
      strictEqual(new TextDecoder().decode(stdout), "false\n", said);
      match(said, /installing 1 packages: upcall-no-such-package\n/);
      match(said, /apt-get install --no-install-recommends upcall-no-such-package\n/);
      match(said, /sudo env "PATH=\$PATH" \/\S+ task setup\n/);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  }),
);
