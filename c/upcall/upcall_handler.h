/* SPDX-License-Identifier: Apache-2.0
 * upcall_handler.h - the handlers of a datapath, as the control side sees them: opened, configured,
 * purged, closed.
 *
 * A handler belongs to the program that opened it, which closes and frees it.
 *
 * Threads: under the control mutex, but handler_free. */
#ifndef UPCALL_UPCALL_HANDLER_H
#define UPCALL_UPCALL_HANDLER_H

#include <stdbool.h>
#include <stdint.h>

#define UPCALL_HANDLERS_MAX 64
#define UPCALL_ARENA (4u << 20)

struct handler;
struct rcu;
struct upcall_direct;
struct upcalls;

struct upcalls *upcalls_create(struct rcu *);       /* NULL: no memory. */
void upcalls_destroy(struct upcalls *);
/* Threads are stopped: drops what waits and wakes all waiters. */
void upcalls_shutdown(struct upcalls *);
void upcalls_count(struct upcalls *, uint64_t *handled, uint64_t *purged);

/* Of handlers opened from now on: packets that may wait, a power of two, and how many of them may
 * come from one port (0: its share). */
void upcalls_set_ring(struct upcalls *, uint32_t size);
void upcalls_set_quota(struct upcalls *, uint32_t quota);

/* Ids from 0 that may be open; handlers with others are retired.  EINVAL, ENOMEM, and
 * error_set(). */
int upcalls_set_count(struct upcalls *, uint32_t count);
/* Once upcalls are disabled and this has returned, none is made any more.  ENOMEM; EBUSY, and
 * error_set(): they are disabled, but a poll thread is stuck. */
int upcalls_enable(struct upcalls *, bool enable);
/* Misses go to a callback from now on, or (`function` NULL) to handlers; the one before does not
 * run any more.  ENOMEM; EBUSY as above. */
int upcalls_set_direct(struct upcalls *, const struct upcall_direct *);
/* Throws away what waits. */
void upcalls_purge(struct upcalls *);

/* A handler and its arena.  EINVAL, EBUSY, ENOMEM, and error_set(). */
int upcalls_open(struct upcalls *, uint32_t id, struct handler **, uint8_t **arena);
/* Takes a handler away from poll threads, drops what waits for it and keeps its figures. */
void upcalls_close(struct upcalls *, struct handler *);
void handler_free(struct handler *); /* The owner's part of it. */

#endif
