// SPDX-License-Identifier: Apache-2.0
/**
 * Connections that a controller has forgotten.
 *
 * @module
 */
import { formatIpv4, formatIpv6 } from "../../providers/codec/address.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { DatapathError } from "../../providers/errors.ts";
import { ctZone } from "../../providers/ids.ts";
import { OfError } from "../wire/error.ts";
import type { CtFlush, TupleFilter } from "../wire/message.ts";

/** Which connections a datapath forgets, and parts of one of their tuples. */
type ConnFilter = NonNullable<
  Parameters<NonNullable<Datapath["conntrack"]>["flush"]>[0]
>;
type Parts = NonNullable<ConnFilter["orig"]>;

function address(value: bigint, family: 4 | 6): string {
  const size = family === 4 ? 4 : 16;
  const bytes = Uint8Array.fromHex(value.toString(16).padStart(2 * size, "0"));
  return family === 4 ? formatIpv4(bytes, 0) : formatIpv6(bytes, 0);
}

/** The parts of a tuple that are meant, in the words of datapaths. */
function partsOf(
  { src, dst, ...rest }: TupleFilter,
  family: 4 | 6,
  proto: number,
): Parts {
  return {
    ...rest,
    ...(src !== undefined && { src: address(src, family) }),
    ...(dst !== undefined && { dst: address(dst, family) }),
    ...(proto !== 0 && { proto }),
  };
}

/** Forgets connections. Throws {@linkcode OfError} where the datapath tracks none. */
export function flushConnections(dp: Datapath, message: CtFlush): void {
  const { zone, proto, family = 4, orig, reply } = message;
  const facet = dp.conntrack;
  if (facet === undefined) {
    throw new OfError("OFPBRC_EPERM", "no connections are tracked");
  }
  const [first, back] = [partsOf(orig, family, proto), partsOf(reply, family, proto)];
  const names = [orig, reply].flatMap(Object.keys);
  try {
    facet.flush({
      ...(zone !== undefined && { zone: ctZone(zone) }),
      ...((Object.keys(orig).length > 0 || proto !== 0 && names.length === 0) &&
        { orig: first }),
      ...(Object.keys(reply).length > 0 && { reply: back }),
    });
  } catch (error) {
    if (error instanceof DatapathError) {
      throw new OfError("OFPBRC_EPERM", error.message);
    }
    throw error;
  }
}
