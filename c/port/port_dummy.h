/* SPDX-License-Identifier: Apache-2.0
 * port_dummy.h - frames into and out of ports of type dummy.
 *
 * Threads: any; the port must stay, so under the control mutex. */
#ifndef UPCALL_PORT_DUMMY_H
#define UPCALL_PORT_DUMMY_H

#include <stdint.h>

struct port;

/* A frame comes in.  ENOBUFS, and error_set(). */
int port_dummy_inject(struct port *, const uint8_t *frame, uint32_t size);
/* The oldest frame that was sent; what is more than `size` is cut off.  ENOENT: none. */
int port_dummy_collect(struct port *, uint8_t *frame, uint32_t size, uint32_t *used);

#endif
