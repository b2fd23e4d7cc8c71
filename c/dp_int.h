/* SPDX-License-Identifier: Apache-2.0
 * dp_int.h - the datapath object, for the units behind dp.h.
 *
 * A datapath is counted: by its handles, by handlers, dumps and jobs that belong to it.  It is
 * destroyed with its last handle, or when somebody says so: then its threads, ports and packets go
 * at once, and every later call is ENODEV; its memory goes with the last reference.
 *
 * Threads: any.  dp_enter() takes the control mutex, under which everything here but `references`
 * is used. */
#ifndef UPCALL_DP_INT_H
#define UPCALL_DP_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/handle.h"
#include "dp.h"

struct ct;
struct dp_service;
struct flow_table;
struct pmd_set;
struct port_table;
struct rcu;
struct upcalls;

struct dp {
    char name[DP_NAME_SIZE];
    _Atomic uint32_t references;
    uint32_t opens;              /* Handles; under the lock of the list of datapaths (dp.c). */
    struct dp *next;             /* In that list. */
    pthread_mutex_t control;
    bool destroyed;
    struct rcu *rcu;
    struct flow_table *flows;
    struct pmd_set *pmds;
    struct port_table *ports;
    struct upcalls *upcalls;
    struct ct *ct;
    /* Runs once a flow tracks connections, and while a native callback decides misses. */
    struct dp_service *service;
    void (*free)(struct dp *);   /* With the last reference. */
};

/* What a handle of a datapath stands for: every dp_open() makes one. */
struct dp_opened {
    struct handle_object object;
    struct dp *dp;
    _Atomic bool woken;          /* dp_port_wake() was called, or the handle was closed. */
};

/* The datapath of a handle, referenced, its control mutex held.  EBADF, or ENODEV if it was
 * destroyed.  Also clears the error text and runs what RCU has let go. */
int dp_enter(uint64_t handle, struct dp **dp);

/* The same, of a datapath that the caller has a reference to.  ENODEV if it was destroyed. */
int dp_lock(struct dp *);
void dp_unlock(struct dp *);

/* Lets go of what dp_enter() took and returns `error`. */
int dp_leave(struct dp *, int error);

void dp_ref(struct dp *);
void dp_unref(struct dp *);

/* The datapath of a handle, referenced but not locked, destroyed or not; NULL: EBADF. */
struct dp *dp_of(uint64_t handle);

#endif
