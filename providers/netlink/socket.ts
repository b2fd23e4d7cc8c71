// SPDX-License-Identifier: Apache-2.0
/**
 * One netlink socket over libmnl, and what a conversation needs of one.
 *
 * @module
 */
import { type Libc, openLibc, PollEvent } from "../../ffi/libc.ts";
import { type Libmnl, openLibmnl } from "../../ffi/libmnl.ts";
import { closeAtThreadExit } from "../../ffi/thread_exit.ts";
import { Waiter } from "../../ffi/waiter.ts";
import { NetlinkError } from "./errors.ts";
import { littleEndian } from "./message.ts";

/** Netlink protocols by name: `NETLINK_*` of `<linux/netlink.h>`. */
export const Protocol = { route: 0, netfilter: 12, generic: 16 } as const;

/**
 * The far end of a conversation: the kernel behind a {@linkcode NetlinkSocket}, or a function in
 * a test.  Used by one isolate, never by two calls at once.
 */
export interface Transport {
  /** Port id that replies are addressed to. */
  readonly portId: number;
  /** Sends one datagram of one or more messages. Throws {@linkcode NetlinkError}. */
  send(bytes: Uint8Array): void;
  /**
   * The next datagram, a view that is good until the next call; undefined when none waits.
   * Throws {@linkcode NetlinkError}: `ENOBUFS` when datagrams were lost.
   */
  receive(): Uint8Array | undefined;
  /** Waits, holding up the isolate, until a datagram is there; false when none came in time. */
  waitReadable(timeoutMs: number): boolean;
  /** Gives the socket back. Idempotent. */
  close(): void;
}

/** libmnl and the C library, shared by the sockets of an isolate and closed with the last. */
class Libraries {
  #mnl: Libmnl | undefined;
  #libc: Libc | undefined;
  #users = 0;

  /** Opens both, or counts one more user. */
  acquire(): { mnl: Libmnl; libc: Libc } {
    const mnl = this.#mnl ??= openLibmnl();
    const libc = this.#libc ??= openLibc();
    this.#users++;
    return { mnl, libc };
  }

  /** Counts one user less; the last one closes them. */
  release(): void {
    if (--this.#users > 0) return;
    this.#mnl?.close();
    this.#libc?.close();
    this.#mnl = undefined;
    this.#libc = undefined;
  }
}

const libraries = new Libraries();

// <bits/socket_type.h>, <asm-generic/socket.h>, <linux/netlink.h>
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const AF_NETLINK = 16;
const NLMSG_NOOP = 1;
const MSG_DONTWAIT = 0x40;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const SO_MEMINFO = 55;
const SK_MEMINFO_DROPS = 8;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;

/** How a socket is opened. */
export interface SocketOptions {
  /** Port id to have; the kernel chooses when absent. `EADDRINUSE` if another socket has it. */
  readonly portId?: number;
  /** Bytes of messages that the kernel may queue; needs CAP_NET_ADMIN to be large. */
  readonly receiveBuffer?: number;
  /** Longest datagram that is expected, bytes. */
  readonly datagramSize?: number;
}

/**
 * One netlink socket in the network namespace of this thread.
 *
 * Never waits but in `waitReadable`.  Its errors say what libmnl's errno said.  A Worker that is
 * terminated gives it back.
 */
export class NetlinkSocket implements Transport {
  readonly portId: number;
  /** The descriptor, for waiting on it; closed with the socket. */
  readonly fd: number;
  /**
   * The C library, open as long as the socket is.
   *
   * @internal
   */
  readonly libc: Libc;
  readonly #mnl: Libmnl;
  #handle: Deno.PointerObject | null;
  readonly #unguard: () => void;
  readonly #buffer: Uint8Array<ArrayBuffer>;
  readonly #poll = new Uint8Array(8);

  /** Opens and binds a socket of one of {@linkcode Protocol}. */
  constructor(protocol: number, options: SocketOptions = {}) {
    const { mnl, libc } = libraries.acquire();
    this.#mnl = mnl;
    this.libc = libc;
    const { symbols } = mnl;
    this.#handle = symbols.mnl_socket_open2(protocol, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (this.#handle === null) {
      const failure = this.#failure("open a netlink socket");
      libraries.release();
      throw failure;
    }
    this.fd = symbols.mnl_socket_get_fd(this.#handle);
    this.#unguard = closeAtThreadExit(libc, mnl, this.fd);
    try {
      if (symbols.mnl_socket_bind(this.#handle, 0, options.portId ?? 0) < 0) {
        throw this.#failure("bind a netlink socket");
      }
      this.portId = symbols.mnl_socket_get_portid(this.#handle);
      this.#setReceiveBuffer(options.receiveBuffer ?? 4 << 20);
      // Extended acknowledgements explain errors (4.12); capped ones do not repeat the request
      // (4.3).  Older kernels refuse the option, and all that goes missing is the explanation.
      this.#set(NETLINK_EXT_ACK, 1);
      this.#set(NETLINK_CAP_ACK, 1);
    } catch (error) {
      this.close();
      throw error;
    }
    this.#buffer = new Uint8Array(options.datagramSize ?? 1 << 17);
  }

  #failure(what: string): NetlinkError {
    const errno = this.libc.errno();
    if (errno > 0) return new NetlinkError({ code: errno });
    return new NetlinkError({ code: "EIO", detail: `could not ${what}` });
  }

  #set(option: number, value: number): boolean {
    const bytes = new Uint8Array(new Uint32Array([value]).buffer);
    return this.#mnl.symbols.mnl_socket_setsockopt(this.#open(), option, bytes, 4) === 0;
  }

