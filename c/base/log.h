/* SPDX-License-Identifier: Apache-2.0
 * log.h - what DPDK says when it fails, kept for the error text of the call that failed.
 *
 * DPDK's drivers report only a number; the reason is a line in its log.  While a thread captures,
 * its lines are kept; lines of other threads go to stderr as usual.
 *
 * Threads: any; a capture belongs to its thread. */
#ifndef UPCALL_LOG_H
#define UPCALL_LOG_H

/* Routes DPDK's log through here, errors only.  Called once, before EAL starts. */
void log_init(void);

/* Starts a capture, forgetting the thread's last one. */
void log_capture(void);

/* Ends it; the captured text, one line, until the thread's next capture. */
const char *log_captured(void);

#endif
