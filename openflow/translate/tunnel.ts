// SPDX-License-Identifier: Apache-2.0
/**
 * Tunnels: what flows say of the outer headers of packets that are sent into one.
 *
 * @module
 */
import { formatIpv4, formatIpv6 } from "../../providers/codec/address.ts";
import { set } from "../../providers/odp/constructors.ts";
import type { TunnelKey } from "../../providers/types_key.ts";
import type { Action } from "../../providers/types_action.ts";
import { fieldOfName } from "../wire/field.ts";
import { readBits, Word } from "../wire/flow.ts";
import type { TunnelPort } from "./tunnel_port.ts";
import type { Way } from "./way.ts";

const TTL = 64;

const [id, source, target, source6, target6] = [
  ...["tun_id", "tun_src", "tun_dst", "tun_ipv6_src", "tun_ipv6_dst"],
].map(fieldOfName) as [Field, Field, Field, Field, Field];
type Field = ReturnType<typeof fieldOfName>;

function bytesOf(flow: Way["now"]["flow"], word: number, count: number): Uint8Array {
  const bytes = new Uint8Array(4 * count);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i++) view.setUint32(4 * i, flow[word + i] as number);
  return bytes;
}

/**
 * The action that has the datapath put outer headers on as a flow says; undefined where nothing
 * says where the packet is to go.
 */
export function tunnelAction(
  way: Way,
  { remote, dontFragment }: TunnelPort,
): Action | undefined {
  const { flow } = way.now;
  for (const field of [id, source, target, source6, target6]) way.see(field);
  const has4 = flow[Word.tunDst] !== 0;
  const has6 = readBits(flow, target6) !== 0n;
  const is6 = remote === undefined ? has6 && !has4 : remote.includes(":");
  if (remote === undefined && !has4 && !has6) return undefined;
  const from = is6
    ? readBits(flow, source6) === 0n
      ? {}
      : { ipv6Src: formatIpv6(bytesOf(flow, Word.tunIpv6Src, 4), 0) }
    : flow[Word.tunSrc] === 0
    ? {}
    : { src: formatIpv4(bytesOf(flow, Word.tunSrc, 1), 0) };
  const to = is6
    ? { ipv6Dst: remote ?? formatIpv6(bytesOf(flow, Word.tunIpv6Dst, 4), 0) }
    : { dst: remote ?? formatIpv4(bytesOf(flow, Word.tunDst, 1), 0) };
  const geneve = way.pipeline.tlv.optionsOf(flow, way.written);
  const tunnel: TunnelKey = {
    id: readBits(flow, id),
    ...from,
    ...to,
    ttl: TTL,
    ...(dontFragment && { dontFragment: true }),
    ...(geneve.length > 0 && { geneve }),
  };
  return set({ tunnel });
}
