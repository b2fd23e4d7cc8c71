// SPDX-License-Identifier: Apache-2.0
/**
 * What ports open and leave: descriptors, sockets in the file system, devices, and what children
 * get of it.
 */
import assert from "node:assert/strict";
import type { PortRequest } from "../../providers/contract/ports.ts";
import { DatapathError } from "../../providers/errors.ts";
import { run } from "../support/command.ts";
import { udpFrame } from "../support/frames.ts";
import { NetdevBench, openNetdev } from "../support/netdev.ts";
import { runScript } from "../support/script.ts";
import { needProgram, needRoot, skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";

const module = JSON.stringify(new URL("../../mod.ts", import.meta.url).href);

/** Descriptors of this process that a program which it starts would inherit, and what they are. */
function inheritable(): string[] {
  const open: string[] = [];
  for (const { name } of Deno.readDirSync("/proc/self/fdinfo")) {
    try {
      const flags = /^flags:\s*0(\d+)$/m.exec(
        Deno.readTextFileSync(`/proc/self/fdinfo/${name}`),
      );
      if (parseInt(flags?.[1] ?? "0", 8) & 0o2000000) continue; // O_CLOEXEC
      open.push(`${name}: ${Deno.readLinkSync(`/proc/self/fd/${name}`)}`);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return open.sort();
}

function links(): string[] {
  return [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`);
    } catch {
      return ""; // Closed meanwhile.
    }
  });
}

const entries = (path: string): number => [...Deno.readDirSync(path)].length;

async function code(add: Promise<unknown>): Promise<string> {
  try {
    await add;
    return "added";
  } catch (error) {
    return (error as DatapathError).code;
  }
}

const memif = (socket: string, more: Record<string, string> = {}): PortRequest => ({
  name: "m",
  type: "memif",
  options: { role: "server", socket, "socket-abstract": "no", id: "0", ...more },
});

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "upcall-ports-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A datapath in another process, with one port. Ends when its input does, or by a signal. */
function startPeer(request: PortRequest): Deno.ChildProcess {
  const script = `
    const { openDatapath } = await import(${module});
    const dp = await openDatapath("netdev@peer", { create: true, onNotice: () => {} });
    const { no } = await dp.ports.add(${JSON.stringify(request)});
    dp.flows.put({ key: \`recirc_id(0),in_port(\${no}),eth_type(0x0800),ipv4(frag=no)\`, actions: \`\${no}\` });
    console.log("ready");
    await new Promise(() => setInterval(() => {}, 1000));`;
  return new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", script],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

async function untilReady(child: Deno.ChildProcess): Promise<void> {
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  assert.equal(new TextDecoder().decode(value), "ready\n");
  await reader.cancel();
}

async function kill(child: Deno.ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await child.status;
}

Deno.test(
  "descriptors: a child inherits none, of no kind of port, nor when a peer has connected",
  skippable(() =>
    inFolder(async (folder) => {
      const before = inheritable();
      await using bench = await NetdevBench.open();
      const { ports } = bench.dp;
      const add = (name: string, type: string, options: Record<string, string> = {}) =>
        ports.add({ name, type, options });
      await ports.add(memif(`${folder}/m`));
      await add("v", "vhost-user", { path: `${folder}/v` });
      await add("c", "vhost-user-client", { path: `${folder}/none` });
      await add("r", "ring", { peer: "s" });
      await add("w", "pcap", { tx_pcap: `${folder}/w.pcap` });
      await add("n", "dpdk", { devargs: "net_null_descriptors" });
      if (Deno.uid() === 0) {
        const device = `dsc${Deno.pid % 100000}`;
        await add(device, "tap");
        await run("ip", "link", "add", `${device}a`, "type", "veth");
        await add(`${device}a`, "system");
        await add("t", "dpdk", { devargs: `net_tap_descriptors,iface=${device}t` });
      }
      const near = await openNetdev(`c${crypto.randomUUID().slice(0, 8)}`);
      try {
        await near.ports.add(memif(`${folder}/m`, { role: "client" }));
        await until("the peer to share its memory", () =>
          links().some((link) => link.includes("memfd:memif")));
        assert.deepEqual(
          inheritable().filter((line) =>
            !before.includes(line)
          ),
          [],
        );
      } finally {
        await near.close();
        if (Deno.uid() === 0) {
          await run("ip", "link", "delete", `dsc${Deno.pid % 100000}a`);
        }
      }
    })
  ),
);

Deno.test(
  "descriptors: ports that come and go leave none, no socket and no device",
  skippable(() =>
    inFolder(async (folder) => {
      await using bench = await NetdevBench.open();
      const { ports } = bench.dp;
      const device = `dsd${Deno.pid % 100000}`;
      const requests: PortRequest[] = [
        memif(`${folder}/m`),
        memif(`upcall-${crypto.randomUUID()}`, { "socket-abstract": "yes" }),
        { name: "v", type: "vhost-user", options: { path: `${folder}/v` } },
        { name: "v", type: "vhost-user-client", options: { path: `${folder}/none` } },
        { name: "n", type: "dpdk", options: { devargs: "net_null_gone" } },
        {
          name: "n",
          type: "dpdk",
          options: {
            devargs: `net_memif_gone,role=server,socket=${folder}/d,socket-abstract=no`,
          },
        },
      ];
      if (Deno.uid() === 0) {
        requests.push(
          { name: device, type: "tap" },
          {
            name: "t",
            type: "dpdk",
            options: { devargs: `net_tap_gone,iface=${device}` },
          },
        );
      }
      for (const request of requests) {
        const cycle = async () => ports.delete((await ports.add(request)).no);
        await cycle();
        const open = entries("/proc/self/fd");
        for (let round = 0; round < 20; round++) await cycle();
        const left = entries("/proc/self/fd") - open;
        assert.ok(
          left < 10,
          `${JSON.stringify(request)}: ${left} descriptors left by 20 ports`,
        );
        assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), []);
        const devices = [...Deno.readDirSync("/sys/class/net")].map(({ name }) => name);
        assert.ok(!devices.includes(device), "the device is still there");
      }
    })
  ),
);

Deno.test(
  "descriptors: a socket that nobody serves is replaced, and nothing else is",
  skippable(() =>
    inFolder(async (folder) => {
      await using bench = await NetdevBench.open();
      const { ports } = bench.dp;
      const kinds: ((path: string) => PortRequest)[] = [
        (path) => memif(path),
        (path) => ({ name: "m", type: "vhost-user", options: { path } }),
      ];
      for (const request of kinds) {
        const path = `${folder}/socket`;
        // A listener that ends without removing its socket, as one that was killed.
        const listener = Deno.listen({ transport: "unix", path });
        assert.equal(await code(ports.add(request(path))), "EADDRINUSE");
        await Deno.rename(path, `${path}.kept`);
        listener.close();
        await Deno.rename(`${path}.kept`, path);
        const { no } = await ports.add(request(path));
        await ports.delete(no);

        await Deno.writeTextFile(path, "precious");
        assert.equal(await code(ports.add(request(path))), "EEXIST");
        assert.equal(await Deno.readTextFile(path), "precious");
        await Deno.remove(path);

        const long = `${folder}/${"x".repeat(120)}`;
        assert.equal(await code(ports.add(request(long))), "ENAMETOOLONG");
      }
    })
  ),
);

Deno.test(
  "descriptors: a memif client meets a server that was killed and started anew, and goes on counting",
  skippable(() =>
    inFolder(async (folder) => {
      await using bench = await NetdevBench.open();
      const { dp } = bench;
      const path = `${folder}/m`;
      const [host = 0] = await bench.ports("p1");
      const key = (no: number) =>
        `recirc_id(0),in_port(${no}),eth_type(0x0800),ipv4(frag=no)`;
      let server = startPeer(memif(path));
      try {
        await untilReady(server);
        const { no } = await dp.ports.add(memif(path, { role: "client" }));
        dp.flows.put({ key: key(host), actions: `${no}` });
        dp.flows.put({ key: key(no), actions: `${host}` });
        const answered = async () => {
          bench.inject(1, udpFrame());
          await new Promise((later) => setTimeout(later, 20));
          return dp.ports.collect?.(1) !== undefined;
        };
        await until("frames to come back", answered);
        const before = dp.ports.stats(no);
        assert.ok(before.rxPackets > 0n && before.rxBytes >= 42n * before.rxPackets);
        await kill(server);
        await until("the peer to be missed", () =>
          dp.ports.stats(no).counters?.device_lost === 1n);
        const missed = dp.ports.stats(no);
        assert.ok(
          missed.rxPackets >= before.rxPackets && missed.txPackets >= before.txPackets,
        );
        server = startPeer(memif(path));
        await untilReady(server);
        await until("frames to come back", answered);
        assert.ok(dp.ports.stats(no).rxPackets > missed.rxPackets);
      } finally {
        await kill(server);
      }
    })
  ),
);

Deno.test(
  "descriptors: without /sys there is a sentence that says so, and arguments that EAL does not take bring no manual",
  skippable(async () => {
    needRoot("netdev");
    const unshare = needProgram("unshare", { requirement: "netdev" });
    const script = (args: string) => `
      const { openDatapath } = await import(${module});
      const options = { create: true, onNotice() {}, ${args} };
      await openDatapath("netdev@e", options).catch((error) => console.log(error.message));`;
    const shell = `umount -l /sys && exec "$0" eval --quiet "$1"`;
    const words = ["-m", "bash", "-c", shell, Deno.execPath(), script("")];
    const { stdout } = await new Deno.Command(unshare, { args: words }).output();
    assert.match(
      new TextDecoder().decode(stdout),
      /^Cannot open .*\/sys.*\n$/,
    );

    const odd = await runScript(script(`config: { eal: "--lcores=nonsense" }`), {
      flags: ["-A"],
    });
    assert.match(odd.stdout, /^Cannot open .*\n$/);
  }),
);
