// SPDX-License-Identifier: Apache-2.0
/**
 * Actions and instructions written in the notation of ovs-ofctl(8).
 *
 * @module
 */
import { hexByte } from "../../providers/codec/address.ts";
import type { Instructions, ModName, OfAction } from "../wire/action.ts";
import { NO_TABLE } from "../wire/action.ts";
import { modField } from "../wire/actions/action_write.ts";
import { ones } from "../wire/flow.ts";
import { allOf } from "../wire/match.ts";
import { Port } from "../wire/port_number.ts";
import { formatBundle, formatMultipath, formatSample } from "./choice.ts";
import { formatCt, formatNat } from "./ct.ts";
import { formatLearn } from "./learn.ts";
import { formatSubField } from "./subfield.ts";
import { alternateHex, formatPort, formatValue, hex, type PortNames } from "./value.ts";

/** Names of reasons for packet-ins. */
export const reasonNames: readonly string[] = [
  "no_match",
  "action",
  "invalid_ttl",
  "action_set",
  "group",
  "packet_out",
];

function formatLoad(action: OfAction & { readonly type: "setField" }): string {
  const { field, value, mask } = action;
  const parts: string[] = [];
  let at = 0;
  for (let rest = mask; rest !== 0n;) {
    while ((rest & 1n) === 0n) {
      rest >>= 1n;
      at++;
    }
    let bits = 0;
    while ((rest & 1n) === 1n && bits < 64) {
      rest >>= 1n;
      bits++;
    }
    const part = value >> BigInt(at) & ones(bits);
    const to = formatSubField({ field, offset: at, bits });
    parts.push(`load:${alternateHex(part)}->${to}`);
    at += bits;
  }
  return parts.join(",");
}

function formatMod(name: ModName, value: bigint, pushes: boolean): string {
  switch (name) {
    case "vlan_vid":
    case "vlan_pcp":
      return `${pushes ? "mod" : "set"}_${name}:${value}`;
    case "mpls_label":
    case "mpls_tc":
    case "mpls_ttl":
      return `set_${name}(${value})`;
    case "dl_src":
    case "dl_dst":
    case "nw_src":
    case "nw_dst": {
      const field = modField(name);
      return `mod_${name}:${field && formatValue(field, value, allOf(field))}`;
    }
    default:
      return `mod_${name}:${value}`;
  }
}

function formatController(action: OfAction & { readonly type: "controller" }): string {
  const { maxLength, controllerId, reason, userdata, meter, pause = false } = action;
  const isPlain = reason === 1 && controllerId === 0 && userdata === undefined &&
    meter === undefined && !pause;
  if (isPlain) return `CONTROLLER:${maxLength}`;
  const parts: string[] = [];
  if (reason !== 1) parts.push(`reason=${reasonNames[reason] ?? reason}`);
  if (maxLength !== 0xffff) parts.push(`max_len=${maxLength}`);
  if (controllerId !== 0) parts.push(`id=${controllerId}`);
  if (userdata !== undefined && userdata.length > 0) {
    parts.push(`userdata=${dotted(userdata)}`);
  }
  if (pause) parts.push("pause");
  if (meter !== undefined) parts.push(`meter_id=${meter}`);
  return `controller(${parts.join(",")})`;
}

function dotted(bytes: Uint8Array): string {
  return [...bytes].map((byte) => hexByte[byte]).join(".");
}