  #setReceiveBuffer(size: number): void {
    const bytes = new Uint8Array(new Uint32Array([size]).buffer);
    const { setsockopt } = this.libc.symbols;
    if (setsockopt(this.fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes, 4) < 0) {
      // Not privileged: as much as net.core.rmem_max allows.
      setsockopt(this.fd, SOL_SOCKET, SO_RCVBUF, bytes, 4);
    }
  }

  #open(): Deno.PointerObject {
    if (this.#handle === null) {
      throw new NetlinkError({ code: "EBADF", detail: "the socket is closed" });
    }
    return this.#handle;
  }

  /** Waits for datagrams without holding up the isolate; to be closed before the socket. */
  waiter(): Waiter {
    return new Waiter(this.fd, (fd) => closeAtThreadExit(this.libc, this.#mnl, fd));
  }

  /** Joins multicast group `group`, a number from the family. */
  join(group: number): void {
    if (!this.#set(NETLINK_ADD_MEMBERSHIP, group)) throw this.#failure("join a group");
  }

  /**
   * Fills the socket's queue, so that the kernel refuses whatever is sent to it from now on: for a
   * socket that only keeps its port id.
   */
  stuff(): void {
    // struct sockaddr_nl: 0:2 family, 4:4 port id, 8:4 groups
    const address = new Uint8Array(12);
    const view = new DataView(address.buffer);
    view.setUint16(0, AF_NETLINK, littleEndian);
    view.setUint32(4, this.portId, littleEndian);
    const message = new Uint8Array(512);
    new DataView(message.buffer).setUint32(0, message.length, littleEndian);
    new DataView(message.buffer).setUint16(4, NLMSG_NOOP, littleEndian);
    const { sendto } = this.libc.symbols;
    const size = BigInt(message.length);
    // The smallest queue takes some of them; what is larger than any is no reason to go on for
    // ever.
    for (let sent = 0; sent < 1024; sent++) {
      if (sendto(this.fd, message, size, MSG_DONTWAIT, address, address.length) < 0n) {
        return;
      }
    }
  }

  /** Messages that the kernel dropped because this socket's queue was full; wraps at 2^32. */
  drops(): number {
    const values = new Uint32Array(16);
    const size = new Uint8Array(new Uint32Array([values.byteLength]).buffer);
    const bytes = new Uint8Array(values.buffer);
    this.libc.symbols.getsockopt(this.fd, SOL_SOCKET, SO_MEMINFO, bytes, size);
    return values[SK_MEMINFO_DROPS] ?? 0;
  }

  send(bytes: Uint8Array): void {
    const socket = this.#open();
    const { mnl_socket_sendto } = this.#mnl.symbols;
    const sent = mnl_socket_sendto(
      socket,
      bytes as Uint8Array<ArrayBuffer>,
      BigInt(bytes.length),
    );
    if (sent < 0n) throw this.#failure("send to the kernel");
  }

  receive(): Uint8Array | undefined {
    const socket = this.#open();
    const { mnl_socket_recvfrom } = this.#mnl.symbols;
    const room = BigInt(this.#buffer.length);
    for (;;) {
      const size = mnl_socket_recvfrom(socket, this.#buffer, room);
      if (size >= 0n) return this.#buffer.subarray(0, Number(size));
      const failure = this.#failure("receive from the kernel");
      if (failure.code === "EAGAIN") return undefined;
      if (failure.code !== "EINTR") throw failure;
    }
  }

  waitReadable(timeoutMs: number): boolean {
    this.#open();
    const view = new DataView(this.#poll.buffer);
    view.setInt32(0, this.fd, littleEndian);
    view.setInt16(4, PollEvent.In, littleEndian);
    return this.libc.symbols.poll(this.#poll, 1n, timeoutMs) > 0;
  }

  close(): void {
    if (this.#handle === null) return;
    this.#unguard();
    this.#mnl.symbols.mnl_socket_close(this.#handle);
    this.#handle = null;
    libraries.release();
  }
}
