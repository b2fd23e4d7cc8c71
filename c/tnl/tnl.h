/* SPDX-License-Identifier: Apache-2.0
 * tnl.h - the tunnels of a datapath: which ports are tunnels, which addresses are ours, next hops,
 * and events about them.  dp_tnl.h says what all that means.
 *
 * The control side writes; poll threads look things up without a lock, in maps that are published
 * by pointer (tnl_map.h), and what is replaced is freed after a grace period.  Nothing that was
 * looked up is kept beyond the burst.
 *
 *   sending     port's transmit buffer ── path/tx.c ── tnl_push(): hop, outer header
 *                                            └─ underlay's transmit buffer, or looked up again
 *   receiving   an underlay's burst ── tnl_sift(): for us? ── tnl_pop() ── looked up again, as
 *               received from the tunnel port
 *
 * Threads: everything in this header under the control mutex but what says otherwise. */
#ifndef UPCALL_TNL_H
#define UPCALL_TNL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dp.h"
#include "packet/tunnel.h"

struct rcu;
struct tnl;                      /* Owned by the datapath. */
struct worker;

struct tnl *tnl_create(struct rcu *);            /* NULL: no memory, no descriptor. */
void tnl_destroy(struct tnl *);                  /* Nobody reads it any more. */

/* What a port is to tunnels, by number: bits. */
#define TNL_IS_TUNNEL 1u
#define TNL_RECEIVES 2u          /* Brings packets to addresses of ours. */
#define TNL_SENDS 4u             /* Is sent packets to addresses of ours. */
/* The bits of all ports, for poll threads, which see a change at the next burst. */
const _Atomic uint8_t *tnl_roles(const struct tnl *);

/* A port comes, before it can be used, or has gone: its hops go with it.  EEXIST, and error_set():
 * another one would take the same packets; ENOMEM. */
int tnl_port_add(struct tnl *, uint32_t no, const struct tunnel_config *);
void tnl_port_remove(struct tnl *, uint32_t no);
/* Whether there is one, for which fragments may wait. */
bool tnl_has_ports(const struct tnl *);

/* As dp_tnl_hop_*() and so on.  errno, and error_set(). */
int tnl_hop_set(struct tnl *, const struct dp_tnl_hop *);
int tnl_hop_delete(struct tnl *, const struct dp_tnl_hop_key *);
int tnl_hop_flush(struct tnl *, uint32_t underlay);
int tnl_hop_next(struct tnl *, uint32_t *at, struct dp_tnl_hop *);
int tnl_locals_set(struct tnl *, const struct dp_tnl_local *, uint32_t count);
int tnl_source_ports(struct tnl *, uint32_t low, uint32_t high);

/* Events: a descriptor of its own for who waits, EBUSY if somebody does; `now` as worker.now. */
int tnl_watch(struct tnl *, int *descriptor);
/* By the owner of the watch; needs no mutex. */
void tnl_unwatch(struct tnl *, int descriptor);
uint32_t tnl_events_take(struct tnl *, uint64_t now, uint32_t max, struct dp_tnl_event *);
/* Makes the descriptor readable: the datapath was destroyed. */
void tnl_wake(struct tnl *);

#endif
