// SPDX-License-Identifier: Apache-2.0
/**
 * Packets and megaflows in the words of `ofproto/trace`.
 *
 * @module
 */
import { wide } from "../../../openflow/switch/packet_in.ts";
import type { Switch } from "../../../openflow/switch/switch.ts";
import { formatMatch } from "../../../openflow/text/match.ts";
import type { PortNames } from "../../../openflow/text/value.ts";
import { METADATA_WORDS } from "../../../openflow/translate/context.ts";
import {
  type FlowWords,
  flowWords,
  Nw,
  nwByte,
  Word,
} from "../../../openflow/wire/flow.ts";
import { ETH_IP, ETH_IPV6, isArp, isMpls } from "../../../openflow/wire/match.ts";
import { Port } from "../../../openflow/wire/port_number.ts";

/** Names of a switch's ports, and the numbers of names. */
export function namesOf({ ports }: Switch): PortNames {
  const all = [...ports.value.values()];
  return {
    name: (port) => all.find((one) => one.port === port)?.name,
    number: (name) => all.find((one) => one.name === name)?.port,
  };
}

/** What Open vSwitch prints before the kind of packet. */
const isBefore =
  /^(pkt_mark|recirc_id|dp_hash|conj_id|skb_priority|actset_output|ct_\w+)=/;

/** Puts a word before the kind of packet. */
function withWord(text: string, word: string): string {
  const parts = text.split(",").filter((part) => part !== "");
  const first = parts.findIndex((part) => !isBefore.test(part));
  parts.splice(first < 0 ? parts.length : first, 0, word);
  return parts.join(",");
}

/** Puts the priority of a packet where Open vSwitch has it. */
function withPriority(text: string, priority: number): string {
  if (priority === 0) return text;
  const parts = text.split(",");
  const first = parts.findIndex((part) =>
    !/^(pkt_mark|recirc_id|dp_hash|conj_id)=/.test(part)
  );
  parts.splice(first, 0, `skb_priority=0x${priority.toString(16)}`);
  return parts.join(",");
}

const FULL = 0xffffffff;
/** Headers that packets of a kind have, all of them. */
function headers(flow: FlowWords, mask: FlowWords): void {
  const type = flow[Word.dlType] as number;
  const all = (first: number, count = 1): void =>
    void mask.fill(FULL, first, first + count);
  const address = (first: number): void => {
    [mask[first], mask[first + 1]] = [0xffff, FULL];
  };
  if (isMpls(type)) return all(Word.mpls);
  if (isArp(type)) {
    all(Word.nwSrc, 2);
    address(Word.arpSha);
    address(Word.arpTha);
    mask[Word.nw] = (0xff << Nw.proto) >>> 0;
    return;
  }
  if (type !== ETH_IP && type !== ETH_IPV6) return;
  all(Word.nw);
  if (type === ETH_IP) all(Word.nwSrc, 2);
  else all(Word.ipv6Src, 9);
  if ((flow[Word.nw] as number) & 2) return;
  const proto = nwByte(flow, Nw.proto);
  if ([6, 17, 132].includes(proto)) all(Word.tp);
  if (proto === 6) all(Word.tcpFlags);
  if (proto === (type === ETH_IP ? 1 : 58)) all(Word.tp);
  const kind = (flow[Word.tp] as number) >>> 16;
  if (type !== ETH_IPV6 || proto !== 58 || kind !== 135 && kind !== 136) return;
  all(Word.ndTarget, 4);
  address(kind === 135 ? Word.arpSha : Word.arpTha);
}

/** A packet: what is zero of its metadata is left out. */
export function packetText(
  flow: FlowWords,
  priority: number,
  ports: PortNames | undefined,
): string {
  const mask = flowWords();
  for (let i = 0; i < Word.dlDst; i++) if (flow[i] !== 0) mask[i] = FULL;
  // Values of several words are said whole.
  for (const [first, count] of wide) {
    const isThere = mask.subarray(first, first + count).some((word) => word !== 0);
    if (isThere) mask.fill(FULL, first, first + count);
  }
  mask[Word.actsetOutput] = flow[Word.actsetOutput] === Port.unset ? 0 : FULL;
  if (flow[Word.inPort] === Port.none) mask[Word.inPort] = 0;
  for (let i = Word.dlDst as number; i <= Word.dlType; i++) mask[i] = FULL;
  mask[Word.dlDst] =
    mask[Word.dlSrc] =
    mask[Word.vlan] =
    mask[Word.dlType] =
      0xffff;
  headers(flow, mask);
  let text = formatMatch({ value: flow, mask }, 0x8000, { ports });
  if (flow[Word.inPort] === Port.none) {
    text = text.replace("vlan_tci=", "in_port=ANY,vlan_tci=");
  }
  if (flow[Word.recircId] !== 0) text = withWord(text, "eth");
  return withPriority(text, priority);
}

/** A megaflow: the bits of a packet that matter. */
export function megaflowText(
  value: FlowWords,
  seen: FlowWords,
  ports: PortNames | undefined,
): string {
  const mask = seen.slice();
  mask[Word.recircId] = FULL;
  mask[Word.inPort] = value[Word.inPort] === Port.none ? 0 : FULL;
  mask[Word.dlType] = 0xffff;
  const type = value[Word.dlType] as number;
  if (type === ETH_IP || type === ETH_IPV6) mask[Word.nw] = (mask[Word.nw] as number) | 3;
  // What the packet has become is none of its own.
  for (const word of METADATA_WORDS) mask[word] = 0;
  mask[Word.actsetOutput] = 0;
  return withWord(formatMatch({ value, mask }, 0x8000, { ports }), "eth");
}
