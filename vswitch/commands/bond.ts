// SPDX-License-Identifier: Apache-2.0
/**
 * `bond/…`: what bonds are, and which of their ports take which packets.
 *
 * @module
 */
import { CommandError } from "../../control/command_error.ts";
import { hashOfStation } from "../../openflow/translate/forward/bond.ts";
import { clockMs } from "../../policy/clock.ts";
import type { Bond, Member } from "../bonds/bond.ts";
import type { Bonds } from "../bonds/bonds.ts";
import { portIdOf } from "../bonds/lacp.ts";
import { type LacpInfo, LacpState } from "../bonds/lacp_pdu.ts";
import { type Add, type ServedDaemon, sortedBridges } from "./served.ts";

/** Adds them. */
export function bondCommands(add: Add, { daemon }: ServedDaemon): void {
  const all = (): { bonds: Bonds; bond: Bond }[] =>
    sortedBridges(daemon).flatMap(({ bonds }) =>
      [...bonds.all()].map((bond) => ({ bonds, bond }))
    ).sort((a, b) => a.bond.config.name < b.bond.config.name ? -1 : 1);
  const named = (name: string): { bonds: Bonds; bond: Bond } => {
    const found = all().find(({ bond }) => bond.config.name === name);
    if (found === undefined) throw new CommandError("no such bond");
    return found;
  };
  const memberOf = (bond: Bond, name: string): Member => {
    const found = bond.members.get(name);
    if (found === undefined) throw new CommandError("no such member");
    return found;
  };
  add("bond/list", "", [0, 0], () =>
    "bond\ttype\trecircID\tmembers\n" +
    all().map(({ bond: { config: { name, mode }, members } }) =>
      `${name}\t${mode}\t0\t${[...members.keys()].join(", ")}\n`
    ).join(""));
  add(
    "bond/show",
    "[port]",
    [0, 1],
    ([name]) =>
      (name === undefined ? all() : [named(name)]).map(({ bond }) => bondText(bond))
        .join(""),
  );
  add("lacp/show", "[port]", [0, 1], ([name]) => {
    const some = name === undefined ? all() : [named(name)];
    return some.map(({ bond }) => lacpText(bond)).join("");
  });
  add("bond/migrate", "port hash member", [3, 3], ([name = "", text = "", to = ""]) => {
    const { bond } = named(name);
    if (bond.config.mode === "active-backup") throw new CommandError("not an SLB bond");
    if (!/^\d{1,9}$/.test(text)) throw new CommandError("bad hash");
    const member = memberOf(bond, to);
    if (!member.isEnabled) throw new CommandError("cannot migrate to disabled member");
    bond.migrate(Number(text), member);
    return "migrated";
  });
  for (const what of ["member", "slave"]) {
    add(`bond/set-active-${what}`, "port member", [2, 2], ([name = "", of = ""]) => {
      const { bonds, bond } = named(name);
      const member = memberOf(bond, of);
      if (!member.isEnabled) throw new CommandError("cannot make disabled member active");
      if (bond.active === member) return "no change";
      bond.activate(member, bonds.host);
      return "done";
    });
    for (const isOn of [true, false]) {
      const verb = isOn ? "enable" : "disable";
      add(`bond/${verb}-${what}`, "port member", [2, 2], ([name = "", of = ""]) => {
        const { bonds, bond } = named(name);
        bond.enable(memberOf(bond, of), isOn, bonds.host);
        return `${verb}d`;
      });
    }
  }
  add(
    "bond/hash",
    "mac [vlan] [basis]",
    [1, 3],
    ([mac = "", vlan = "0", basis = "0"]) => {
      const digits = mac.replaceAll(":", "");
      if (!/^[0-9a-f]{12}$/i.test(digits)) throw new CommandError("invalid mac");
      if (!/^\d{1,4}$/.test(vlan)) throw new CommandError("invalid vlan");
      if (!/^\d{1,10}$/.test(basis)) throw new CommandError("invalid basis");
      return `${hashOfStation(BigInt(`0x${digits}`), Number(vlan), Number(basis))}`;
    },
  );
}

