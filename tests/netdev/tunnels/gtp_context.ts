// SPDX-License-Identifier: Apache-2.0
/**
 * Tells the GTP device of a network namespace that packets to one address belong into a tunnel, and
 * those of that tunnel come from this address: iproute2 has no command for it.
 *
 *     ip netns exec NAMESPACE deno run -A gtp_context.ts DEVICE PEER ADDRESS ID
 *
 * Format: `<linux/gtp.h>`.
 *
 * @module
 */
import {
  addressBytes,
  Conversation,
  Genl,
  listLinks,
  NetlinkSocket,
  Protocol,
  u32,
} from "../../../providers/netlink/mod.ts";

const GTP_CMD_NEWPDP = 0;
const GTPA_LINK = 1;
const GTPA_VERSION = 2;
const GTPA_PEER_ADDRESS = 4;
const GTPA_MS_ADDRESS = 5;
const GTPA_I_TEI = 8;
const GTPA_O_TEI = 9;

const [device = "", peer = "", address = "", id = ""] = Deno.args;
const route = new Conversation(() => new NetlinkSocket(Protocol.route));
const link = listLinks(route).find(({ name }) => name === device);
route.close();
if (link === undefined) throw new Error(`no device ${device}`);
const genl = new Genl(new Conversation(() => new NetlinkSocket(Protocol.generic)));
genl.request(genl.family("gtp"), GTP_CMD_NEWPDP, {}, (writer) => {
  writer.attribute(GTPA_LINK, u32, link.index);
  writer.attribute(GTPA_VERSION, u32, 1);
  writer.attributeBytes(GTPA_PEER_ADDRESS, addressBytes(peer));
  writer.attributeBytes(GTPA_MS_ADDRESS, addressBytes(address));
  writer.attribute(GTPA_I_TEI, u32, Number(id));
  writer.attribute(GTPA_O_TEI, u32, Number(id));
});
genl.close();
