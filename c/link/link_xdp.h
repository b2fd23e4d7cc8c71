/* SPDX-License-Identifier: Apache-2.0
 * link_xdp.h - AF_XDP programs on devices, as processes that died leave them.
 *
 * Threads: any. */
#ifndef UPCALL_LINK_XDP_H
#define UPCALL_LINK_XDP_H

/* Takes off an AF_XDP program that a killed process left on a device: nobody reads its queues any
 * more, and packets vanish there.  Programs that are not libxdp's are left alone.  EBUSY: a process
 * has it, whose number `*owner` is. */
int link_xdp_clean(const char *device, int *owner);

#endif
