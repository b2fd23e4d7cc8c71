// SPDX-License-Identifier: Apache-2.0
/**
 * Changes Linux devices as the database wants them: their MTU and their address.
 *
 * @module
 */
import { asDatapathError } from "../providers/netlink/errors.ts";
import {
  Conversation,
  NetlinkSocket,
  Protocol,
  s32,
  u16,
  u32,
  u8,
} from "../providers/netlink/mod.ts";

const RTM_NEWLINK = 16;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;

/** What a device is to be. */
export interface LinkWish {
  /** Bytes of the largest packet, without the Ethernet header. */
  readonly mtu?: number;
  /** Its address, `aa:bb:cc:dd:ee:ff`. */
  readonly address?: string;
}

/**
 * Changes a device of this network namespace (`<linux/rtnetlink.h>`, RTM_NEWLINK). Throws
 * `DatapathError`.
 */
export function setLink(name: string, { mtu, address }: LinkWish): void {
  const route = new Conversation(() => new NetlinkSocket(Protocol.route));
  try {
    route.request((writer) => {
      writer.begin({ type: RTM_NEWLINK, flags: 0 });
      writer.put(u8, 0);
      writer.put(u8, 0);
      writer.put(u16, 0);
      writer.put(s32, 0);
      writer.put(u32, 0);
      writer.put(u32, 0);
      writer.attributeText(IFLA_IFNAME, name);
      if (mtu !== undefined) writer.attribute(IFLA_MTU, u32, mtu);
      if (address !== undefined) {
        writer.attributeBytes(
          IFLA_ADDRESS,
          Uint8Array.fromHex(address.replaceAll(":", "")),
        );
      }
      writer.end();
    });
  } catch (error) {
    throw asDatapathError(error, { operation: "change device", object: name });
  } finally {
    route.close();
  }
}
