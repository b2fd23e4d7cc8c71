// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps Linux from answering outer packets that end in tunnels.
 *
 * Where the underlay is a device of Linux that has addresses itself, Linux receives a copy of every
 * packet, knows nobody who wants it, and says so by ICMP. A socket that has the UDP port, or the
 * protocol, and a filter that takes nothing is somebody who wants it: man socket(7),
 * `SO_ATTACH_FILTER`.
 *
 * @module
 */
import { type Libc, openLibc } from "../../../ffi/libc.ts";
import { type Libmnl, openLibmnl } from "../../../ffi/libmnl.ts";
import { allocate } from "../../../ffi/memory.ts";
import { closeAtThreadExit } from "../../../ffi/thread_exit.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const UDP_GRO = 104;
const IPPROTO_UDP = 17;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
/** `BPF_RET | BPF_K`: returns a number of bytes; none. */
const BPF_RETURN = 6;
const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** What outer packets have: a protocol, and a UDP port if that is UDP. */
export interface Taken {
  readonly protocol: number;
  readonly udpPort?: number;
}

/** A socket, and what calls off that it is closed with its thread. */
interface Socket {
  readonly fd: number;
  readonly unguard: () => void;
}

/** Sockets that take outer packets and drop them. Belongs to one isolate. */
export class Silence {
  readonly #libc: Libc = openLibc();
  readonly #libmnl: Libmnl = openLibmnl();
  readonly #sockets = new Map<string, readonly Socket[]>();
  #isClosed = false;

  /** Takes what is `wanted`, and no more. What another program takes already is left to it. */
  set(wanted: readonly Taken[]): void {
    if (this.#isClosed) return;
    const keys = new Map(
      wanted.map((each) => [`${each.protocol} ${each.udpPort}`, each]),
    );
    for (const [key, sockets] of this.#sockets) {
      if (keys.has(key)) continue;
      this.#sockets.delete(key);
      for (const { fd, unguard } of sockets) {
        unguard();
        this.#libc.symbols.close(fd);
      }
    }
    for (const [key, each] of keys) {
      if (this.#sockets.has(key)) continue;
      const sockets = [AF_INET, AF_INET6].flatMap((family) => this.#open(family, each));
      this.#sockets.set(key, sockets);
    }
  }

  /** A socket; none where it may not be had. */
  #open(family: number, { protocol, udpPort = 0 }: Taken): Socket[] {
    const { socket, bind, setsockopt, close } = this.#libc.symbols;
    const kind = protocol === IPPROTO_UDP ? SOCK_DGRAM : SOCK_RAW;
    const fd = socket(family, kind | SOCK_CLOEXEC, protocol);
    if (fd < 0) return [];
    const one = new Uint8Array(new Uint32Array([1]).buffer);
    if (family === AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, one, one.length);
    // Several packets in one (segment_bundle.h) would be cut for a socket that does not say that
    // it knows them.
    if (kind === SOCK_DGRAM) setsockopt(fd, IPPROTO_UDP, UDP_GRO, one, one.length);
    // struct sockaddr_in, or the longer one of IPv6: 0:2 family, 2:2 port; any address
    const address = new Uint8Array(family === AF_INET ? 16 : 28);
    const view = new DataView(address.buffer);
    view.setUint16(0, family, littleEndian);
    view.setUint16(2, udpPort);
    const isBound = kind === SOCK_RAW || bind(fd, address, address.length) === 0;
    if (this.#takesNothing(fd) && isBound) {
      return [{ fd, unguard: closeAtThreadExit(this.#libc, this.#libmnl, fd) }];
    }
    close(fd);
    return [];
  }

  #takesNothing(fd: number): boolean {
    const filter = allocate(this.#libc, 8);
    try {
      // struct sock_filter: 0:2 code, 2:1 jt, 3:1 jf, 4:4 k
      new DataView(filter.bytes.buffer, filter.bytes.byteOffset)
        .setUint16(0, BPF_RETURN, littleEndian);
      // struct sock_fprog: 0:2 instructions, 8:8 where they are
      const program = new Uint8Array(16);
      const view = new DataView(program.buffer);
      view.setUint16(0, 1, littleEndian);
      view.setBigUint64(8, filter.address, littleEndian);
      const { setsockopt } = this.#libc.symbols;
      return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, program.length) === 0;
    } finally {
      filter.free();
    }
  }

  /** Gives the sockets back. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.set([]);
    this.#isClosed = true;
    this.#libc.close();
    this.#libmnl.close();
  }
}
