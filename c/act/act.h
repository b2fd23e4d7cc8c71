/* SPDX-License-Identifier: Apache-2.0
 * act.h - actions: ODP attributes compiled once, at flow put, to a short program; the program run
 * on packets.
 *
 * A program is immutable after act_compile and belongs to its flow, or to all flows that share it;
 * it is freed after a grace period.  Unknown and unsupported actions are refused when compiling
 * (EINVAL), so that feature probes tell the truth; and so are actions that cannot be done to every
 * packet of the flow (act_known.h).  The text says where: `actions[2].set.tcp: ...`.
 *
 * Supported: output, userspace, set and set_masked (of Ethernet, ARP, IPv4, IPv6, TCP, UDP, SCTP,
 * ICMP, ICMPv6, ND, MPLS, NSH and metadata), push and pop of VLAN tags, MPLS labels, Ethernet and
 * service headers, add_mpls, trunc, recirc, hash, ct and ct_clear (ct.h), meter (meter.h),
 * lb_output (bond.h), set of a tunnel, tnl_push and tnl_pop (tnl_ready.h, tnl_pop.h), sample,
 * clone, check_pkt_len, dec_ttl, psample (worker.h), drop.
 *
 * Layers are those of the key, which knows two tags: behind the third of a packet that comes with
 * it there are none.  Tags that actions push do not hide them.  A set of a layer that the packet
 * does not have changes nothing (Open vSwitch 3.1.0 writes there all the same).  Checksums are
 * updated, not recomputed, so a wrong one stays wrong; a partial one (RTE_MBUF_F_TX_*_CKSUM) stays
 * partial.  An output before the last copies the whole packet: an mbuf that shares its bytes could
 * be written to by its next owner, another datapath behind a ring or patch port, say.
 *
 * Scope, as in Open vSwitch: changes inside clone and non-last sample stay inside; trunc reaches
 * the next output or userspace only, and cuts off what the packet had too much where trunc stood:
 * tags pushed in between are sent besides.  An empty list drops.  Nesting deeper than 16 is
 * EOVERFLOW.
 *
 * Threads: act_compile and act_free on the control side; act_run by a poll thread, or by the
 * control side with its own `struct worker`. */
#ifndef UPCALL_ACT_H
#define UPCALL_ACT_H

#include <stdbool.h>
#include <stdint.h>

#include "packet/key.h"
#include "packet/pkt.h"

struct ct_request;
struct rte_mbuf;
struct worker;
struct act_prog;
struct burst_sum;

/* What cls.h's entries keep of a program, so that the commonest need no further memory. */
enum act_kind {
    ACT_DROP,                /* Empty list. */
    ACT_OUTPUT,              /* One output: act_output_port(). */
    ACT_PROGRAM,             /* Anything else. */
};

/* Bytes of a list of actions, as in Linux (net/openvswitch/flow_netlink.c). */
#define ACT_ATTRS_MAX 32768u

/* Compiles `attrs` for a flow with `key`, in which is zero what it does not match; NULL: for any
 * packet, and nothing is refused for what a packet may lack.  EINVAL, EMSGSIZE, EOVERFLOW, ENOMEM;
 * `*why` is a text on failure, good until this thread compiles again. */
int act_compile(const uint8_t *attrs, uint32_t size, const struct key *key, struct act_prog **prog, const char **why);
void act_free(struct act_prog *);
/* One more owner: it is gone when each of them has freed it.  Owners are under one mutex: the count
 * is no atomic. */
struct act_prog *act_share(struct act_prog *);

enum act_kind act_kind(const struct act_prog *);
uint64_t act_verdict(const struct act_prog *);     /* As the classifier keeps it: CLS_VERDICT_*. */
uint32_t act_output_port(const struct act_prog *); /* Of ACT_OUTPUT. */
bool act_tracks(const struct act_prog *);          /* Connections: it has a `ct`. */
/* A program that only tracks and looks up again: what it asks for, and the recirc_id.  NULL: it is
 * another one. */
const struct ct_request *act_track(const struct act_prog *, uint32_t *recirc_id);
/* The attributes that it was compiled from. */
const uint8_t *act_attrs(const struct act_prog *, uint32_t *size);

/* Runs it on `n` <= WORKER_BURST packets, which it takes over.  Their metadata is `md` (of a fresh
 * burst) or, where that is NULL, in each packet's struct pkt.  Output goes through tx_output(),
 * upcalls through upcall_action(), recirculation through worker_recirculate(). */
void act_run(struct worker *, const struct act_prog *, struct rte_mbuf **packets, unsigned int n, const struct pkt_md *md);

/* The same of packets that `sum` is of, or that are some of those.  False: program or packets are
 * others than this is for, and nothing was done. */
bool act_quick(struct worker *, const struct act_prog *, struct rte_mbuf **packets, unsigned int n, const struct burst_sum *sum);

/* Gives packets a hash, mbuf's `hash.rss`, that their devices have not given one.  It stays theirs:
 * as in Open vSwitch, changes and another lookup do not change it. */
void act_hash_packets(struct rte_mbuf **packets, unsigned int n);

#endif
