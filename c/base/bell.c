/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "base/bell.h"

#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void bell_ring(bell_t *bell)
{
    atomic_fetch_add_explicit(bell, 1, memory_order_release);
    syscall(SYS_futex, bell, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void bell_wait(bell_t *bell, uint32_t seen, int timeout_ms)
{
    struct timespec timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000000l };

    if (atomic_load_explicit(bell, memory_order_acquire) == seen)
        syscall(SYS_futex, bell, FUTEX_WAIT_PRIVATE, seen, timeout_ms < 0 ? NULL : &timeout, NULL, 0);
}
