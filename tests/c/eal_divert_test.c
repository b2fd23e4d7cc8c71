/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 *
 * A driver that closes a descriptor for which EAL waits, as memif does when its peer goes, does not end the process. */
#define ALLOW_EXPERIMENTAL_API
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_interrupts.h>

#include "dp_fixture.h"

static atomic_uint heard;

static void hear(void *arg)
{
    uint64_t rings;

    if (read(*(int *)arg, &rings, sizeof rings) == sizeof rings)
        atomic_fetch_add(&heard, 1);
}

static struct rte_intr_handle *wait_for(int *fd)
{
    struct rte_intr_handle *handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);

    CHECK(handle && !rte_intr_fd_set(handle, *fd) && !rte_intr_type_set(handle, RTE_INTR_HANDLE_EXT));
    CHECK(!rte_intr_callback_register(handle, hear, fd));
    return handle;
}

int main(void)
{
    const uint64_t ring = 1;
    int closed = eventfd(0, EFD_NONBLOCK), other = eventfd(0, EFD_NONBLOCK), open = eventfd(0, EFD_NONBLOCK);
    int another = epoll_create1(0);
    struct rte_intr_handle *gone, *reused, *there;

    fixture_start();
    gone = wait_for(&closed);
    reused = wait_for(&other);
    /* The number is another thing's now, for which nobody can wait. dup2() closes and reuses at once:
       EAL's thread opens descriptors meanwhile, and would take a number that was only closed. */
    CHECK(dup2(another, closed) == closed);
    close(other);
    there = wait_for(&open); /* EAL looks at its list anew. */
    for (unsigned int i = 1; i <= 3; i++) {
        CHECK(write(open, &ring, sizeof ring) == sizeof ring);
        EVENTUALLY(atomic_load(&heard) == i);
    }
    rte_intr_callback_unregister_sync(gone, hear, &closed);
    rte_intr_callback_unregister_sync(reused, hear, &other);
    CHECK(rte_intr_callback_unregister_sync(there, hear, &open) == 1);
    return 0;
}
