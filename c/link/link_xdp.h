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

/* libbpf and libxdp tell stderr what they try on the way to success: no longer. */
void link_xdp_silence(void);

/* AF_XDP sockets of this process, as many as are told apart. */
struct link_xdp_sockets {
    uint32_t n;
    int fds[256];
};

void link_xdp_sockets(struct link_xdp_sockets *);
/* Takes the others out. */
void link_xdp_without(struct link_xdp_sockets *, const struct link_xdp_sockets *others);
/* To be called once their libraries are loaded, before sockets are opened: notes which queue each
 * is for. */
void link_xdp_follow(void);
/* Which of them receives from a queue of the device; -1: none, or it was not noted. */
int link_xdp_socket_of(const struct link_xdp_sockets *, uint32_t queue);
/* Closes those that are still open. */
void link_xdp_close(const struct link_xdp_sockets *);

#endif
