/* SPDX-License-Identifier: Apache-2.0
 * port_int.h - what port.c and port_add.c share: the table.
 *
 * Threads: under the control mutex, but the atomics. */
#ifndef UPCALL_PORT_INT_H
#define UPCALL_PORT_INT_H

#include <pthread.h>

#include "port/port.h"

struct port_table {
    struct port **by_no;
    uint32_t end;                        /* No port has this number or a higher one. */
    /* Being opened or closed: they hold their number, name and device. */
    struct port *reserved;
    _Atomic uint64_t sequence;
    /* For a few instructions: poll threads ring, too, when a device goes. */
    pthread_mutex_t watch_lock;
    struct port_watch *watches;
};

#endif
