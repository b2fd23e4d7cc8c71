/* SPDX-License-Identifier: Apache-2.0
 * bell.h - a counter that threads can wait for (futex).
 *
 * To wait for a condition: read the bell, check the condition, then wait for the bell to differ
 * from what was read.
 *
 * Threads: any; bell_ring() takes no lock, so that poll threads may use it for rare events. */
#ifndef UPCALL_BELL_H
#define UPCALL_BELL_H

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint32_t bell_t;

void bell_ring(bell_t *);

/* Returns when the bell differs from `seen`, or now and then without reason; after `timeout_ms` at
 * the latest if that is not negative. */
void bell_wait(bell_t *, uint32_t seen, int timeout_ms);

#endif