const stateNames = Object.entries(LacpState);

function lacpText({ config: { name }, lacp }: Bond): string {
  if (lacp === undefined) return "";
  const { config: { active, fast, sysPriority }, members, negotiated, key } = lacp;
  const end = (who: string, info: LacpInfo): string[] => [
    "",
    `  ${who} sys_id: ${info.sysId}`,
    `  ${who} sys_priority: ${info.sysPriority}`,
    `  ${who} port_id: ${info.portId}`,
    `  ${who} port_priority: ${info.portPriority}`,
    `  ${who} key: ${info.key}`,
    [
      `  ${who} state:`,
      ...stateNames.flatMap(([word, bit]) => info.state & bit ? word : []),
    ]
      .join(" "),
  ];
  const sorted = [...members.values()].sort((a, b) => a.name < b.name ? -1 : 1);
  return [
    `---- ${name} ----`,
    `  status: ${active ? "active" : "passive"}${negotiated ? " negotiated" : ""}`,
    `  sys_id: ${lacp.sysId}`,
    `  sys_priority: ${sysPriority}`,
    `  aggregation key: ${key ?? "none"}`,
    `  lacp_time: ${fast ? "fast" : "slow"}`,
    ...sorted.flatMap((member) => [
      "",
      `member: ${member.name}: ${member.status} ${
        member.attached ? "attached" : "detached"
      }`,
      `  port_id: ${portIdOf(member)}`,
      `  port_priority: ${member.config.portPriority}`,
      `  may_enable: ${lacp.mayEnable(member.name)}`,
      ...end("actor", lacp.actorOf(member)),
      ...end("partner", member.partner),
    ]),
    "",
  ].join("\n");
}

function bondText(bond: Bond): string {
  const { config, members, active, activeMac, nextBalanceMs, counters } = bond;
  const { name, mode, basis, updelay, downdelay, primary } = config;
  const nowMs = clockMs();
  const isBalanced = mode !== "active-backup" && config.rebalanceMs > 0;
  const { lacp, fallsBack } = bond.now.value;
  const byHash = mode === "balance-tcp" && lacp === "negotiated";
  const lines = [
    `---- ${name} ----`,
    `bond_mode: ${mode}`,
    `bond may use recirculation: ${byHash ? "yes, Recirc-ID : 1" : "no, Recirc-ID : -1"}`,
    `bond-hash-basis: ${basis}`,
    "lb_output action: disabled, bond-id: -1",
    ...(mode === "balance-slb" ? [`all members active: ${config.isAllActive}`] : []),
    `updelay: ${updelay} ms`,
    `downdelay: ${downdelay} ms`,
    ...(isBalanced ? [`next rebalance: ${nextBalanceMs - nowMs} ms`] : []),
    `lacp_status: ${lacp}`,
    `lacp_fallback_ab: ${fallsBack}`,
    `active-backup primary: ${primary ?? "<none>"}` +
    (primary === undefined || members.has(primary) ? "" : " (no such member)"),
    `active member mac: ${activeMac}(${active?.name ?? "none"})`,
  ];
  const sorted = [...members.values()].sort((a, b) => a.name < b.name ? -1 : 1);
  for (const member of sorted) {
    lines.push("", `member ${member.name}: ${member.isEnabled ? "enabled" : "disabled"}`);
    if (member === active) lines.push("  active member");
    if (member.changesMs !== undefined) {
      const what = member.isEnabled ? "downdelay" : "updelay";
      lines.push(`  ${what} expires in ${member.changesMs - nowMs} ms`);
    }
    lines.push(`  may_enable: ${member.mayEnable}`);
    if (!isBalanced) continue;
    for (const hash of bond.hashesOf(member.name)) {
      const load = Math.floor((counters[hash]?.bytes ?? 0) / 1024);
      if (load > 0) lines.push(`  hash ${hash}: ${load} kB load`);
    }
  }
  return `${lines.join("\n")}\n\n`;
}
