/* SPDX-License-Identifier: Apache-2.0
 * port_xdp.h - AF_XDP programs on devices, as processes that died leave them.
 *
 * Threads: any. */
#ifndef UPCALL_PORT_XDP_H
#define UPCALL_PORT_XDP_H

/* Takes off an AF_XDP program that a killed process left on a device: nobody reads its queues any more, and packets vanish there.  Programs that are not
 * libxdp's are left alone.  EBUSY: a process has it, whose number `*owner` is. */
int eth_xdp_clean(const char *device, int *owner);

#endif
