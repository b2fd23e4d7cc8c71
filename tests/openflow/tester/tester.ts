// SPDX-License-Identifier: Apache-2.0
/**
 * The tester of switches that os-ken has from Ryu, unmodified: a controller of two switches, one of
 * which is tested, joined by three links.
 *
 * The other switch is a bridge of Open vSwitch on dummy ports whatever is tested, so that the two
 * that are compared have the same judge. The links are sockets of Unix, as dummy ports have them:
 * frames with their length (u16, big-endian) before each.
 *
 * @module
 */
import { openSwitch } from "../../../openflow/open.ts";
import { type Lab, openLab } from "../../../testing/mod.ts";
import { lines } from "../../netdev/tunnels/lines.ts";
import { type Dummy, startDummy } from "../../odp/ovs_dummy.ts";
import { needProgram, Unsupported } from "../../support/skip.ts";
import { pause, until } from "../../support/wait.ts";

/** What came of a pattern: undefined if it passed, else the complaint. */
export type Verdicts = ReadonlyMap<string, string | undefined>;

/** What is run. */
export interface TesterOptions {
  /** A folder of patterns: files of JSON. */
  readonly patterns: string;
  /** The version that the tested switch speaks. */
  readonly version: "1.0" | "1.3" | "1.4";
  /** Which switch is tested. */
  readonly target: "ours" | "Open vSwitch";
  /** Gives up when nothing has been said for so long, ms. */
  readonly silenceMs?: number;
}

const LINKS = [1, 2, 3] as const;
const TARGET = "0000000000000001";
const TESTER = "0000000000000002";
const APP = "os_ken.tests.switch.tester";

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

/** Words for ovs-vsctl by which there is a bridge on links; `how` says how a port has its end. */
function bridgeWords(
  name: string,
  { id, protocol, port, how }: {
    readonly id: string;
    readonly protocol: string;
    readonly port: number;
    readonly how: (link: number) => string;
  },
): string[] {
  return [
    ...["add-br", name, "--", "set", "Bridge", name, "datapath_type=dummy"],
    ...["fail-mode=secure", `other-config:datapath-id=${id}`, `protocols=${protocol}`],
    ...LINKS.flatMap((link) => [
      ...["--", "add-port", name, `${name}${link}`, "--", "set", "Interface"],
      ...[`${name}${link}`, "type=dummy", `ofport_request=${link}`, how(link)],
    ]),
    ...["--", "set-controller", name, `tcp:127.0.0.1:${port}`],
    ...["--", "set", "controller", name, "connection-mode=out-of-band"],
  ];
}

/** Carries frames between a port of a lab and the socket of a dummy port. */
class Link implements AsyncDisposable {
  readonly #lab: Lab;
  readonly #port: number;
  readonly #socket: Deno.UnixConn;
  readonly #tasks: Promise<void>[];
  #isClosed = false;

  private constructor(lab: Lab, port: number, socket: Deno.UnixConn) {
    this.#lab = lab;
    this.#port = port;
    this.#socket = socket;
    this.#tasks = [this.#carryIn(), this.#carryOut()];
  }

  /** Joins a port with a socket. */
  static async of(lab: Lab, port: number, path: string): Promise<Link> {
    await until(path, () => Deno.stat(path).catch(() => undefined));
    return new Link(lab, port, await Deno.connect({ transport: "unix", path }));
  }

  async #carryIn(): Promise<void> {
    let bytes = new Uint8Array(1 << 17);
    let size = 0;
    for (;;) {
      const got = await this.#socket.read(bytes.subarray(size)).catch(() => null);
      if (got === null) return;
      size += got;
      let at = 0;
      while (size - at >= 2) {
        const end = at + 2 + ((bytes[at] as number) << 8 | (bytes[at + 1] as number));
        if (end > size) break;
        await this.#lab.inject(this.#port, bytes.slice(at + 2, end));
        at = end;
      }
      bytes = bytes.copyWithin(0, at, size);
      size -= at;
    }
  }

  async #carryOut(): Promise<void> {
    while (!this.#isClosed) {
      const frame = this.#lab.dp.ports.collect?.(this.#port);
      if (frame === undefined) {
        await pause(1);
        continue;
      }
      const told = new Uint8Array(2 + frame.length);
      told.set([frame.length >> 8, frame.length & 0xff]);
      told.set(frame, 2);
      for (let at = 0; at < told.length;) {
        at += await this.#socket.write(told.subarray(at));
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#tasks[1]?.catch(() => {});
    this.#socket.close();
    await this.#tasks[0]?.catch(() => {});
  }
}

