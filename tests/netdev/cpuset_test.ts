// SPDX-License-Identifier: Apache-2.0
/**
 * Poll threads in a cpuset of the kernel's: they run on its cores and no others, and say which
 * those are.
 */
import assert from "node:assert/strict";
import { openNetdev } from "../support/netdev.ts";
import { skippable, Unsupported } from "../support/skip.ts";

/** A cpuset that is removed again, of either version of cgroups. */
class Cpuset implements Disposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** One that has these cores, as `0-1,3`. */
  static make(cores: string): Cpuset {
    const name = `upcall-test-${Deno.pid}`;
    for (const root of ["/sys/fs/cgroup/cpuset", "/sys/fs/cgroup"]) {
      const path = `${root}/${name}`;
      try {
        Deno.mkdirSync(path);
      } catch {
        continue;
      }
      try {
        Deno.writeTextFileSync(`${path}/cpuset.cpus`, cores);
        // Version 2 has the nodes of its parent.
        Deno.writeTextFileSync(`${path}/cpuset.mems`, "0");
        return new Cpuset(path);
      } catch {
        Deno.removeSync(path);
      }
    }
    throw new Unsupported("a cpuset", { requirement: "system" });
  }

  /** Runs a program in it; what it printed. */
  async run(code: string): Promise<string> {
    const { success, stdout, stderr } = await new Deno.Command("sh", {
      args: [
        "-c",
        'echo $$ > "$1/cgroup.procs" && shift && exec "$@"',
        "sh",
        this.path,
        Deno.execPath(),
        "eval",
        "--quiet",
        code,
      ],
      cwd: new URL("../../", import.meta.url).pathname,
    }).output();
    const decoder = new TextDecoder();
    assert(success, decoder.decode(stderr));
    return decoder.decode(stdout);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path);
  }
}

Deno.test(
  "netdev cpuset: poll threads stay in it, and a core outside is refused",
  skippable(async () => {
    const cores = navigator.hardwareConcurrency;
    if (cores < 2) throw new Unsupported("two processor cores", { requirement: "peer" });
    // The library is built before: in the cpuset it is only opened.
    await (await openNetdev(`c${crypto.randomUUID().slice(0, 8)}`)).close();
    for (const [core, other] of [[0, 1], [1, 0]] as const) {
      using cpuset = Cpuset.make(`${core}`);
      const text = await cpuset.run(`
        import { openDatapath } from "./mod.ts";
        const dp = await openDatapath("netdev@cpuset", { create: true, onNotice() {} });
        await dp.ports.add({ name: "p1", type: "dummy" });
        const threads = () => dp.pollThreads.dump().map(({ core }) => core);
        const allowed = Deno.readTextFileSync("/proc/self/status").match(/Cpus_allowed_list:\\s*(\\S+)/)[1];
        const before = threads();
        const refused = await dp.pollThreads.set("0x${
        1 << other
      }").catch((error) => error);
        const both = await dp.pollThreads.set("0x3").catch((error) => error);
        console.log(JSON.stringify({
          allowed, before, after: threads(), codes: [refused.code, both.code], reason: refused.message,
        }));
        await dp.close();
      `);
      const found = JSON.parse(text);
      assert.deepEqual(found.before, [core]);
      assert.deepEqual(found.after, [core], "a refused mask changes nothing");
      assert.deepEqual(found.codes, ["EINVAL", "EINVAL"]);
      assert.match(
        found.reason,
        new RegExp(`core ${other}: this process may run on ${core} only`),
      );
    }
  }),
);
