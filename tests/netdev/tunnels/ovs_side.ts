// SPDX-License-Identifier: Apache-2.0
/**
 * Open vSwitch's userspace datapath at an end of a wire.
 *
 * @module
 */
import { run } from "../../support/command.ts";
import { until } from "../../support/wait.ts";
import { type Kind, kinds, specOf } from "./kinds.ts";
import { at, type End, moveAddresses } from "./lab.ts";

/** Options of Open vSwitch's interface for a kind. */
function ovsOptions(kind: Kind, remote: string): string[] {
  const net = 81 + kinds.indexOf(kind);
  const options = [`remote_ip=${remote}`, `key=${net}`];
  if (kind.name === "erspan") options.push("erspan_ver=1", "erspan_idx=7");
  return options;
}

/** A bridge of its userspace datapath, with ports of these types and options. */
function bridge(
  name: string,
  ports: Readonly<Record<string, readonly string[]>>,
): string[] {
  return [
    ...["--", "add-br", name, "--", "set", "bridge", name, "datapath_type=netdev"],
    ...Object.entries(ports).flatMap(([port, words]) => [
      ...["--", "add-port", name, port],
      ...(words.length > 0 ? ["--", "set", "interface", port, ...words] : []),
    ]),
  ];
}

/** Starts it: bridge `brp` has the device and the addresses, and each kind has a bridge inside. */
export async function startOvs(
  end: End,
  tunnels: readonly Kind[],
  remote: string,
  which: 1 | 2 = 2,
): Promise<AsyncDisposable> {
  const folder = await Deno.makeTempDir({ prefix: "upcall-tovs-" });
  const env = {
    OVS_RUNDIR: folder,
    OVS_LOGDIR: folder,
    OVS_DBDIR: folder,
    OVS_SYSCONFDIR: folder,
  };
  const children: Deno.ChildProcess[] = [];
  const start = (...words: string[]) => {
    const [program = "", ...args] = at(end, ...words);
    const io = { stdin: "null", stdout: "null", stderr: "null" } as const;
    children.push(new Deno.Command(program, { args, env, ...io }).spawn());
  };
  const stop = async () => {
    for (const child of children.reverse()) {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended by itself.
      }
      await child.status;
    }
    await Deno.remove(folder, { recursive: true });
  };
  try {
    const db = `unix:${folder}/db.sock`;
    const appears = (path: string) =>
      until(path, () => Deno.stat(path).catch(() => undefined));
    await run(
      "ovsdb-tool",
      "create",
      `${folder}/conf.db`,
      "/usr/share/openvswitch/vswitch.ovsschema",
    );
    start(
      "ovsdb-server",
      `${folder}/conf.db`,
      `--remote=p${db}`,
      `--unixctl=${folder}/db.ctl`,
    );
    await appears(`${folder}/db.sock`);
    const vsctl = (...words: string[]) =>
      run("ovs-vsctl", "--timeout=60", `--db=${db}`, ...words);
    await vsctl("--no-wait", "init");
    start("ovs-vswitchd", db, "--disable-system", `--unixctl=${folder}/switch.ctl`);
    await appears(`${folder}/switch.ctl`);
    await vsctl(
      ...bridge("brp", { eth0: [] }),
      ...tunnels.flatMap((kind) => {
        const net = 81 + kinds.indexOf(kind);
        const type = remote.includes(":") ? kind.type6 ?? kind.type : kind.type;
        const options = ovsOptions(kind, remote).map((option) => `options:${option}`);
        return bridge(`br${net}`, {
          [`tun${net}`]: [`type=${type}`, ...options],
          [`in${net}`]: ["type=internal"],
        });
      }),
    );
    for (const line of moveAddresses(end, "brp")) {
      await run(...at(end, "ip", ...line.split(" ")));
    }
    for (const kind of tunnels) {
      for (const line of specOf(kind, which, [end, end], 4).commands) {
        await run(...at(end, "ip", ...line.split(" ")));
      }
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { [Symbol.asyncDispose]: stop };
}
