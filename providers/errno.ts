// SPDX-License-Identifier: Apache-2.0
/**
 * Errno: names, numbers and texts of what a datapath may fail with, in one table.
 *
 * Source: `<asm-generic/errno.h>`, and what strerror(3) says of each.
 *
 * @module
 */

/** Name of a Linux errno that a datapath may answer with. */
export type ErrnoName =
  | "EPERM"
  | "ENOENT"
  | "EINTR"
  | "EIO"
  | "ENXIO"
  | "E2BIG"
  | "EBADF"
  | "EAGAIN"
  | "ENOMEM"
  | "EACCES"
  | "EFAULT"
  | "EBUSY"
  | "EEXIST"
  | "EXDEV"
  | "ENODEV"
  | "EINVAL"
  | "ENFILE"
  | "EMFILE"
  | "EFBIG"
  | "ENOSPC"
  | "EROFS"
  | "EPIPE"
  | "EDOM"
  | "ERANGE"
  | "ENAMETOOLONG"
  | "ENOSYS"
  | "ENODATA"
  | "ETIME"
  | "EPROTO"
  | "EBADMSG"
  | "EOVERFLOW"
  | "EILSEQ"
  | "EMSGSIZE"
  | "EPROTONOSUPPORT"
  | "EOPNOTSUPP"
  | "EAFNOSUPPORT"
  | "EADDRINUSE"
  | "EADDRNOTAVAIL"
  | "ENETDOWN"
  | "ENETUNREACH"
  | "ECONNABORTED"
  | "ECONNRESET"
  | "ENOBUFS"
  | "EISCONN"
  | "ENOTCONN"
  | "ESHUTDOWN"
  | "ETIMEDOUT"
  | "ECONNREFUSED"
  | "EHOSTUNREACH"
  | "EALREADY"
  | "EINPROGRESS"
  | "ESTALE"
  | "ECANCELED"
  | "ESRCH";

/** Number (asm-generic/errno.h) of each, and what it says to people. */
const errnoTable: Readonly<Record<ErrnoName, readonly [number, string]>> = {
  EPERM: [1, "operation not permitted"],
  ENOENT: [2, "no such file or directory"],
  EINTR: [4, "interrupted system call"],
  EIO: [5, "input/output error"],
  ENXIO: [6, "no such device or address"],
  E2BIG: [7, "argument list too long"],
  EBADF: [9, "bad file descriptor"],
  EAGAIN: [11, "resource temporarily unavailable"],
  ENOMEM: [12, "cannot allocate memory"],
  EACCES: [13, "permission denied"],
  EFAULT: [14, "bad address"],
  EBUSY: [16, "device or resource busy"],
  EEXIST: [17, "file exists"],
  EXDEV: [18, "invalid cross-device link"],
  ENODEV: [19, "no such device"],
  EINVAL: [22, "invalid argument"],
  ENFILE: [23, "too many open files in system"],
  EMFILE: [24, "too many open files"],
  EFBIG: [27, "file too large"],
  ENOSPC: [28, "no space left on device"],
  EROFS: [30, "read-only file system"],
  EPIPE: [32, "broken pipe"],
  EDOM: [33, "numerical argument out of domain"],
  ERANGE: [34, "numerical result out of range"],
  ENAMETOOLONG: [36, "file name too long"],
  ENOSYS: [38, "function not implemented"],
  ENODATA: [61, "no data available"],
  ETIME: [62, "timer expired"],
  EPROTO: [71, "protocol error"],
  EBADMSG: [74, "bad message"],
  EOVERFLOW: [75, "value too large for defined data type"],
  EILSEQ: [84, "invalid or incomplete multibyte or wide character"],
  EMSGSIZE: [90, "message too long"],
  EPROTONOSUPPORT: [93, "protocol not supported"],
  EOPNOTSUPP: [95, "operation not supported"],
  EAFNOSUPPORT: [97, "address family not supported by protocol"],
  EADDRINUSE: [98, "address already in use"],
  EADDRNOTAVAIL: [99, "cannot assign requested address"],
  ENETDOWN: [100, "network is down"],
  ENETUNREACH: [101, "network is unreachable"],
  ECONNABORTED: [103, "software caused connection abort"],
  ECONNRESET: [104, "connection reset by peer"],
  ENOBUFS: [105, "no buffer space available"],
  EISCONN: [106, "transport endpoint is already connected"],
  ENOTCONN: [107, "transport endpoint is not connected"],
  ESHUTDOWN: [108, "cannot send after transport endpoint shutdown"],
  ETIMEDOUT: [110, "connection timed out"],
  ECONNREFUSED: [111, "connection refused"],
  EHOSTUNREACH: [113, "no route to host"],
  EALREADY: [114, "operation already in progress"],
  EINPROGRESS: [115, "operation now in progress"],
  ESTALE: [116, "stale file handle"],
  ECANCELED: [125, "operation canceled"],
  ESRCH: [3, "no such process"],
};

const nameByNumber: ReadonlyMap<number, ErrnoName> = new Map(
  Object.entries(errnoTable).map(([name, [number]]) => [number, name as ErrnoName]),
);

/** Numbers by name: `Errno.ENOENT` is 2. */
export const Errno: Readonly<Record<ErrnoName, number>> = Object.freeze(
  Object.fromEntries(
    Object.entries(errnoTable).map(([name, [number]]) => [name, number]),
  ) as Record<ErrnoName, number>,
);

/** The name of a positive errno; `EIO` for a number that has none here. */
export function errnoName(errno: number): ErrnoName {
  return nameByNumber.get(errno) ?? "EIO";
}

/** The number of an errno name. */
export function errnoNumber(name: ErrnoName): number {
  return errnoTable[name][0];
}

/** What an errno says to people, in lower case: `EBUSY` is "device or resource busy". */
export function errnoText(name: ErrnoName): string {
  return errnoTable[name][1];
}
