/* SPDX-License-Identifier: Apache-2.0
 * upcall_exchange.h - the handler's side of a ring: verdicts about upcalls out, upcalls in.
 *
 * Threads: any; a handler's mutexes put calls in order. */
#ifndef UPCALL_UPCALL_EXCHANGE_H
#define UPCALL_UPCALL_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "dp.h"
#include "packet/key.h"

#define UPCALL_BATCH 256u

struct handler;

/* An upcall in the arena: where it lies, and where what answers are about.  The program has the
 * arena mapped, so what is said there is not relied on. */
struct upcall_place {
    uint32_t at;                     /* Of the first byte; places are in order of it. */
    uint32_t key_size;               /* The key follows struct dp_upcall. */
    uint32_t packet_at, packet_size;
};

/* The upcalls that were taken last. */
struct upcall_taken {
    const uint8_t *arena;
    uint32_t count;
    struct upcall_place places[UPCALL_BATCH];
    /* The keys of those of which `plain` says so are no more than this, and need not be read. */
    struct key_base keys[UPCALL_BATCH];
    bool plain[UPCALL_BATCH];
};

/* The number of the upcall that begins at byte `at` of the arena, `guess` if it is that one; the
 * count: none does. */
uint32_t upcall_find(const struct upcall_taken *, uint32_t at, uint32_t guess);

/* The upcalls that were taken last: while they are held they stay as they are for all but the
 * holder.  Not with the control mutex: a batch lets go of that on the way, and others who wait here
 * with it would have the holder wait for ever. */
const struct upcall_taken *handler_hold(struct handler *);
void handler_let_go(struct handler *);

/* Takes up to `max` upcalls into the arena, which is held.  ESHUTDOWN if the handler is closed. */
int handler_take(struct handler *, uint32_t max, struct dp_exchange *);
bool handler_is_closed(const struct handler *);
uint64_t handler_lost(const struct handler *);

/* Asks for the doorbell, which is quiet from here on until an upcall comes or the handler is
 * closed; EAGAIN: an upcall waits already.  ESHUTDOWN. */
int handler_arm(struct handler *);
int handler_doorbell(const struct handler *);

#endif
