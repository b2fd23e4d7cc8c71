/* SPDX-License-Identifier: Apache-2.0
 * ipf.h - fragments of IP packets: held until the packet is whole, so that `ct` sees it, and cut
 * apart again afterwards into what came.
 *
 * A fragment belongs to a packet by addresses, identification, protocol (of IPv4), connection
 * tracking zone and recirc_id, whatever port or thread it comes by.  Where it is for no `ct`, port
 * (md.in_port) and VLANs count, too: addresses and identifications are known to one network only,
 * and zones are what tells networks apart for `ct`.  Whole packets are chains of the fragments' own
 * mbufs: nothing is copied, and cutting apart gives back the same frames, with the addresses, ports
 * and connection that `ct` gave the packet.
 *
 * Not over rte_ip_frag.  Its tables know neither zone nor recirc_id, belong to one thread and take
 * eight fragments a packet; they do not tell which fragments a packet was made of, and drop what
 * they do not want, where Open vSwitch lets it pass as invalid.  And none of the counters are
 * theirs.
 *
 * Refused, and so not held, are fragments with a wrong IPv4 header checksum, smaller ones than the
 * minimum (but the last of a packet, and those that are for no ct), ones that would make a packet
 * of more than 65,535 bytes or of more pieces than the smallest ones make, whose checksum is left
 * to be computed, that overlap, repeat or contradict one that is held, and what comes while the
 * maximum is held, or its port holds more than it leaves to others: of the maximum, of which a
 * port that is alone may have half, two a third each, and of mbufs (eal_hold.h).  What is for a
 * `ct` and what is not count apart for that.  `ct` calls them invalid.  A packet that is not whole
 * 15 seconds after its first fragment came is dropped.
 *
 * As Open vSwitch 3.1.0's userspace datapath, but for four faults of it: what expired is dropped
 * instead of being sent by the next packet's actions; a fragment that covers an older one whole is
 * refused as others that overlap are; what a packet needs to become whole is never left for the
 * next burst; and ports have shares.
 *
 * Owners.  A fragment that is held belongs to the table, a whole packet to the thread whose
 * fragment made it whole, until it has cut it apart.
 *
 * Lock.  One, spun on and held for some ten loads and stores; fragments of one packet that come in
 * order, or in the reverse of it, are put in their place without looking at others.
 *
 * Threads: ipf_take, ipf_cut and ipf_keep by poll threads and by the control side; ipf_create,
 * ipf_destroy, ipf_purge as noted; everything else by any thread. */
#ifndef UPCALL_IPF_H
#define UPCALL_IPF_H

#include <stdbool.h>
#include <stdint.h>

struct ipf;
struct rte_mbuf;

#define IPF_MAX_DEFAULT 1000u        /* Fragments held. */
#define IPF_MAX_MOST 5000u
#define IPF_MIN_V4_DEFAULT 1200u     /* Bytes from the IP header on. */
#define IPF_MIN_V6_DEFAULT 1280u
#define IPF_MIN_LEAST 400u
/* recirc_id of fragments that are for no `ct`; no packet that is recirculated has it.  They may be
 * as small as the minimum may be: those of others' packets would go on without the last one, which
 * has no minimum and is held.  Of what may be held they get half at most, of which ports have their
 * shares. */
#define IPF_NO_CT UINT32_MAX
#define IPF_TIMEOUT_MS 15000u

struct ipf *ipf_create(void);        /* NULL: no memory. */
/* NULL is fine.  No thread uses it; frees what is held. */
void ipf_destroy(struct ipf *);

enum ipf_verdict {
    IPF_REFUSED,                     /* The caller has the fragment still. */
    IPF_HELD,                        /* The table has it. */
    IPF_WHOLE,                       /* It made a packet whole. */
};

/* A packet that is whole. */
struct ipf_whole {
    /* A chain, the headers in its first segment.  They may be read and changed, its size and its
     * segments may not. */
    struct rte_mbuf *m;
    uint8_t ecns;                    /* ECN of all fragments, bit 1 << ECN of each. */
    /* The caller's. */
    struct ipf_whole *next;
    const void *then;
};

/* Takes a fragment, whose struct pkt is complete, for a `ct` in `zone`.  `now` is milliseconds of
 * CLOCK_MONOTONIC.  With IPF_WHOLE `*whole` is to be given to ipf_cut() until nothing is left, or
 * to ipf_keep(). */
enum ipf_verdict ipf_take(struct ipf *, uint16_t zone, struct rte_mbuf *m, uint64_t now, struct ipf_whole **whole);

/* The next `n` fragments of a packet at most, in their order, with what `ct` wrote into the
 * packet's struct pkt; `*left` says whether there are more.  Without them the packet is gone. */
unsigned int ipf_cut(struct ipf *, struct ipf_whole *, struct rte_mbuf **pieces, unsigned int n, bool *left);

/* The packet itself, in place of its fragments: the caller's from now on. */
struct rte_mbuf *ipf_keep(struct ipf *, struct ipf_whole *);

/* Drops what waits too long, a slice of it.  Answers in how many milliseconds it wants to be called
 * again. */
uint32_t ipf_service(struct ipf *, uint64_t now);
/* Drops everything that waits. */
void ipf_purge(struct ipf *);

struct ipf_counters {
    uint64_t accepted, completed, expired, too_small, overlapped, purged;
};

struct ipf_status {
    struct ipf_counters counters[2]; /* Of IPv4, of IPv6, as the next two. */
    uint32_t enabled[2];
    uint32_t min_size[2];
    uint32_t held, max;
    uint64_t full;                   /* Refused: the maximum was held. */
    uint64_t no_mbuf;                /* Refused: too many mbufs waited. */
    uint64_t bad;                    /* Refused: malformed, too large or many, or a wrong sum. */
};

void ipf_status(const struct ipf *, struct ipf_status *);
void ipf_set_enabled(struct ipf *, bool v6, bool on);
int ipf_set_min(struct ipf *, bool v6, uint32_t bytes);  /* EPERM: below IPF_MIN_LEAST. */
int ipf_set_max(struct ipf *, uint32_t fragments);       /* EPERM: above IPF_MAX_MOST. */

/* A packet that is not whole. */
struct ipf_info {
    uint8_t src[16], dst[16];        /* IPv4 in the first 4 bytes. */
    uint32_t id, recirc_id;
    uint16_t zone, pieces;
    uint8_t proto, family;           /* IPv6: proto is 0. */
    uint8_t first, last;             /* Whether those fragments are there. */
};

/* Up to `n` packets from position `*at` on, which begins at 0; *at is UINT32_MAX after the last. */
uint32_t ipf_dump(struct ipf *, uint32_t *at, struct ipf_info *, uint32_t n);

#endif
