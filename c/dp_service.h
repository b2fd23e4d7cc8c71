/* SPDX-License-Identifier: Apache-2.0
 * dp_service.h - the one background thread of a datapath: puts the flows that native callbacks
 * decided on (burst_direct.h), and ends the connections that have expired (ct.h).
 *
 * Threads: any; without the control mutex to stop it. */
#ifndef UPCALL_DP_SERVICE_H
#define UPCALL_DP_SERVICE_H

struct burst_puts;
struct dp;
struct dp_service;

struct dp_service *dp_service_start(struct dp *); /* NULL: no memory or no thread. */
/* Starts it if flows track connections and it does not run.  Without memory for it, the next call
 * tries again.  Under the control mutex. */
void dp_service_track(struct dp *);
void dp_service_stop(struct dp_service *);        /* NULL is allowed. */

/* Where flows are left for it. */
struct burst_puts *dp_service_puts(struct dp_service *);

#endif
