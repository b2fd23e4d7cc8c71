/* SPDX-License-Identifier: Apache-2.0 */
#include "port/port_bell.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "port/port.h"

int port_bell_arm(struct port_bell *bell)
{
    if (!bell->fd)
        bell->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) + 1;
    if (!bell->fd)
        return PORT_CANNOT_WAIT;
    atomic_store_explicit(&bell->armed, 1, memory_order_release);
    /* Pairs with port_bell_ring(): the caller looks at its queue now. */
    atomic_thread_fence(memory_order_seq_cst);
    return bell->fd - 1;
}

void port_bell_clear(struct port_bell *bell)
{
    uint32_t heard;
    uint64_t rings;

    atomic_store_explicit(&bell->armed, 0, memory_order_relaxed);
    heard = atomic_load_explicit(&bell->rings, memory_order_acquire);
    /* Most ports of a thread that woke: a system call for each would delay its packets. */
    if (heard == bell->heard)
        return;
    bell->heard = heard;
    if (read(bell->fd - 1, &rings, sizeof rings) < 0)
        return; /* A ring that was not counted yet has been taken out with the last. */
}

void port_bell_ring(struct port_bell *bell)
{
    const uint64_t one = 1;

    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&bell->armed, memory_order_acquire) || !atomic_exchange_explicit(&bell->armed, 0, memory_order_acq_rel))
        return;
    if (write(bell->fd - 1, &one, sizeof one) < 0)
        return; /* It rings already. */
    /* After the write: what is in the eventfd and not counted ends a sleep again, until it is. */
    atomic_fetch_add_explicit(&bell->rings, 1, memory_order_release);
}

void port_bell_close(struct port_bell *bell)
{
    if (bell->fd)
        close(bell->fd - 1);
}