/** The program, which ends by itself. */
class Manager implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  readonly #verdicts = new Map<string, string | undefined>();
  #file = "";
  #last = "";
  #saidMs = performance.now();
  #ended = false;
  readonly rest: string[] = [];

  /** Starts it. */
  constructor(port: number, { patterns, version }: TesterOptions) {
    this.#child = new Deno.Command(
      needProgram("osken-manager", { requirement: "peer" }),
      {
        args: [
          ...["--ofp-tcp-listen-port", `${port}`, "--ofp-listen-host", "127.0.0.1"],
          ...["--test-switch-dir", patterns, "--test-switch-target", TARGET],
          ...["--test-switch-tester", TESTER],
          ...["--test-switch-target-version", `openflow${version.replace(".", "")}`],
          APP,
        ],
        stdin: "null",
        stdout: "null",
        stderr: "piped",
      },
    ).spawn();
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    for await (const line of lines(this.#child.stderr)) this.#said(line);
    this.#ended = true;
  }

  #said(line: string): void {
    this.#saidMs = performance.now();
    const [, test, result] = /^ {4}(\S.*?)\s+(OK|ERROR)$/.exec(line) ?? [];
    if (test !== undefined) {
      let name = `${this.#file} | ${test}`;
      for (let i = 2; this.#verdicts.has(name); i++) {
        name = `${this.#file} | ${test} #${i}`;
      }
      this.#verdicts.set(this.#last = name, result === "OK" ? undefined : "");
    } else if (/^ {8}\S/.test(line) && this.#verdicts.get(this.#last) === "") {
      this.#verdicts.set(this.#last, line.trim());
    } else if (/^(action|match|group|meter|\w+): /.test(line) && !/=/.test(line)) {
      this.#file = line.trim();
    } else this.rest.push(line);
  }

  /** What came of all patterns. */
  async end(silenceMs: number): Promise<Verdicts> {
    while (!this.#ended) {
      await pause(20);
      if (performance.now() - this.#saidMs > silenceMs) {
        throw new Error(`the tester is silent:\n${this.rest.slice(-20).join("\n")}`);
      }
    }
    return this.#verdicts;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await this.#child.status;
    await this.#reading.catch(() => {});
  }
}

async function testOurs(
  ovs: Dummy,
  port: number,
  options: TesterOptions,
): Promise<Verdicts> {
  const folder = ovs.socket.slice(0, ovs.socket.lastIndexOf("/"));
  await using manager = new Manager(port, options);
  await using lab = await openLab({ ports: LINKS.map((link) => `p${link}`) });
  await using links = new AsyncDisposableStack();
  for (const link of LINKS) {
    links.use(await Link.of(lab, lab.port(`p${link}`), `${folder}/t${link}.sock`));
  }
  const faults: string[] = [];
  await using of = await openSwitch(lab.dp, {
    name: "target",
    datapathId: BigInt(`0x${TARGET}`),
    controllers: [`tcp:127.0.0.1:${port}`],
    versions: [options.version],
    onError: (error) => void faults.push(error.message),
  });
  const verdicts = await manager.end(options.silenceMs ?? 60_000);
  await of.close();
  if (faults.length > 0) throw new Error(faults.join("\n"));
  return verdicts;
}

/**
 * Runs the tester over patterns. Throws `Unsupported` where a program is missing, `Error` where it
 * falls silent, or where the switch has a fault of its own.
 */
export async function runTester(options: TesterOptions): Promise<Verdicts> {
  needProgram("osken-manager", { requirement: "peer" });
  const app = "/usr/lib/python3/dist-packages/os_ken/tests/switch/tester.py";
  await Deno.stat(app).catch(() => {
    throw new Unsupported(app, { requirement: "peer" });
  });
  await using ovs = await startDummy();
  await ovs.call("revalidator/resume");
  const folder = ovs.socket.slice(0, ovs.socket.lastIndexOf("/"));
  const port = freePort();
  const protocol = `OpenFlow${options.version.replace(".", "")}`;
  await ovs.vsctl(
    ...bridgeWords("t", {
      ...{ id: TESTER, protocol: "OpenFlow13", port },
      how: (link) => `options:pstream=punix:${folder}/t${link}.sock`,
    }),
  );
  if (options.target === "ours") return await testOurs(ovs, port, options);
  await using manager = new Manager(port, options);
  await ovs.vsctl(
    ...bridgeWords("g", {
      ...{ id: TARGET, protocol, port },
      how: (link) => `options:stream=unix:${folder}/t${link}.sock`,
    }),
  );
  return await manager.end(options.silenceMs ?? 60_000);
}
