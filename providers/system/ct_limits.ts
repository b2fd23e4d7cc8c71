// SPDX-License-Identifier: Apache-2.0
/**
 * Family `ovs_ct_limit`: how many connections a zone may have.
 *
 * The one attribute is an array of `struct ovs_zone_limit` (0:4 zone, signed; 4:4 limit; 8:4 count;
 * host order) and not of attributes.  Limits belong to the network namespace, whichever datapath is
 * named. Format: `<linux/openvswitch.h>`.
 *
 * @module
 */
import { idsOf } from "../odp/attributes.ts";
import { ctLimitMessage } from "./ovs_messages.ts";
import type { ConntrackFacet, ZoneLimit, ZoneLimitState } from "../contract/conntrack.ts";
import type { CtZone } from "../ids.ts";
import { type Family, littleEndian, type Message, viewOf } from "../netlink/mod.ts";
import { inContext } from "../netlink/errors.ts";
import { type Kernel, messageAttributes, needReply } from "./ovs.ts";

// enum ovs_ct_limit_cmd: other numbers than the other families'
const OVS_CT_LIMIT_CMD_SET = 1;
const OVS_CT_LIMIT_CMD_DEL = 2;
const OVS_CT_LIMIT_CMD_GET = 3;
const {
  zones: OVS_CT_LIMIT_ATTR_ZONE_LIMIT,
} = idsOf(ctLimitMessage.table);
const OVS_ZONE_LIMIT_DEFAULT_ZONE = -1;
const entrySize = 12;

type Limits = NonNullable<ConntrackFacet["limits"]>;

function encode(limits: readonly (Partial<ZoneLimit> & Pick<ZoneLimit, "zone">)[]) {
  const bytes = new Uint8Array(entrySize * limits.length);
  const view = viewOf(bytes);
  for (const [i, { zone, limit = 0 }] of limits.entries()) {
    const number = zone === "default" ? OVS_ZONE_LIMIT_DEFAULT_ZONE : zone;
    view.setInt32(entrySize * i, number, littleEndian);
    view.setUint32(entrySize * i + 4, limit, littleEndian);
  }
  return bytes;
}

function decode(message: Message): ZoneLimitState[] {
  const attributes = messageAttributes(message);
  const bytes = attributes.bytes(OVS_CT_LIMIT_ATTR_ZONE_LIMIT) ?? new Uint8Array();
  const view = viewOf(bytes);
  const limits: ZoneLimitState[] = [];
  for (let at = 0; at + entrySize <= bytes.length; at += entrySize) {
    const zone = view.getInt32(at, littleEndian);
    limits.push({
      zone: zone === OVS_ZONE_LIMIT_DEFAULT_ZONE ? "default" : zone,
      limit: view.getUint32(at + 4, littleEndian),
      count: view.getUint32(at + 8, littleEndian),
    });
  }
  return limits;
}

/** Zones that the kernel would pass over in silence. */
function checkZones(zones: readonly (CtZone | "default")[]): void {
  for (const zone of zones) {
    if (zone === "default") continue;
    if (!Number.isInteger(zone) || zone < 0 || zone > 0xffff) {
      throw new RangeError(`conntrack zone must be from 0 to 65535: it is ${zone}`);
    }
  }
}

/** Limits by zone; undefined where the kernel does not count connections. */
export function systemLimits(kernel: Kernel, datapath: string): Limits | undefined {
  const family = kernel.ctLimit;
  return family && makeLimits(kernel, family, datapath);
}

function makeLimits(kernel: Kernel, family: Family, datapath: string): Limits {
  const request = (operation: string, command: number, zones?: Uint8Array) =>
    inContext(
      { operation, datapath },
      () =>
        kernel.request(
          family,
          command,
          { ifindex: 0, repeatable: command === OVS_CT_LIMIT_CMD_GET },
          (writer) => {
            if (zones) writer.attributeBytes(OVS_CT_LIMIT_ATTR_ZONE_LIMIT, zones);
          },
        ),
    );
  return {
    set(limits) {
      checkZones(limits.map(({ zone }) => zone));
      request("set connection limits", OVS_CT_LIMIT_CMD_SET, encode(limits));
    },
    get(zones = []) {
      checkZones(zones);
      const bytes = zones.length > 0
        ? encode(zones.map((zone) => ({ zone })))
        : undefined;
      const operation = "read connection limits";
      const reply = request(operation, OVS_CT_LIMIT_CMD_GET, bytes);
      return inContext({ operation, datapath }, () => decode(needReply(reply)));
    },
    delete(zones) {
      checkZones(zones);
      const bytes = encode(zones.map((zone) => ({ zone })));
      request("delete connection limits", OVS_CT_LIMIT_CMD_DEL, bytes);
    },
  };
}
