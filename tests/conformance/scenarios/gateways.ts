// SPDX-License-Identifier: Apache-2.0
/**
 * The examples that track connections, run as programs between hosts with real clients, on any
 * provider.
 *
 * @module
 */
import assert from "node:assert/strict";
import { control } from "../../../control/socket.ts";
import { tryRun } from "../../support/command.ts";
import { answers, type Host, makeHosts, on, ping, pinged } from "../../support/netns.ts";
import { needProgram } from "../../support/skip.ts";
import { root } from "../../support/tree.ts";
import { until } from "../../support/wait.ts";
import { Station } from "./station.ts";

/** How a provider's tests name its datapaths, and make sure that no run leaves one. */
export interface Place {
  readonly provider: "netdev" | "system";
  /** Four letters at most, for names of hosts. */
  readonly prefix: string;
  /** Removes a datapath that a program leaves, as the kernel's are. */
  readonly remove: (name: string) => Promise<void>;
}

/** Runs an example until the body is through; it must end well by Ctrl-C. */
async function withExample(
  { provider, remove }: Place,
  file: string,
  args: readonly string[],
  body: (ask: (...words: string[]) => Promise<string>) => Promise<void>,
): Promise<void> {
  const rundir = await Deno.makeTempDir({ prefix: "upcall-gateways-" });
  const name = `${provider}@gw${Deno.pid}`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-check", `examples/${file}`, name, ...args],
    cwd: root,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    env: { NO_COLOR: "1", UPCALL_RUNDIR: rundir },
  }).spawn();
  let said = "";
  const reading = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      said += text;
    }
  })();
  try {
    await until(`${file} to be ready`, () => said.includes(" is ready with "), {
      state: () => said,
      limitMs: 60_000,
    });
    await body((verb = "", ...words) =>
      control(`${rundir}/${name}.ctl`, `dpctl/${verb}`, [name, ...words])
    );
  } catch (error) {
    throw new Error(said, { cause: error });
  } finally {
    try {
      child.kill("SIGINT");
    } catch {
      // It has ended: the status says why.
    }
    await reading;
    await remove(name);
    await Deno.remove(rundir, { recursive: true });
  }
  assert.equal((await child.status).code, 0, said);
}

/** What curl says of a URL that it fetches on a host; undefined: nothing came. */
async function curl(host: Host, ...words: string[]): Promise<string | undefined> {
  const program = needProgram("curl", { requirement: "peer" });
  const { code, stdout } = await tryRun(...on(host, program, "-s", "-m", "20", ...words));
  return code === 0 ? stdout : undefined;
}

