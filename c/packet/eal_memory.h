/* SPDX-License-Identifier: Apache-2.0
 * eal_memory.h - which memory EAL starts on: hugepages, transparent ones, or neither.
 *
 * Threads: the thread that starts EAL. */
#ifndef UPCALL_EAL_MEMORY_H
#define UPCALL_EAL_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes of free hugepages of all sizes. */
uint64_t eal_memory_hugepages(void);

/* For a start without them: whether the kernel makes transparent ones of EAL's memory, which is
 * private from now on where only that has some (eal_divert.h). */
bool eal_memory_choose(void);

/* Asks the kernel for them, once EAL has its memory. */
void eal_memory_wish(void);

#endif
