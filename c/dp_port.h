/* SPDX-License-Identifier: Apache-2.0
 * dp_port.h - what the end of a datapath does with its ports.
 *
 * Threads: under the control mutex. */
#ifndef UPCALL_DP_PORT_H
#define UPCALL_DP_PORT_H

#include <stdint.h>

struct dp;

/* ENODEV, and error_set().  Lets go of the control mutex while the device closes. */
int dp_port_remove(struct dp *, uint32_t no);

#endif