/** Connections begin inside: ping, curl and iperf3 go out, nothing comes in. */
export async function firewall(place: Place): Promise<void> {
  const iperf = needProgram("iperf3", { requirement: "peer" });
  await using network = await makeHosts(`${place.prefix}f`, 2, { net: 96 });
  const [inside, outside] = network.hosts as [Host, Host];
  await using _within = await Station.start(inside);
  await using _without = await Station.start(outside);
  const devices = network.hosts.map(({ device }) => device);
  await withExample(place, "firewall.ts", devices, async (ask) => {
    await ping(inside, outside.ipv4);
    await ping(inside, outside.ipv6);
    for (const address of [outside.ipv4, outside.ipv6]) {
      const back = await pinged(inside, address, { count: 2, options: ["-s", "5000"] });
      assert.equal(new Set(back).size, 2, `ping of ${address} in fragments`);
    }
    assert.match(await curl(inside, `http://${outside.ipv4}/`) ?? "", /^10\.96\.0\.1 /);
    assert.match(await curl(inside, `http://[${outside.ipv6}]/`) ?? "", /^fd00:96::1 /);
    const server = new Deno.Command("ip", {
      args: on(outside, iperf, "-s", "-1").slice(1),
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await until(
      "iperf3",
      async () =>
        (await tryRun(...on(inside, iperf, "-c", outside.ipv4, "-n", "1M"))).code === 0,
    );
    await server.status;
    assert.equal(await answers(outside, inside.ipv4), false, "ping from outside");
    assert.equal(await curl(outside, "-m", "1", `http://${inside.ipv4}/`), undefined);
    await ping(inside, outside.ipv4);
    assert.match(
      await ask("dump-conntrack"),
      /tcp,orig=\(src=10\.96\.0\.1,dst=10\.96\.0\.2/,
    );
  });
}

/** Hosts inside have one address outside; FTP works both ways; nobody comes in. */
export async function natGateway(place: Place): Promise<void> {
  const address = "10.97.0.99";
  await using network = await makeHosts(`${place.prefix}n`, 2, { net: 97 });
  const [inside, outside] = network.hosts as [Host, Host];
  await using within = await Station.start(inside);
  await using _without = await Station.start(outside);
  const devices = network.hosts.map(({ device }) => device);
  await withExample(place, "nat_gateway.ts", [...devices, address], async (ask) => {
    await ping(inside, outside.ipv4);
    assert.match(
      await curl(inside, `http://${outside.ipv4}/`) ?? "",
      /^10\.97\.0\.99 \d+ 10\.97\.0\.2\n$/,
    );
    assert.equal((await within.do("udp", { to: outside.ipv4, port: 53 })).host, address);
    const file = `ftp://${outside.ipv4}/file`;
    const ways = [["-P", "-", "--disable-eprt"], ["-P", "-"], ["--disable-epsv"], []];
    for (const way of ways) {
      const text = await curl(inside, ...way, file);
      assert.match(text ?? "nothing", /^what the file says\n/, way.join(" "));
    }
    const connections = await ask("dump-conntrack");
    assert.match(connections, /dport=21.*dst=10\.97\.0\.99/);
    assert.equal(await answers(outside, inside.ipv4), false, "ping from outside");
    assert.equal(await curl(outside, "-m", "1", `http://${address}/`), undefined);
  });
}

/** Connections stay where they are when servers go and come back. */
export async function loadBalancer(place: Place): Promise<void> {
  const address = "10.98.0.99";
  await using network = await makeHosts(`${place.prefix}l`, 3, { net: 98 });
  const [client, one, two] = network.hosts as [Host, Host, Host];
  await using asking = await Station.start(client);
  await using _one = await Station.start(one);
  await using _two = await Station.start(two);
  const servers = [one, two].map(({ device, ipv4 }) => `${device}=${ipv4}`);
  const args = [address, client.device, ...servers];
  /** Servers that answer until there are `count` of them. */
  const found = async (count: number): Promise<string[]> => {
    const seen = new Set<string>();
    await until(`answers of ${count}`, async () => {
      const { server } = await asking.try("tcp", { to: address, port: 80, limit: 1 });
      if (server !== undefined) seen.add(server);
      return seen.size >= count;
    });
    return [...seen].sort();
  };
  await withExample(place, "load_balancer.ts", args, async (ask) => {
    assert.deepEqual(await found(2), [one.ipv4, two.ipv4]);
    assert.match(
      await curl(client, `http://${address}/`) ?? "",
      /^10\.98\.0\.1 \d+ 10\.98\./,
    );
    const held: { readonly server: string; readonly which: number }[] = [];
    await until("a connection to each", async () => {
      const { server = "", size = 0 } = await asking.do("hold", {
        to: address,
        port: 80,
      });
      held.push({ server, which: size });
      return new Set(held.map(({ server }) => server)).size === 2;
    });
    const keeps = async (server: string): Promise<void> => {
      for (const { which } of held.filter((each) => each.server === server)) {
        assert.equal((await asking.do("use", { which })).echo, "more");
      }
    };
    await ask("del-if", two.device);
    await until("the other server alone", async () => {
      for (let i = 0; i < 8; i++) if ((await found(1))[0] !== one.ipv4) return false;
      return true;
    });
    for (let i = 0; i < 10; i++) {
      const { server } = await asking.do("tcp", { to: address, port: 80 });
      assert.equal(server, one.ipv4);
    }
    await keeps(one.ipv4);
    await ask("add-if", two.device);
    assert.deepEqual(await found(2), [one.ipv4, two.ipv4]);
    await keeps(one.ipv4);
    await keeps(two.ipv4);
  });
}
