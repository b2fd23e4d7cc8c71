/* SPDX-License-Identifier: Apache-2.0
 * dp_port.h - what the end of a datapath, or of a thread, does with ports.
 *
 * Threads: dp_port_remove under the control mutex and struct dp's `life`. */
#ifndef UPCALL_DP_PORT_H
#define UPCALL_DP_PORT_H

#include <stdint.h>

struct dp;

/* ENODEV, and error_set().  Lets go of the control mutex while the device closes. */
int dp_port_remove(struct dp *, uint32_t no);

/* Frees a job that nobody will ask about.  EBADF. */
int dp_port_drop(uint64_t job);

#endif
