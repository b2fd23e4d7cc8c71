// SPDX-License-Identifier: Apache-2.0
/**
 * Brings Linux devices up, as ovs-dpctl does with what it adds.
 *
 * @module
 */
import { asDatapathError } from "../../providers/netlink/errors.ts";
import {
  Conversation,
  NetlinkSocket,
  Protocol,
  s32,
  u16,
  u32,
  u8,
} from "../../providers/netlink/mod.ts";

const RTM_NEWLINK = 16;
const IFLA_IFNAME = 3;
const IFF_UP = 1;

/**
 * Sets a device of this network namespace up (`<linux/rtnetlink.h>`, RTM_NEWLINK). Throws
 * `DatapathError`.
 */
export function bringUp(name: string): void {
  const route = new Conversation(() => new NetlinkSocket(Protocol.route));
  try {
    route.request((writer) => {
      writer.begin({ type: RTM_NEWLINK, flags: 0 });
      writer.put(u8, 0);
      writer.put(u8, 0);
      writer.put(u16, 0);
      writer.put(s32, 0);
      writer.put(u32, IFF_UP);
      writer.put(u32, IFF_UP);
      writer.attributeText(IFLA_IFNAME, name);
      writer.end();
    });
  } catch (error) {
    throw asDatapathError(error, { operation: "bring up", object: name });
  } finally {
    route.close();
  }
}
