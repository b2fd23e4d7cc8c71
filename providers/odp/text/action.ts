// SPDX-License-Identifier: Apache-2.0
/**
 * Prints actions as `ovs-dpctl dump-flows` and `parse-actions` do.
 *
 * @module
 */

import type { Action, SetAction, UserspaceAction } from "../../types.ts";
import { actionLine, encodeActions } from "../action.ts";
import { walk } from "../attributes.ts";
import { written } from "../../codec/writer.ts";
import { ENCAP, keyTable } from "../key.ts";
import { nshKey } from "../payload/nsh.ts";
import { printForm } from "./action_form.ts";
import { printUserdata } from "./cookie.ts";
import { printCt } from "./ct.ts";
import { hexDump } from "./fields.ts";
import { printAttribute } from "./key.ts";
import { printNsh } from "./nsh.ts";
import { printHeader } from "./tunnel_push.ts";
import type { PortNames } from "./scanner.ts";

/** Text of a list of actions; `drop` when it is empty. */
export function printActions(actions: readonly Action[], ports?: PortNames): string {
  if (actions.length === 0) return "drop";
  const last = actions.length - 1;
  return actions.map((action, i) => {
    // Open vSwitch prints an explicit drop as it does an empty list.  Behind other actions it is
    // read back; anywhere else its reason tells it apart.
    if (action.type === "drop" && action.reason === 0 && i === last && i > 0) {
      return "drop";
    }
    return printAction(action, ports);
  }).join(",");
}

function printAction(action: Action, ports: PortNames | undefined): string {
  const port = (no: number) => ports?.name(no) ?? `${no}`;
  const nested = (actions: readonly Action[]) => printActions(actions, ports);
  switch (action.type) {
    case "output":
      return port(action.port);
    case "userspace":
      return printUserspace(action, ports);
    case "set":
      return `set(${printSet(action)})`;
    case "sample":
      return `sample(sample=${percent(action.probability)}%,` +
        `actions(${nested(action.actions)}))`;
    case "hash":
      return `hash(${printHash(action.algorithm, action.basis)})`;
    case "ct":
      return printCt(action);
    case "clone":
      return `clone(${nested(action.actions)})`;
    case "pushEth":
      return `push_eth(src=${action.src},dst=${action.dst})`;
    case "pushNsh": {
      const nest = written((writer) => nshKey.write(writer, action.nsh, "push_nsh"));
      return `push_nsh(${printNsh(nest, undefined)})`;
    }
    case "checkPktLen":
      return `check_pkt_len(size=${action.size},gt(${nested(action.greater)}),` +
        `le(${nested(action.lessEqual)}))`;
    case "decTtl":
      return `dec_ttl(le_1(${nested(action.actions)}))`;
    case "drop":
      return `drop(${action.reason})`;
    case "psample": {
      const cookie = action.cookie ? `,cookie=0x${hexDump(action.cookie)}` : "";
      return `psample(group=${action.group}${cookie})`;
    }
    case "tunnelPush":
      return `tnl_push(tnl_port(${port(action.tunnelPort)}),` +
        `${printHeader(action.header, action.tunnelType)},` +
        `out_port(${port(action.outPort)}))`;
    case "unknown": {
      const bytes = action.bytes.length > 0 ? `(${hexDump(action.bytes, " ")})` : "";
      return `action${action.id & 0x3fff}${bytes}`;
    }
    default:
      return printForm(
        { type: action.type, line: actionLine(action.type) },
        action,
        ports,
      );
  }
}

/** One decimal, so that a share of less than 0.05 % comes back as 0. */
function percent(probability: number): string {
  return (probability / 0xffffffff * 100).toFixed(1);
}

function printHash(algorithm: "l4" | "symL4" | number, basis: number): string {
  if (algorithm === "l4") return `l4(${basis})`;
  if (algorithm === "symL4") return `sym_l4(${basis})`;
  return `Unknown hash algorithm(${algorithm})`;
}

function printUserspace(action: UserspaceAction, ports: PortNames | undefined): string {
  let text = `userspace(pid=${action.portId}`;
  if (action.userdata) text += `,${printUserdata(action.userdata, ports)}`;
  if (action.actions) text += ",actions";
  if (action.tunnelOutPort !== undefined) {
    const name = ports?.name(action.tunnelOutPort) ?? action.tunnelOutPort;
    text += `,tunnel_out_port=${name}`;
  }
  return `${text})`;
}

/** Prints the key attribute inside a set, from the bytes it has. */
function printSet(action: SetAction): string {
  const bytes = encodeActions([action]);
  const nest = bytes.subarray(4, (bytes[0] as number) | (bytes[1] as number) << 8);
  const options = { verbose: true, ports: undefined };
  let text = "";
  walk(nest, 0, nest.length, "set", (id, at, size) => {
    const payload = nest.subarray(at, at + size);
    if (id === ENCAP && size > 0) {
      // No datapath sets what is behind a tag, and nothing has checked these bytes.
      text = `key${ENCAP}(${hexDump(payload, " ")})`;
    } else if (action.mask === undefined) {
      text = printAttribute(id, payload, undefined, options);
    } else if (id === keyTable.nsh.id) {
      text = `nsh(${printMaskedNsh(payload)})`;
    } else {
      const half = size / 2;
      const value = payload.subarray(0, half);
      const mask = payload.subarray(half);
      text = printAttribute(id, value, mask, { ...options, verbose: false });
    }
  });
  return text;
}

function printMaskedNsh(nest: Uint8Array): string {
  const halves = [0, 1].map((half) =>
    written((writer) => {
      walk(nest, 0, nest.length, "nsh", (id, at, size) => {
        const from = at + half * size / 2;
        writer.attribute(id, nest.subarray(from, from + size / 2), "nsh");
      });
    })
  );
  return printNsh(halves[0] as Uint8Array, halves[1]);
}
