// SPDX-License-Identifier: Apache-2.0
/**
 * TAP devices for tests: what is written to one comes in at the device, what goes out of the device
 * can be read.
 *
 * @module
 */
import { openSystemLibrary } from "../../ffi/library.ts";
import { cString } from "../../ffi/memory.ts";

const symbols = {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  // Variadic in C; its one further argument is a pointer here, which is passed alike on x86-64 and
  // arm64.
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

// <fcntl.h>, <linux/if_tun.h>, <linux/sockios.h>
const O_RDWR_NONBLOCK = 0x802;
const TUNSETIFF = 0x400454can;
const IFF_TUN = 1;
const IFF_TAP = 2;
const IFF_NO_PI = 0x1000;
const SIOCSIFFLAGS = 0x8914n;
const IFF_UP = 1;

/** A TAP device, up and without IPv6, so that nothing but the test sends on it. */
export class Tap implements Disposable {
  readonly name: string;
  readonly #libc = openSystemLibrary("libc.so.6", { symbols, debianPackage: "libc6" });
  readonly #fd: number;
  readonly #buffer = new Uint8Array(1 << 16);

  /** Makes the device `name`; `mode` tun: its packets have no Ethernet header. Needs root. */
  constructor(name: string, mode: "tap" | "tun" = "tap") {
    this.name = name;
    const { open, ioctl } = this.#libc.symbols;
    this.#fd = open(cString("/dev/net/tun"), O_RDWR_NONBLOCK);
    const flags = IFF_NO_PI | (mode === "tun" ? IFF_TUN : IFF_TAP);
    if (this.#fd < 0 || ioctl(this.#fd, TUNSETIFF, this.#request(flags)) < 0) {
      this.close();
      throw new Error(`Cannot make TAP device ${name}`);
    }
    Deno.writeTextFileSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, "1");
    this.#up();
  }

  /** `struct ifreq` with the name and flags. */
  #request(flags: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(40);
    bytes.set(new TextEncoder().encode(this.name));
    new DataView(bytes.buffer).setInt16(16, flags, true);
    return bytes;
  }

  #up(): void {
    const { socket, ioctl, close } = this.#libc.symbols;
    const fd = socket(2, 2, 0);
    const failed = ioctl(fd, SIOCSIFFLAGS, this.#request(IFF_UP)) < 0;
    close(fd);
    if (failed) throw new Error(`Cannot set ${this.name} up`);
  }

  /** Lets a frame come in at the device; returns when the kernel has dealt with it. */
  write(frame: Uint8Array): void {
    const bytes = frame as Uint8Array<ArrayBuffer>;
    const written = this.#libc.symbols.write(this.#fd, bytes, BigInt(frame.length));
    if (written !== BigInt(frame.length)) throw new Error(`Cannot write to ${this.name}`);
  }

  /** A frame that went out of the device; undefined when there is none. */
  read(): Uint8Array | undefined {
    const room = BigInt(this.#buffer.length);
    const size = this.#libc.symbols.read(this.#fd, this.#buffer, room);
    return size < 0n ? undefined : this.#buffer.slice(0, Number(size));
  }

  /** Every frame that went out of the device, oldest first. */
  readAll(): Uint8Array[] {
    const frames: Uint8Array[] = [];
    for (let frame = this.read(); frame; frame = this.read()) frames.push(frame);
    return frames;
  }

  /** Removes the device. Idempotent. */
  close(): void {
    if (this.#libc.closed) return;
    this.#libc.symbols.close(this.#fd);
    this.#libc.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
