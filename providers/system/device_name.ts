// SPDX-License-Identifier: Apache-2.0
/**
 * Names of Linux devices, which ports and datapaths of the kernel are.
 *
 * @module
 */
import { nameSize } from "../check.ts";
import { NetlinkError } from "../netlink/mod.ts";

/** Longest name of a device, bytes: IFNAMSIZ of `<linux/if.h>` without the zero. */
export const maxNameSize = 15;

/**
 * Checks the name of a device, `isNew`: one that is to be made. Throws `ENAMETOOLONG`, and `EINVAL`
 * for a new device with `%`, in whose place the kernel would put a number.
 */
export function checkDeviceName(name: string, isNew: boolean): void {
  const size = nameSize(name);
  if (size > maxNameSize) {
    throw new NetlinkError({
      code: "ENAMETOOLONG",
      detail: `the name has ${size} bytes, a device's has ${maxNameSize} at most`,
    });
  }
  if (isNew && name.includes("%")) {
    throw new NetlinkError({
      code: "EINVAL",
      detail: "the kernel takes % in a name for the place of a number",
    });
  }
}
