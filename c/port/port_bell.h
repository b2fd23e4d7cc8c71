/* SPDX-License-Identifier: Apache-2.0
 * port_bell.h - wakes the poll thread of a port that has no descriptor of its own (dummy, ring).
 *
 * The thread arms the bell, looks at the queue once more, and sleeps on the descriptor; a producer
 * rings after it has put packets into the queue, which costs a fence unless the bell is armed.
 *
 * Threads: port_bell_arm and _clear by the queue's poll thread, _clear also by the control side
 * while no thread has the queue; port_bell_ring by anybody. */
#ifndef UPCALL_PORT_BELL_H
#define UPCALL_PORT_BELL_H

#include <stdatomic.h>
#include <stdint.h>

struct port_bell {
    _Atomic uint32_t armed;
    _Atomic uint32_t rings;      /* So many are or were in the eventfd. */
    uint32_t heard;              /* So many have been taken out of it.  The poll thread's. */
    int fd;                      /* eventfd + 1, made when first needed; 0: not yet. */
};

/* The descriptor to sleep on; PORT_CANNOT_WAIT if there is none to be had. */
int port_bell_arm(struct port_bell *);
void port_bell_clear(struct port_bell *);
void port_bell_ring(struct port_bell *);
void port_bell_close(struct port_bell *);

#endif
