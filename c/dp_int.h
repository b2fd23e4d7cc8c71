/* SPDX-License-Identifier: Apache-2.0
 * dp_int.h - the datapath object, for the units behind dp.h.
 *
 * A datapath is counted: by its handles, by handlers, dumps and jobs that belong to it.  It is
 * destroyed with its last handle, or when somebody says so: then its threads, ports and packets go
 * at once, and every later call is ENODEV; its memory goes with the last reference.
 *
 * Two mutexes.  `control` guards everything here but `references`, is held for microseconds, and is
 * let go of in every wait (rcu.h).  `life` is held, before `control`, by calls that start, stop or
 * wait for poll threads, for as long as that takes: they exclude each other by it, and what they
 * change is whole whenever they let go of `control`.  Calls that do not wait never take `life`.
 *
 * Threads: any. */
#ifndef UPCALL_DP_INT_H
#define UPCALL_DP_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/handle.h"
#include "dp.h"

struct bonds;
struct burst_puts;
struct ct;
struct dp_service;
struct flow_pause;
struct flow_table;
struct meters;
struct ipf;
struct pmd_set;
struct port_table;
struct rcu;
struct tnl;
struct records;
struct upcalls;

/* Copies of packets for one handle; NULL: nobody looks. */
struct dp_look {
    struct records *records;
    const struct dp_opened *by;
};

struct dp {
    char name[DP_NAME_SIZE];
    _Atomic uint32_t references;
    uint32_t opens;              /* Handles; under the lock of the list of datapaths (dp.c). */
    struct dp *next;             /* In that list. */
    pthread_mutex_t life, control;
    /* Threads that want `control`, how often it was taken, and by whom last: dp_enter.c. */
    _Atomic uint32_t waiting, turns;
    _Atomic uintptr_t last;
    bool destroyed;
    struct rcu *rcu;
    struct flow_table *flows;
    struct pmd_set *pmds;
    struct port_table *ports;
    struct upcalls *upcalls;
    struct ct *ct;
    struct meters *meters;
    struct ipf *ipf;
    struct bonds *bonds;
    struct tnl *tnl;
    /* Runs once a flow tracks connections, there is a tunnel or queues are balanced, and while a
     * native callback decides misses. */
    struct dp_service *service;
    struct dp_look drops, samples; /* What is dropped; what psample actions see. */
    void (*free)(struct dp *);   /* With the last reference. */
};

/* What a handle of a datapath stands for: every dp_open() makes one. */
struct dp_opened {
    struct handle_object object;
    struct dp *dp;
    /* dp_poll_threads_choose() was called: `cores` are for the next dp_poll_threads_set(). */
    bool chosen;
    uint64_t cores[DP_CORES / 64];
};

/* The datapath of a handle, referenced, its control mutex held.  EBADF, or ENODEV if it was
 * destroyed.  Also clears the error text and runs what RCU has let go. */
int dp_enter(uint64_t handle, struct dp **dp);

/* The same, of a datapath that the caller has a reference to.  ENODEV if it was destroyed. */
int dp_lock(struct dp *);
void dp_unlock(struct dp *);

/* dp_enter() and dp_leave() of calls that wait: with `life` as well. */
int dp_enter_life(uint64_t handle, struct dp **dp);
int dp_leave_life(struct dp *, int error);

/* In the midst of long work under `control`: whether others wait for it; and lets those have it
 * once, and takes it again.  ENODEV: the datapath was destroyed meanwhile. */
#define DP_GIVE_WAY 256u         /* Flows after which they may have it. */
bool dp_is_wanted(const struct dp *);
int dp_give_way(struct dp *);
/* Lets go of the control mutex while `work(of)` runs.  ENODEV: the datapath is destroyed. */
int dp_meanwhile(struct dp *, void (*work)(void *), void *of);
/* The same for flow_operate(). */
void dp_pause(struct dp *, struct flow_pause *);

/* Lets go of what dp_enter() took and returns `error`. */
int dp_leave(struct dp *, int error);

void dp_ref(struct dp *);
void dp_unref(struct dp *);

/* With `life` held as well.  ENODEV, and error_set().  Lets go of the control mutex while the
 * device closes. */
int dp_port_remove(struct dp *, uint32_t no);
/* Frees a job that nobody will ask about.  EBADF. */
int dp_port_drop(uint64_t job);

/* Of a handle that is closed: it looks at packets no more. */
void dp_looks_forget(struct dp_opened *);

/* The datapath of a handle, referenced but not locked, destroyed or not; NULL: EBADF. */
struct dp *dp_of(uint64_t handle);

/* --- Service ---------------------------------------------------------------------------------- */

/* The one background thread of a datapath: puts the flows that native callbacks decided on
 * (burst_direct.h), ends the connections that have expired (ct.h), and balances the queues of poll
 * threads (pmd_figures.h).  Any thread may call these; without the control mutex to stop it. */
struct dp_service *dp_service_start(struct dp *); /* NULL: no memory or no thread. */
/* Starts it if flows track connections and it does not run.  Without memory for it, the next call
 * tries again.  Under the control mutex. */
void dp_service_track(struct dp *);
void dp_service_stop(struct dp_service *);        /* NULL is allowed. */

/* Has it look anew at what is due; NULL is allowed. */
void dp_service_look(struct dp_service *);

/* Where flows are left for it. */
struct burst_puts *dp_service_puts(struct dp_service *);

#endif
