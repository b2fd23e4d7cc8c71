/* SPDX-License-Identifier: Apache-2.0
 * handle.h - numbers that stand for objects across the ABI.
 *
 * A number is never used twice, so a stale one is refused instead of meaning somebody else's
 * object.  The table owns one reference to each object; a caller that looks one up owns another, so
 * closing a handle while a call is under way is safe.
 *
 * A handle belongs to the thread that opened it, which is an isolate's.  When that thread ends, as
 * that of a terminated Worker does, its handles are closed for it, datapaths last.
 *
 * Threads: any. */
#ifndef UPCALL_HANDLE_H
#define UPCALL_HANDLE_H

#include <stdatomic.h>
#include <stdint.h>

enum handle_kind {
    HANDLE_FREE, HANDLE_DP, HANDLE_HANDLER, HANDLE_DUMP, HANDLE_JOB, HANDLE_WATCH, HANDLE_TUNNELS, HANDLE_CT_WATCH, HANDLE_KINDS
};

/* First member of every object that has a handle. */
struct handle_object {
    _Atomic uint32_t references;
    void (*release)(struct handle_object *); /* With the last reference. */
};

/* Gives `object`, whose one reference passes to the table, a number below 2^53.  ENFILE, ENOMEM:
 * the reference stays the caller's. */
int handle_open(enum handle_kind, struct handle_object *object, uint64_t *handle);

/* The object with a further reference; NULL if the handle is stale or of another kind. */
struct handle_object *handle_get(uint64_t handle, enum handle_kind);

/* Takes the handle out of the table; the table's reference passes to the caller.  NULL as above. */
struct handle_object *handle_close(uint64_t handle, enum handle_kind);

void handle_put(struct handle_object *);

/* Closes what the calling thread has open, as its end does. */
void handle_close_all(void);

/* How handles of a kind are closed for a thread that ends.  Called once a kind, before the first
 * handle is opened. */
void handle_closer(enum handle_kind, int (*close)(uint64_t handle));

#endif
