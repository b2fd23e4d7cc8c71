/* SPDX-License-Identifier: Apache-2.0
 * burst.h - what becomes of a burst of packets: lookup, counters, actions, upcalls,
 * recirculation.
 *
 * Counts stat.hit and stat.recirculated; received is counted by the receiver, missed and lost by
 * upcall.c.
 *
 * Threads: the owner of the worker. */
#ifndef UPCALL_BURST_H
#define UPCALL_BURST_H

#include "packet/pkt.h"

struct rte_mbuf;
struct worker;

/* Takes over `n` <= CLS_BURST packets that came in by one port and handles them to the end,
 * recirculations included.  `md` is their common metadata.  Output is left in the worker's transmit
 * buffers (tx_flush). */
void burst_receive(struct worker *, struct rte_mbuf **packets, unsigned int n, const struct pkt_md *md);

/* The same of packets without Ethernet header (pkt.h), which say what they are by their version of
 * IP. */
void burst_receive_l3(struct worker *, struct rte_mbuf **packets, unsigned int n, uint32_t in_port);

/* Handles to the end what worker_recirculate() was given outside burst_receive(): by actions that
 * the control side ran. */
void burst_recirculate(struct worker *);

/* Sends what waits, and handles what tunnels have taken of it. */
void burst_settle(struct worker *);

#endif
