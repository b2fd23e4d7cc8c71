/* SPDX-License-Identifier: Apache-2.0
 * port_add.h - the steps of adding a port: made, its number chosen, its transmit queues made.
 *
 * Threads: under the control mutex, but port_new, port_make_txqs and port_free: the owner of the
 * port. */
#ifndef UPCALL_PORT_ADD_H
#define UPCALL_PORT_ADD_H

#include "port/port.h"

/* A port as asked for, in no table; its class is NULL if there is no such type.  NULL: no
 * memory. */
struct port *port_new(struct port_table *, const struct dp_port_request *);
void port_free(struct port *);

/* EEXIST, and error_set(), if another port has its name or its device. */
int port_check_unique(struct port_table *, const struct port *);
/* Gives it a number: `no`, or with DP_PORT_NONE the lowest free one.  EBUSY, EFBIG, and
 * error_set(). */
int port_choose_number(struct port_table *, struct port *, uint32_t no);

/* Of a port that is open.  ENOMEM. */
int port_make_txqs(struct port *);

#endif
