// SPDX-License-Identifier: Apache-2.0
/**
 * Reading how a request ended: the bodies of `NLMSG_ERROR` and `NLMSG_DONE`.
 *
 * @module
 */
import { NetlinkError } from "./errors.ts";
import {
  align,
  Attributes,
  littleEndian,
  type Message,
  messageHeaderSize,
  NetlinkFlag,
  viewOf,
} from "./message.ts";

// NLMSGERR_ATTR_* of <linux/netlink.h>
const NLMSGERR_ATTR_MSG = 1;
const NLMSGERR_ATTR_OFFS = 2;

/** The negative errno at the start of an error or done message; 0 for none. */
export function messageErrno(message: Message): number {
  return message.body.length < 4 ? 0 : -viewOf(message.body).getInt32(0, littleEndian);
}

/** The failure that an NLMSG_ERROR speaks of; undefined for an acknowledgement. */
export function parseError(message: Message): NetlinkError | undefined {
  const { body, flags } = message;
  if (body.length < 4 + messageHeaderSize) {
    return new NetlinkError({ code: "EBADMSG", detail: "a truncated error message" });
  }
  const errno = messageErrno(message);
  if (errno === 0) return undefined;
  if (errno < 0) {
    return new NetlinkError({
      code: "EBADMSG",
      detail: "an error message without error",
    });
  }
  if ((flags & NetlinkFlag.ackAttributes) === 0) return new NetlinkError({ code: errno });
  const repeated = flags & NetlinkFlag.capped
    ? messageHeaderSize
    : align(viewOf(body).getUint32(4, littleEndian));
  try {
    const attributes = new Attributes(body, 4 + repeated);
    return new NetlinkError({
      code: errno,
      kernelMessage: attributes.text(NLMSGERR_ATTR_MSG),
      offset: attributes.bytes(NLMSGERR_ATTR_OFFS)?.length === 4
        ? viewOf(attributes.bytes(NLMSGERR_ATTR_OFFS) as Uint8Array)
          .getUint32(0, littleEndian)
        : undefined,
    });
  } catch {
    // The error itself stands; only its explanation is unreadable.
    return new NetlinkError({ code: errno });
  }
}
