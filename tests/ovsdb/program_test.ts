// SPDX-License-Identifier: Apache-2.0
/** The daemon as a program, in the background, judged by ovs-appctl. */
import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import { readDaemonArguments } from "../../vswitch/arguments.ts";
import { DaemonLog } from "../../vswitch/log.ts";
import { PidFile } from "../../vswitch/pid_file.ts";
import { openNetdev } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import { root } from "../support/tree.ts";
import { until } from "../support/wait.ts";
import { say, Server } from "./server.ts";

/** A daemon in the background, and ovs-appctl for it. */
async function behind(
  body: (
    server: Server,
    appctl: (...args: string[]) => Promise<string>,
  ) => Promise<void>,
): Promise<void> {
  await using server = await Server.start();
  await (await openNetdev(`warm${Deno.pid}`)).close(); // Skips where there is no library.
  const { folder } = server;
  const started = await new Deno.Command(`${root}packaging/ovs-vswitchd`, {
    args: [
      ...[server.target, "--detach", "--no-chdir", `--pidfile=${folder}/v.pid`],
      ...[`--log-file=${folder}/v.log`, "-vconsole:off", "--enable-dummy=override"],
      ...["-vvconn", "--disable-system"],
    ],
    env: { OVS_RUNDIR: folder, NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder().decode(started.stderr);
  strictEqual(started.code, 0, text);
  const pid = Number(await Deno.readTextFile(`${folder}/v.pid`));
  const isThere = (): boolean => {
    try {
      Deno.statSync(`/proc/${pid}`);
      return true;
    } catch {
      return false;
    }
  };
  const appctl = async (...args: string[]): Promise<string> => {
    const target = `${folder}/ovs-vswitchd.${pid}.ctl`;
    const said = await say("ovs-appctl", ["-t", target, "-T", "20", ...args], folder);
    if (said.code !== 0) throw new Error(`${args.join(" ")}: ${said.stderr}`);
    return said.stdout;
  };
  try {
    await body(server, appctl);
    strictEqual(await appctl("exit", "--cleanup"), "");
    await until("the daemon to end", () => !isThere());
    const left = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
    deepStrictEqual(left, [".conf.db.~lock~", "conf.db", "db.ctl", "db.sock", "v.log"]);
  } finally {
    if (isThere()) Deno.kill(pid, "SIGKILL");
  }
}

Deno.test(
  "ovs-vswitchd: in the background, with its files, and gone when it is told to",
  skippable(() =>
    behind(async (server, appctl) => {
      match(await appctl("version"), /^ovs-vswitchd/);
      // By name: the file has the number, and a lock that tells that the process lives.
      await Deno.symlink(`${server.folder}/v.pid`, `${server.folder}/ovs-vswitchd.pid`);
      const byName = await say(
        "ovs-appctl",
        ["-t", "ovs-vswitchd", "version"],
        server.folder,
      );
      strictEqual(byName.code, 0, byName.stderr);
      await Deno.remove(`${server.folder}/ovs-vswitchd.pid`);
      match(await appctl("list-commands"), /ofproto\/trace/);
      await server.vs(
        ...[
          "add-br",
          "br0",
          "--",
          "add-port",
          "br0",
          "p1",
          "--",
          "add-port",
          "br0",
          "p2",
        ],
        ...["--", "add-br", "br1"],
      );
      strictEqual(await appctl("ofproto/list"), "br0\nbr1\n");
      match(
        await appctl("dpif/show"),
        /^dummy@ovs-dummy: hit:0 missed:0\n {2}br0:\n {4}br0 65534\/100: \(dummy-internal\)\n {4}p1 1\/1: \(dummy\)\n/,
      );
      match(await appctl("bridge/dump-flows", "br0"), /priority=0,actions=NORMAL\n$/);
      const address = "50540000000";
      const frame = (dst: string, src: string) =>
        `${address}${dst}${address}${src}1234${"00".repeat(46)}`;
      await appctl("netdev-dummy/receive", "p1", frame("2", "1"));
      await until(
        "an address to be learned",
        async () =>
          /1\s+0\s+50:54:00:00:00:01\s+\d/.test(await appctl("fdb/show", "br0")),
      );
      await appctl("revalidator/wait");
      match(await appctl("dpctl/dump-flows", "dummy@ovs-dummy"), /in_port\(1\)/);
      match(await appctl("dpif/dump-flows", "br0"), /in_port\(1\).*actions:2,100/);
      strictEqual(await appctl("dpif/dump-flows", "br1"), "");
      match(await appctl("fdb/stats-show", "br0"), /entries in the table: 1\//);
      match(await appctl("upcall/show"), /flows\s+: \(current 1\)/);
      match(await appctl("memory/show"), /ports:4 rules:2 udpif keys:1/);
      match(await appctl("coverage/show"), /datapath_missed/);
      await appctl("revalidator/purge");
      strictEqual(await appctl("dpif/dump-flows", "br0"), "");
      match(await appctl("bridge/dump-flows", "br0"), /n_packets=1, n_bytes=60/);
      match(await appctl("fdb/flush", "br0"), /flushed/);
      ok(!(await appctl("fdb/show", "br0")).includes("50:54"));
      await appctl("vlog/set", "bridge:file:dbg");
      match(await appctl("vlog/list"), /bridge\s+OFF\s+OFF\s+DBG/);
      await appctl("vlog/reopen");
      match(
        await Deno.readTextFile(`${server.folder}/v.log`),
        /\|\d{5}\|reconnect\|INFO\|/,
      );
    })
  ),
);

Deno.test(
  "ovs-vswitchd: ofproto/trace tells what becomes of a packet",
  skippable(() =>
    behind(async (server, appctl) => {
      await server.vs(
        ...[
          "add-br",
          "br0",
          "--",
          "add-port",
          "br0",
          "p1",
          "--",
          "add-port",
          "br0",
          "p2",
        ],
        ...["--", "set-fail-mode", "br0", "secure"],
      );
      const flows = [
        "table=0,priority=10,tcp,tp_dst=80,actions=mod_nw_ttl:9,resubmit(,1)",
        "table=1,in_port=1,actions=output:2",
      ];
      for (const flow of flows) {
        const said = await say("ovs-ofctl", ["add-flow", "br0", flow], server.folder);
        strictEqual(said.code, 0, said.stderr);
      }
      const text = "in_port=1,tcp,nw_src=1.1.1.1,nw_dst=2.2.2.2,nw_ttl=64,tp_dst=80";
      const said = await appctl("ofproto/trace", "br0", text);
      match(said, /^ 0\. tcp,tp_dst=80, priority 10$/m);
      match(said, /^ 1\. in_port=1, priority 32768$/m);
      match(said, /^Final flow: .*nw_ttl=9/m);
      match(said, /^Megaflow: recirc_id=0,eth,tcp,in_port=1,.*nw_ttl=64.*tp_dst=80$/m);
      match(said, /^Datapath actions: set\(ipv4\(ttl=9\)\),2$/m);
      const key =
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0806),arp(sip=1.1.1.1,tip=2.2.2.2,op=1,sha=50:54:00:00:00:01,tha=00:00:00:00:00:00)";
      match(await appctl("ofproto/trace", key), /Datapath actions: drop/);
    })
  ),
);

Deno.test(
  "ovs-vswitchd: its clock stands still and goes on by steps, and its log has what is said",
  skippable(() =>
    behind(async (server, appctl) => {
      await server.vs("add-br", "br0", "--", "set-fail-mode", "br0", "secure");
      const ofctl = async (...args: string[]): Promise<string> => {
        const { code, stdout, stderr } = await say("ovs-ofctl", args, server.folder);
        strictEqual(code, 0, stderr);
        return stdout;
      };
      strictEqual(await appctl("time/stop"), "");
      await ofctl("add-flow", "br0", "idle_timeout=30,in_port=1,actions=drop");
      await ofctl("add-flow", "br0", "hard_timeout=60,in_port=2,actions=drop");
      await ofctl("add-flow", "br0", "in_port=3,actions=drop");
      match(await appctl("time/warp", "20000", "5000"), /^warped/);
      match(await ofctl("dump-flows", "br0"), /duration=20s.*hard_timeout=60/);
      await appctl("time/warp", "20000", "5000");
      const left = await ofctl("--no-stats", "dump-flows", "br0");
      strictEqual(left.match(/in_port=\d/g)?.join(), "in_port=2,in_port=3");
      await appctl("time/warp", "30000");
      const last = await ofctl("--no-stats", "dump-flows", "br0");
      strictEqual(last.match(/in_port=\d/g)?.join(), "in_port=3");
      const log = await Deno.readTextFile(`${server.folder}/v.log`);
      match(
        log,
        /\|vconn\|DBG\|unix#\d+: received: OFPT_FLOW_MOD \(xid=0x\w+\): ADD in_port=3 act/,
      );
      match(
        log,
        /\|connmgr\|INFO\|br0<->unix#\d+: 1 flow_mods in the last 0 s \(1 adds\)/,
      );
    })
  ),
);

Deno.test("ovs-vswitchd: its command line", () => {
  const read = (...args: string[]) =>
    readDaemonArguments(args, { OVS_RUNDIR: "/r", OVS_LOGDIR: "/l" });
  deepStrictEqual(read(), {
    database: "unix:/r/db.sock",
    folder: "/r",
    logFolder: "/l",
    pidFile: undefined,
    logFile: undefined,
    controlSocket: undefined,
    detach: false,
    dummy: "no",
    levels: [],
  });
  const much = read(
    ...["tcp:h:1", "--detach", "--pidfile", "--log-file=/x", "-vofproto:file:dbg", "-v"],
    ...["--enable-dummy=override", "--user", "me", "--unixctl=c", "--no-chdir"],
  );
  strictEqual(much.database, "tcp:h:1");
  strictEqual(much.pidFile, "/r/ovs-vswitchd.pid");
  strictEqual(much.logFile, "/x");
  strictEqual(much.controlSocket, "/r/c");
  deepStrictEqual([much.dummy, much.levels], ["override", ["ofproto:file:dbg", "dbg"]]);
  throws(() => read("--odd"), /no option --odd/);
  throws(() => read("a", "b"), /one database/);
});

Deno.test("ovs-vswitchd: levels of its log", async () => {
  const path = await Deno.makeTempFile();
  {
    using log = new DaemonLog();
    log.open(path);
    log.set("console:off");
    log.set("file:warn");
    log.say("bridge", "info", "no");
    log.set("bridge:file:dbg");
    log.say("bridge", "dbg", "one\ntwo");
    log.say("ovsdb", "info", "no");
    log.set("ANY:file:info");
    log.say("bridge", "dbg", "no");
    throws(() => log.set("bridge:50%"), /no destination, level, or module/);
  }
  const text = await Deno.readTextFile(path);
  await Deno.remove(path);
  match(text, /^\S+Z\|0000\d\|bridge\|DBG\|one\\\w*two\n$/);
});

/** Tries to have a pid file, in a process of its own; what came of it. */
async function another(path: string): Promise<string> {
  const url = new URL("../../vswitch/pid_file.ts", import.meta.url).href;
  const text = `import { PidFile } from ${JSON.stringify(url)};
    try { using _ = new PidFile(${JSON.stringify(path)}); console.log("has it"); }
    catch (error) { console.log(error.message); }`;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", text],
    stderr: "inherit",
  }).output();
  return new TextDecoder().decode(stdout).trim();
}

Deno.test("ovs-vswitchd: its pid file is its own while it lives, whatever reads it", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/v.pid`;
  {
    using _file = new PidFile(path);
    throws(() => new PidFile(path), /a living process has it/);
    // Any descriptor that is closed ends the process's locks of fcntl(2).
    strictEqual(Deno.readTextFileSync(path), `${Deno.pid}\n`);
    match(await another(path), /a living process has it/);
    const { ino } = Deno.statSync(path);
    const lock = new RegExp(`POSIX +ADVISORY +WRITE ${Deno.pid} [0-9a-f:]+:${ino} `);
    await until(
      "the lock that Open vSwitch's programs look for",
      () => lock.test(Deno.readTextFileSync("/proc/locks")),
    );
  }
  strictEqual(await another(path), "has it");
  {
    using _file = new PidFile(path);
    Deno.removeSync(path);
    strictEqual(await another(path), "has it");
    Deno.writeTextFileSync(path, "7\n");
  }
  strictEqual(Deno.readTextFileSync(path), "7\n", "what is another's stays");
  await Deno.remove(folder, { recursive: true });
});

Deno.test(
  "ovs-vswitchd: a file of its own that cannot be is found before anything is made",
  skippable(async () => {
    await using server = await Server.start();
    await server.vs("--no-wait", "add-br", "br0");
    const { folder } = server;
    using _file = new PidFile(`${folder}/v.pid`);
    await Deno.mkdir(`${folder}/taken.ctl`);
    const before = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
    for (
      const args of [["--pidfile=v.pid"], ["--unixctl=taken.ctl", "--pidfile=w.pid"]]
    ) {
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          ...["run", "-A", "--quiet", "--no-check", `${root}switchd.ts`, server.target],
          ...["--enable-dummy=override", ...args],
        ],
        env: { OVS_RUNDIR: folder },
      }).output();
      const said = new TextDecoder().decode(stderr);
      strictEqual(code, 1);
      match(said, /^\S+\/(v\.pid|taken\.ctl)\b.*\n$/, "one line");
      const left = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
      deepStrictEqual(left, before);
    }
  }),
);