/** Writes an action. */
export function formatAction(action: OfAction, ports?: PortNames): string {
  switch (action.type) {
    case "output": {
      const { port, maxLength } = action;
      if (port < Port.max) return `output:${formatPort(port, ports)}`;
      const name = formatPort(port, ports);
      return port === Port.controller ? `${name}:${maxLength}` : name;
    }
    case "controller":
      return formatController(action);
    case "enqueue":
      return `enqueue:${formatPort(action.port, ports)}:${action.queue}`;
    case "outputReg":
      return `output:${formatSubField(action.src)}`;
    case "outputTrunc":
      return `output(port=${formatPort(action.port, ports)},max_len=${action.maxLength})`;
    case "group":
      return `group:${action.group}`;
    case "setQueue":
      return `set_queue:${action.queue}`;
    case "popQueue":
      return "pop_queue";
    case "setField":
      if (action.form === "load") return formatLoad(action);
      return `set_field:${
        formatValue(action.field, action.value, action.mask, ports)
      }->` +
        (action.field.name === "in_port_oxm" ? "in_port" : action.field.name);
    case "mod":
      return formatMod(action.name, action.value, action.pushes ?? false);
    case "move":
      return `move:${formatSubField(action.src)}->${formatSubField(action.dst)}`;
    case "push":
    case "pop":
      return `${action.type}:${formatSubField(action.of)}`;
    case "pushVlan":
      return `push_vlan:0x${action.etherType.toString(16).padStart(4, "0")}`;
    case "popVlan":
      return action.strips ? "strip_vlan" : "pop_vlan";
    case "pushMpls":
    case "popMpls": {
      const verb = action.type === "pushMpls" ? "push" : "pop";
      return `${verb}_mpls:0x${action.etherType.toString(16).padStart(4, "0")}`;
    }
    case "decTtl":
      return action.ids === undefined ? "dec_ttl" : `dec_ttl(${action.ids.join(",")})`;
    case "decMplsTtl":
      return "dec_mpls_ttl";
    case "resubmit": {
      const { port, table, isOfConnection = false } = action;
      if (port !== Port.inPort && table === NO_TABLE) {
        return `resubmit:${formatPort(port, ports)}`;
      }
      const from = port === Port.inPort ? "" : formatPort(port, ports);
      const to = table === NO_TABLE ? "" : table;
      return `resubmit(${from},${to}${isOfConnection ? ",ct" : ""})`;
    }
    case "setTunnel":
      return `set_tunnel${action.is64 || action.id > 0xffffffffn ? "64" : ""}:` +
        alternateHex(action.id);
    case "clone":
      return `clone(${formatActions(action.actions, ports)})`;
    case "note":
      return `note:${dotted(action.bytes)}`;
    case "exit":
      return "exit";
    case "finTimeout": {
      const { idle, hard } = action;
      const parts = Object.entries({ idle_timeout: idle, hard_timeout: hard })
        .filter(([, seconds]) => seconds !== 0);
      return `fin_timeout(${parts.map((part) => part.join("=")).join(",")})`;
    }
    case "ctClear":
      return "ct_clear";
    case "debugRecirc":
      return "debug_recirc";
    case "debugSlow":
      return "debug_slow";
    case "ct":
      return formatCt(action, (list) => formatActions(list, ports));
    case "nat":
      return formatNat(action);
    case "conjunction":
      return `conjunction(${action.id},${action.clause + 1}/${action.clauses})`;
    case "learn":
      return formatLearn(action, ports);
    case "checkPktLarger":
      return `check_pkt_larger(${action.length})->${formatSubField(action.dst)}`;
    case "bundle":
      return formatBundle(action, ports);
    case "multipath":
      return formatMultipath(action);
    case "sample":
      return formatSample(action, ports);
    case "deleteField":
      return `delete_field:${action.field.name}`;
    case "meter":
      return `meter:${action.meter}`;
  }
}

/** Writes a list of actions; none is `drop`. */
export function formatActions(list: readonly OfAction[], ports?: PortNames): string {
  return list.length === 0
    ? "drop"
    : list.map((action) => formatAction(action, ports)).join(",");
}

/** Writes instructions as Open vSwitch does: in the order in which they happen. */
export function formatInstructions(what: Instructions, ports?: PortNames): string {
  const parts: string[] = [];
  const { meter, apply = [], clear, write, metadata, goto } = what;
  if (meter !== undefined) parts.push(`meter:${meter}`);
  for (const action of apply) parts.push(formatAction(action, ports));
  if (clear) parts.push("clear_actions");
  if (write !== undefined) parts.push(`write_actions(${formatActions(write, ports)})`);
  if (metadata !== undefined) {
    const { value, mask } = metadata;
    const masked = mask === ones(64) ? "" : `/${hex(mask)}`;
    parts.push(`write_metadata:${alternateHex(value)}${masked}`);
  }
  if (goto !== undefined) parts.push(`goto_table:${goto}`);
  return parts.length === 0 ? "drop" : parts.join(",");
}
