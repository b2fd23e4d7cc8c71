// SPDX-License-Identifier: Apache-2.0
/**
 * An unmodified ovn-controller drives the daemon: logical switches, a router with NAT, ports, ACLs,
 * a load balancer, another host.
 * At any error of OpenFlow it would connect again, for ever.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { portNo } from "../../providers/ids.ts";
import { Daemon } from "../../vswitch/daemon.ts";
import { openNetdev } from "../support/netdev.ts";
import { needProgram, skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";
import { say, Server } from "./server.ts";

/** Programs that end with the test. */
class Programs implements AsyncDisposable {
  readonly #children: Deno.ChildProcess[] = [];
  readonly #env: Record<string, string>;

  constructor(folder: string) {
    const names = [
      "OVS_RUNDIR",
      "OVN_RUNDIR",
      "OVS_LOGDIR",
      "OVN_LOGDIR",
      "OVN_SYSCONFDIR",
    ];
    this.#env = Object.fromEntries(names.map((name) => [name, folder]));
  }

  start(name: string, ...args: string[]): void {
    const child = new Deno.Command(needProgram(name, { requirement: "peer" }), {
      args: [...args, "-vconsole:off"],
      env: this.#env,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    this.#children.push(child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.reverse()) {
      child.kill("SIGTERM");
      await child.status;
    }
  }
}

const bytes = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.fromHex(text.replaceAll(" ", "").padEnd(120, "0"));

Deno.test(
  "ovn: ovn-controller installs its flows without an error, and packets go by them",
  skippable(async () => {
    const northd = needProgram("ovn-northd", { requirement: "peer" });
    for (const name of ["ovn-controller", "ovn-nbctl"]) {
      needProgram(name, { requirement: "peer" });
    }
    await using server = await Server.start();
    await (await openNetdev(`warm${Deno.pid}`)).close(); // Skips where there is no library.
    const { folder, target } = server;
    const schemas = northd.replace(/bin\/ovn-northd$/, "share/ovn");
    for (const db of ["nb", "sb"]) {
      const args = ["create", `${folder}/${db}.db`, `${schemas}/ovn-${db}.ovsschema`];
      strictEqual((await say("ovsdb-tool", args)).code, 0);
    }
    await using daemon = new Daemon({
      database: target,
      folder,
      dummy: "override",
      log: () => {},
    });
    await using programs = new Programs(folder);
    for (const db of ["nb", "sb"]) {
      programs.start(
        "ovsdb-server",
        ...[`${folder}/${db}.db`, `--remote=punix:${folder}/${db}.sock`, "--no-chdir"],
        `--unixctl=${folder}/${db}.ctl`,
      );
    }
    const [north, south] = ["nb", "sb"].map((db) => `unix:${folder}/${db}.sock`);
    programs.start(
      "ovn-northd",
      ...[`--ovnnb-db=${north}`, `--ovnsb-db=${south}`, `--unixctl=${folder}/n.ctl`],
    );
    await server.vs(
      ...["set", "Open_vSwitch", ".", "external_ids:system-id=c1"],
      ...[`external_ids:ovn-remote=${south}`, "external_ids:ovn-encap-type=geneve"],
      "external_ids:ovn-encap-ip=127.0.0.1",
    );
    programs.start(
      "ovn-controller",
      target,
      `--log-file=${folder}/ovn.log`,
      "--no-chdir",
    );
    const port = (name: string, last: number) => [
      ...["--", "lsp-add", "sw0", name, "--", "lsp-set-addresses", name],
      `50:54:00:00:00:0${last} 10.0.0.${last}`,
    ];
    const said = await until("the northbound database", async () => {
      const args = ["--may-exist", "ls-add", "sw0", ...port("a", 1), ...port("b", 2)];
      args.push("--", "lr-add", "r0", "--", "lrp-add", "r0", "rp0", "00:00:00:00:ff:01");
      args.push("10.0.0.254/24", "--", "lsp-add", "sw0", "sp0", "--", "lsp-set-type");
      args.push("sp0", "router", "--", "lsp-set-options", "sp0", "router-port=rp0");
      args.push("--", "lsp-set-addresses", "sp0", "router", "--", "acl-add", "sw0");
      args.push("to-lport", "1001", "ip4 && udp.dst == 9", "drop");
      // A load balancer learns flows, a gateway needs conjunctions, a log a meter.
      args.push("--", "lb-add", "lb0", "10.0.0.100:80", "10.0.0.1:80,10.0.0.2:80");
      args.push("--", "ls-lb-add", "sw0", "lb0", "--", "ls-add", "pub", "--", "lrp-add");
      args.push(
        "r0",
        "rp1",
        "00:00:00:00:ff:02",
        "172.16.0.1/24",
        "--",
        "lsp-add",
        "pub",
      );
      args.push("sp1", "--", "lsp-set-type", "sp1", "router", "--", "lsp-set-options");
      args.push("sp1", "router-port=rp1", "--", "lsp-set-addresses", "sp1", "router");
      args.push("--", "lrp-set-gateway-chassis", "rp1", "c1", "--", "lr-nat-add", "r0");
      args.push("snat", "172.16.0.1", "10.0.0.0/24", "--", "lsp-set-port-security", "a");
      args.push("50:54:00:00:00:01 10.0.0.1", "--", "meter-add", "m0", "drop", "10");
      args.push(
        "pktps",
        "5",
        "--",
        "--log",
        "--meter=m0",
        "acl-add",
        "sw0",
        "from-lport",
      );
      args.push("900", "udp", "allow-related");
      const result = await say("ovn-nbctl", [`--db=${north}`, "--timeout=20", ...args]);
      return result.code === 0 ? result : undefined;
    });
    strictEqual(said.stderr, "");
    await until("the bridge of OVN", () => daemon.bridges.has("br-int"));
    for (const [device, name] of [["v1", "a"], ["v2", "b"]] as const) {
      await server.vs(
        ...["add-port", "br-int", device, "--", "set", "Interface", device, "type=dummy"],
        `external_ids:iface-id=${name}`,
      );
    }
    await until("both ports to be installed", async () => {
      const ids = await server.vs("--columns=external_ids", "list", "Interface");
      return ids.match(/ovn-installed="?true/g)?.length === 2;
    });
    const dp = daemon.bridges.get("br-int")?.backing.dp;
    ok(dp !== undefined);
    const no = (name: string) => dp.ports.get(name)?.no ?? portNo(0);
    const [one, two] = ["505400000001", "505400000002"];
    const arp = "0001080006040001";
    dp.ports.inject?.(
      no("v1"),
      bytes(`ffffffffffff ${one} 0806 ${arp} ${one} 0a000001 000000000000 0a000002`),
    );
    const answer = await until("the answer", () => dp.ports.collect?.(no("v1")));
    match(answer.toHex(), new RegExp(`^${one}${two}0806.{12}0002${two}0a000002${one}`));
    const udp = (port: string) =>
      bytes(
        `${two} ${one} 0800 4500001c00010000401166ce0a0000010a000002 0001${port}00080000`,
      );
    dp.ports.inject?.(no("v1"), udp("0009"));
    dp.ports.inject?.(no("v1"), udp("0008"));
    const got = await until("the packet", () => dp.ports.collect?.(no("v2")));
    deepStrictEqual(got, udp("0008"), "the ACL drops the other");
    // Another host, to which a tunnel leads.
    const sb = ["--timeout=20", `--db=${south}`];
    await say("ovn-sbctl", [...sb, "chassis-add", "c2", "geneve", "127.0.0.2"]);
    await until(
      "the tunnel",
      async () => /ovn-c2-0.*geneve/s.test(await server.vs("show")),
    );
    // It tells that all of it is in force.
    const sync = [`--db=${north}`, "--timeout=20", "--wait=hv", "sync"];
    strictEqual((await say("ovn-nbctl", sync)).code, 0);
    // What it says of the switch: no refusal of any message, and none of Geneve's options.
    const log = await Deno.readTextFile(`${folder}/ovn.log`);
    deepStrictEqual(
      log.split("\n").filter((line) => /OpenFlow error|refused/.test(line)),
      [],
    );
  }),
);
