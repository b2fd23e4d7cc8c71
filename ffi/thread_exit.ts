// SPDX-License-Identifier: Apache-2.0
/**
 * Descriptors that are closed when their thread ends, for a Worker may be terminated at any
 * instruction.
 *
 * Deno closes what it opened itself; a descriptor of a foreign library stays open, with the
 * socket behind it bound and fed by the kernel until the process ends. A Worker has a thread of
 * its own, which does end, and the C library runs destructors then. Only a function of one
 * pointer that some library has already can be such a destructor, because the engine is gone by
 * that time: `mnl_socket_close()`, which closes the descriptor in the first word of what it is
 * given and frees the rest.
 *
 * **Threads:** a guard is of the isolate that made it, and of its thread.
 *
 * @module
 */
import type { Libc } from "./libc.ts";
import type { Libmnl } from "./libmnl.ts";

/**
 * Room for a `struct mnl_socket` of any version; its descriptor comes first, which is tested
 * before use.
 */
const SLOT_SIZE = 64;
/** What closes nothing. */
const NONE = -1;

interface Slot {
  readonly pointer: Deno.PointerObject;
  readonly fd: Int32Array;
}

/**
 * Slots of this thread without a descriptor. The C library has no way to take a destructor back,
 * so they are used again.
 */
const spare: Slot[] = [];

function makeSlot(libc: Libc, libmnl: Libmnl): Slot | undefined {
  const register = libc.symbols.__cxa_thread_atexit_impl;
  const { closeAddress } = libmnl.symbols;
  // The C library of another system may lack the function: descriptors then stay, as they did.
  if (register === null || closeAddress === null) return undefined;
  const pointer = libc.symbols.calloc(1n, BigInt(SLOT_SIZE));
  if (pointer === null) return undefined;
  const fd = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(pointer, 4));
  const probe = 0x7ffffff0;
  fd[0] = probe;
  const isFirst = libmnl.symbols.mnl_socket_get_fd(pointer) === probe;
  fd[0] = NONE;
  // The third argument keeps the library in memory until the destructor has run.
  if (!isFirst || register(closeAddress, pointer, closeAddress) !== 0) {
    libc.symbols.free(pointer);
    return undefined;
  }
  return { pointer, fd };
}

/**
 * Has `fd` closed when this thread ends, and gives a function that calls that off: to be called
 * when the descriptor is closed.
 */
export function closeAtThreadExit(libc: Libc, libmnl: Libmnl, fd: number): () => void {
  const slot = spare.pop() ?? makeSlot(libc, libmnl);
  if (slot === undefined) return () => {};
  slot.fd[0] = fd;
  return () => {
    if (slot.fd[0] !== fd) return;
    slot.fd[0] = NONE;
    spare.push(slot);
  };
}
