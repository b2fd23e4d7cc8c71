// SPDX-License-Identifier: Apache-2.0
/**
 * The few functions of the C library that the rest of `ffi/` and the netlink sockets need:
 * memory that does not move, waiting on descriptors, socket options, files of the system, errno.
 *
 * Nonblocking functions run on another thread (at most 32 of them per isolate, and a full
 * pool also stalls file I/O), so they take integers only: an address as `usize` of memory
 * from `allocate()` in `memory.ts`, never a JavaScript buffer, which might be collected or
 * moved while the call runs.
 *
 * @module
 */
import { type Library, openSystemLibrary } from "./library.ts";

/** Prototypes of the functions used, one line per parameter. */
export const libcSymbols = {
  /** Zeroed memory; null when there is none. */
  calloc: {
    parameters: [
      "usize", // size_t nmemb
      "usize", // size_t size
    ],
    result: "pointer",
  },
  free: {
    parameters: [
      "pointer", // void *ptr
    ],
    result: "void",
  },
  close: {
    parameters: [
      "i32", // int fd
    ],
    result: "i32", // 0, or -1
  },
  /** Of three parameters, which the ABIs of x86-64 and ARM64 pass as if there were no `...`. */
  ioctl: {
    parameters: [
      "i32", // int fd
      "u64", // unsigned long request
      "buffer", // struct ifreq *
    ],
    result: "i32", // 0, or -1
  },
  geteuid: {
    parameters: [],
    result: "u32", // uid_t
  },
  umask: {
    parameters: [
      "u32", // mode_t mask
    ],
    result: "u32", // the mask before
  },
  statx: {
    parameters: [
      "i32", // int dirfd: AT_FDCWD
      "buffer", // const char *pathname
      "i32", // int flags: AT_SYMLINK_NOFOLLOW
      "u32", // unsigned int mask: STATX_BASIC_STATS
      "buffer", // struct statx *statxbuf
    ],
    result: "i32", // 0, or -1
  },
  epoll_create1: {
    parameters: [
      "i32", // int flags: EPOLL_CLOEXEC
    ],
    result: "i32", // descriptor, or -1
  },
  epoll_ctl: {
    parameters: [
      "i32", // int epfd
      "i32", // int op
      "i32", // int fd
      "buffer", // struct epoll_event *event
    ],
    result: "i32", // 0, or -1
  },
  /** Waits on another thread. The array must be C memory that lives until it returns. */
  epollWait: {
    name: "epoll_wait",
    parameters: [
      "i32", // int epfd
      "usize", // struct epoll_event *events, as an address
      "i32", // int maxevents
      "i32", // int timeout, milliseconds; -1 for ever
    ],
    result: "i32", // descriptors that are ready, 0 on time-out, or -1
    nonblocking: true,
  },
  /** Looks, or waits on this thread: the isolate does nothing else meanwhile. */
  poll: {
    parameters: [
      "buffer", // struct pollfd *fds
      "u64", // nfds_t nfds
      "i32", // int timeout, milliseconds
    ],
    result: "i32",
  },
  eventfd: {
    parameters: [
      "u32", // unsigned int initval
      "i32", // int flags: EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE
    ],
    result: "i32", // descriptor, or -1
  },
  eventfd_write: {
    parameters: [
      "i32", // int fd
      "u64", // eventfd_t value
    ],
    result: "i32", // 0, or -1
  },
  eventfd_read: {
    parameters: [
      "i32", // int fd
      "buffer", // eventfd_t *value
    ],
    result: "i32", // 0, or -1
  },
  /** Locks that a process has, and no descriptor: fcntl(2) tells who it is. */
  lockf: {
    parameters: [
      "i32", // int fd
      "i32", // int op
      "i64", // off_t len
    ],
    result: "i32", // 0, or -1
  },
  open: {
    parameters: [
      "buffer", // const char *pathname
      "i32", // int flags
    ],
    result: "i32", // descriptor, or -1
  },
  read: {
    parameters: [
      "i32", // int fd
      "buffer", // void *buf
      "usize", // size_t count
    ],
    result: "isize", // bytes read, or -1
  },
  /**
   * Glibc only: has `dtor(obj)` called when this thread ends, and keeps the library of
   * `dso_symbol` in memory until then.
   */
  __cxa_thread_atexit_impl: {
    parameters: [
      "pointer", // void (*dtor)(void *)
      "pointer", // void *obj
      "pointer", // void *dso_symbol
    ],
    result: "i32", // 0, or -1
    optional: true,
  },
  /** Many datagrams at once. Everything pointed to must be C memory. */
  recvmmsg: {
    parameters: [
      "i32", // int sockfd
      "usize", // struct mmsghdr *msgvec, as an address
      "u32", // unsigned int vlen
      "i32", // int flags
      "pointer", // struct timespec *timeout; null: none
    ],
    result: "i32", // datagrams received, or -1
  },
  sendto: {
    parameters: [
      "i32", // int sockfd
      "buffer", // const void *buf
      "usize", // size_t len
      "i32", // int flags
      "buffer", // const struct sockaddr *dest_addr
      "u32", // socklen_t addrlen
    ],
    result: "isize", // bytes sent, or -1
  },
  socket: {
    parameters: [
      "i32", // int domain
      "i32", // int type
      "i32", // int protocol
    ],
    result: "i32", // descriptor, or -1
  },
  bind: {
    parameters: [
      "i32", // int sockfd
      "buffer", // const struct sockaddr *addr
      "u32", // socklen_t addrlen
    ],
    result: "i32", // 0, or -1
  },
  setsockopt: {
    parameters: [
      "i32", // int sockfd
      "i32", // int level
      "i32", // int optname
      "buffer", // const void *optval
      "u32", // socklen_t optlen
    ],
    result: "i32", // 0, or -1
  },
  getsockopt: {
    parameters: [
      "i32", // int sockfd
      "i32", // int level
      "i32", // int optname
      "buffer", // void *optval
      "buffer", // socklen_t *optlen, in and out
    ],
    result: "i32", // 0, or -1
  },
  clock_gettime: {
    parameters: [
      "i32", // clockid_t clockid: 1 is CLOCK_MONOTONIC
      "buffer", // struct timespec *tp
    ],
    result: "i32", // 0, or -1
  },
  /** Glibc and musl alike: where this thread keeps errno. */
  __errno_location: {
    parameters: [],
    result: "pointer", // int *
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The C library, open. */
export type Libc = Library<typeof libcSymbols> & {
  /**
   * errno of the synchronous call made just before, on this thread. Right only as the very
   * next thing: never across `await`, and never after a nonblocking call, which ran on
   * another thread. The engine may itself make a system call in between (seen once in
   * 200,000 calls), so nothing that has another source for the reason may rest on it: a
   * netlink request has its NLMSG_ERROR, a socket has SO_ERROR.
   */
  errno(): number;
};

/** Opens the C library. */
export function openLibc(): Libc {
  const library = openSystemLibrary("libc.so.6", {
    symbols: libcSymbols,
    debianPackage: "libc6",
  });
  const location = library.symbols.__errno_location();
  if (location === null) throw new TypeError("Cannot read errno: no location for it");
  // The location is fixed for a thread, and an isolate stays on its thread.
  const view = new Deno.UnsafePointerView(location);
  return Object.assign(library, { errno: (): number => view.getInt32() });
}

/** Events of `struct pollfd` (`<poll.h>`). */
export const PollEvent = {
  In: 0x1,
  Pri: 0x2,
  Out: 0x4,
  Err: 0x8,
  Hup: 0x10,
  Nval: 0x20,
} as const;

/** Events of `struct epoll_event` (`<sys/epoll.h>`). */
export const EpollEvent = { In: 0x1, OneShot: 0x40000000 } as const;

/** Operations of `epoll_ctl` (`<sys/epoll.h>`). */
export const EpollOperation = { Add: 1, Delete: 2, Modify: 3 } as const;

/** Flags of `eventfd` (`<sys/eventfd.h>`, x86-64 and arm64). */
export const EventfdFlag = { Semaphore: 0x1, Nonblock: 0x800, Cloexec: 0x80000 } as const;
