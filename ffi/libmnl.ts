// SPDX-License-Identifier: Apache-2.0
/**
 * Functions of libmnl (1.0.4 and newer): netlink sockets.
 *
 * Only the socket half is bound. Messages are built and read in TypeScript: measured on a
 * dump of 301 links, that is seven times cheaper per message than walking attributes through
 * `mnl_attr_*` by FFI. `mnl_nlmsg_batch_*` is not bound because a batch keeps a pointer into
 * the caller's buffer between calls, which no JavaScript buffer may be used for.
 *
 * Functions that fail return -1 or null and leave the reason in errno: read it with `errno()`
 * of `libc.ts` as the very next thing.
 *
 * Format: `<libmnl/libmnl.h>`.
 *
 * @module
 */
import { type Library, openSystemLibrary } from "./library.ts";

/** Prototypes of the functions used, one line per parameter. */
export const libmnlSymbols = {
  /** Opens and binds nothing; `SOCK_CLOEXEC` and `SOCK_NONBLOCK` may be given as flags. */
  mnl_socket_open2: {
    parameters: [
      "i32", // int bus: NETLINK_GENERIC, NETLINK_ROUTE, NETLINK_NETFILTER …
      "i32", // int flags
    ],
    result: "pointer", // struct mnl_socket *; null on failure
  },
  mnl_socket_bind: {
    parameters: [
      "pointer", // struct mnl_socket *nl
      "u32", // unsigned int groups: bits of the first 32 multicast groups
      "i32", // pid_t pid: netlink port id, 0 lets the kernel choose
    ],
    result: "i32", // 0, or -1
  },
  /** Closes the descriptor and frees the object, whatever it returns. */
  mnl_socket_close: {
    parameters: [
      "pointer", // struct mnl_socket *nl
    ],
    result: "i32",
  },
  /** Where `mnl_socket_close` is, for `thread_exit.ts`. */
  closeAddress: { name: "mnl_socket_close", type: "pointer" },
  mnl_socket_get_fd: {
    parameters: [
      "pointer", // const struct mnl_socket *nl
    ],
    result: "i32",
  },
  /** The port id that bind gave; 0 before bind. */
  mnl_socket_get_portid: {
    parameters: [
      "pointer", // const struct mnl_socket *nl
    ],
    result: "u32",
  },
  mnl_socket_sendto: {
    parameters: [
      "pointer", // const struct mnl_socket *nl
      "buffer", // const void *req
      "usize", // size_t siz, bytes
    ],
    result: "isize", // bytes sent, or -1
  },
  /**
   * -1 with errno ENOSPC when the datagram was longer than the buffer: it is then lost, for
   * the kernel has already let go of it.
   */
  mnl_socket_recvfrom: {
    parameters: [
      "pointer", // const struct mnl_socket *nl
      "buffer", // void *buf
      "usize", // size_t siz, bytes
    ],
    result: "isize", // bytes received, 0 at end, or -1
  },
  /** Always at level SOL_NETLINK: NETLINK_ADD_MEMBERSHIP, NETLINK_EXT_ACK … */
  mnl_socket_setsockopt: {
    parameters: [
      "pointer", // const struct mnl_socket *nl
      "i32", // int type
      "buffer", // void *buf
      "u32", // socklen_t len
    ],
    result: "i32", // 0, or -1
  },
  mnl_socket_getsockopt: {
    parameters: [
      "pointer", // const struct mnl_socket *nl
      "i32", // int type
      "buffer", // void *buf
      "buffer", // socklen_t *len, in and out
    ],
    result: "i32", // 0, or -1
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** libmnl, open. */
export type Libmnl = Library<typeof libmnlSymbols>;

/** Opens libmnl. Throws `LibraryError` naming the Debian package when it is missing. */
export function openLibmnl(): Libmnl {
  return openSystemLibrary("libmnl.so.0", {
    symbols: libmnlSymbols,
    debianPackage: "libmnl0",
  });
}
