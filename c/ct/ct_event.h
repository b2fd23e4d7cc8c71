/* SPDX-License-Identifier: Apache-2.0
 * ct_event.h - what becomes of connections, told to programs: new, changed, ended.
 *
 * Each thread that handles connections leaves events in a ring of its own, and never waits: where
 * the ring is full, the event is counted as lost.  Every event has a place in one order of all
 * threads: that of a new connection is taken before others can find it, that of its end before its
 * tuple is free again, and a change of one that has ended meanwhile is not told.  So of one tuple
 * programs are told new, its changes, destroy, and then the next new.  Who reads moves what is in
 * the rings into a log in that order, up to the first event that its thread has not written yet.
 * Programs read the log, each at its own pace; what the log has no room for any more is lost to
 * those that were too slow, and counted for them.
 *
 * While nobody listens, a packet costs one look at one word, and established packets of the hot way
 * none: their connections do not change.
 *
 * Memory: rings and log are reserved when the first program listens, touched as they fill, and
 * stay until the connections go.
 *
 * Locks: the log's mutex, by programs only; nothing else is taken under it.
 *
 * Threads: ct_listen, ct_unlisten, ct_take_events and ct_wake_listeners by any but a poll thread;
 * of one listener one at a time. */
#ifndef UPCALL_CT_EVENT_H
#define UPCALL_CT_EVENT_H

#include "ct/ct.h"

#define CT_LISTENERS 16u             /* At a time. */

/* LOST: `lost` events are missing before the next one, of whatever zone and kind. */
enum ct_event_kind { CT_EVENT_VOID, CT_EVENT_NEW, CT_EVENT_UPDATE, CT_EVENT_DESTROY, CT_EVENT_LOST };

/* Bits of a `ct` action's eventmask: IPCT_* of nf_conntrack_common.h.  An event is told if one of
 * what it reports is among them. */
#define CT_REPORT_NEW 0x001u
#define CT_REPORT_RELATED 0x002u     /* In place of NEW, of what a helper announced. */
#define CT_REPORT_DESTROY 0x004u
#define CT_REPORT_REPLY 0x008u       /* The first answer. */
#define CT_REPORT_PROTOCOL 0x020u    /* TCP: the state of either side. */
#define CT_REPORT_HELPER 0x040u
#define CT_REPORT_MARK 0x080u
#define CT_REPORT_LABEL 0x400u

struct ct_event {
    uint32_t kind;                   /* enum ct_event_kind. */
    uint32_t reports;                /* CT_REPORT_*. */
    uint64_t lost;
    struct ct_info info;             /* As it was then. */
};

/* Which events: of a zone, < 0: all; bits of 1 << enum ct_event_kind. */
struct ct_listening {
    int32_t zone;
    uint32_t kinds;
};

/* Begins to listen: what happens from now on is told.  `*descriptor` is readable when there may be
 * events; it stays the table's.  ENFILE: too many listen; ENOMEM; EMFILE. */
int ct_listen(struct ct *, const struct ct_listening *, uint32_t *listener, int *descriptor);
void ct_unlisten(struct ct *, uint32_t listener);
/* Up to `n` events; 0: none, and the descriptor becomes readable once there is one. */
uint32_t ct_take_events(struct ct *, uint32_t listener, struct ct_event *, uint32_t n);
/* Makes all descriptors readable. */
void ct_wake_listeners(struct ct *);

#endif
