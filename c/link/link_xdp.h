/* SPDX-License-Identifier: Apache-2.0
 * link_xdp.h - AF_XDP programs on devices, as processes that died leave them, and sockets, as
 * drivers do.
 *
 * Threads: any. */
#ifndef UPCALL_LINK_XDP_H
#define UPCALL_LINK_XDP_H

#include <stdint.h>

/* Takes off an AF_XDP program that a killed process left on a device: nobody reads its queues any
 * more, and packets vanish there.  Programs that are not libxdp's are left alone.  EBUSY: a process
 * has it, whose number `*owner` is. */
int link_xdp_clean(const char *device, int *owner);

/* AF_XDP sockets of this process, as many as are told apart. */
struct link_xdp_sockets {
    uint32_t n;
    int fds[256];
};

void link_xdp_sockets(struct link_xdp_sockets *);
/* Takes the others out. */
void link_xdp_without(struct link_xdp_sockets *, const struct link_xdp_sockets *others);
/* Closes those that are still open. */
void link_xdp_close(const struct link_xdp_sockets *);

#endif
