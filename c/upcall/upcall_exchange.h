/* SPDX-License-Identifier: Apache-2.0
 * upcall_exchange.h - the handler's side of a ring: verdicts about upcalls out, upcalls in.
 *
 * Threads: any; a handler's `consumer` mutex puts calls in order. */
#ifndef UPCALL_UPCALL_EXCHANGE_H
#define UPCALL_UPCALL_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "dp.h"

struct handler;

/* The upcalls that were taken last: while they are held they stay as they are, and nothing else
 * happens to the handler. */
const uint8_t *handler_hold(struct handler *, uint32_t *used);
void handler_let_go(struct handler *);

/* Takes up to `max` upcalls into the arena.  ESHUTDOWN if the handler is closed. */
int handler_take(struct handler *, uint32_t max, struct dp_exchange *);
bool handler_is_closed(const struct handler *);
uint64_t handler_lost(const struct handler *);

/* Asks for the doorbell, which is quiet from here on until an upcall comes or the handler is
 * closed; EAGAIN: an upcall waits already.  ESHUTDOWN. */
int handler_arm(struct handler *);
int handler_doorbell(const struct handler *);

#endif
