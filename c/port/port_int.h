/* SPDX-License-Identifier: Apache-2.0
 * port_int.h - what port.c and port_add.c share: the table, and taking numbers for ports that are on their way.
 *
 * Threads: under the control mutex, but the atomics. */
#ifndef UPCALL_PORT_INT_H
#define UPCALL_PORT_INT_H

#include "base/bell.h"
#include "port/port.h"

struct port_table {
    struct port **by_no;
    uint32_t end;                        /* No port has this number or a higher one. */
    struct port *reserved;               /* Being opened or closed: they hold their number, name and device. */
    _Atomic uint64_t sequence;
    bell_t bell;
};

struct port *port_named(struct port_table *, const char *name);

void port_reserve(struct port_table *, struct port *);
void port_unreserve(struct port_table *, struct port *);

/* Lets threads see an open port.  errno, and error_set(): it is still the caller's. */
int port_publish(struct dp *, struct port *);

void port_describe(struct port *, struct dp_port_info *);
void port_free(struct port *);

#endif
