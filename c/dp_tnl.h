/* SPDX-License-Identifier: Apache-2.0
 * dp_tnl.h - the part of the ABI about tunnels; dp.h includes it, and its rules hold here.
 *
 * A tunnel port is a port whose type is a kind of tunnel (port_tnl.c has the kinds and their
 * options).  It has no device: what is sent to it gets outer headers and leaves by another port,
 * its underlay, and packets that come with such headers to an address of ours are received from it.
 *
 * C builds all of an outer packet but what only a table of routes and of neighbours tells.  That is
 * a next hop, which the program writes ahead, or when it is asked:
 *
 *   a packet for a remote end      C asks (DP_TNL_ASK), once a second for each remote end at most,
 *   without a next hop             and drops the packet under `tunnel_no_hop`
 *   the program                    looks for route and neighbour, and says dp_tnl_hop_set()
 *   a route or neighbour changes   dp_tnl_hop_set() again, or dp_tnl_hop_delete(), _flush()
 *
 * A hop is found by what a route can depend on: tunnel port, remote end, local end, skb_mark.  Hop
 * changes are true for every burst that begins after the call has returned; the burst that a poll
 * thread has in hand then, which takes microseconds, is the last one with the old one.
 *
 * What is ours is told as a whole by dp_tnl_locals_set(): addresses, with the port that they are
 * reached by, in one of two ways.  A port that brings packets to them (DP_TNL_LOCAL_RECEIVED): what
 * a tunnel port takes never comes to the flows.  Or a port which has them, as the local port has
 * those of the host (DP_TNL_LOCAL_SENT): flows bring packets there, and what a tunnel port takes is
 * not sent.  What no tunnel port wants goes on as if there were none.  Likewise a hop may say that
 * the outer packet is sent by a port, or (DP_TNL_HOP_RECEIVED) that it is looked up like one
 * received from that port, as if the host behind it had sent it.
 *
 * A `set(tunnel(...))` of the flow says where to, unless the port has a fixed remote end.
 *
 * Threads: any, as dp.h says. */
#ifndef UPCALL_DP_TNL_H
#define UPCALL_DP_TNL_H

#include <stdint.h>

#include "dp_api.h"

/* An address is 16 bytes; IPv4 is in the first four, and the rest is 0. */
#define DP_TNL_IPV4 4u
#define DP_TNL_IPV6 6u

/* --- Next hops -------------------------------------------------------------------------------- */

struct dp_tnl_hop_key {
    uint32_t port;           /* The tunnel port. */
    uint32_t mark;           /* skb_mark of the packet. */
    uint32_t family;         /* DP_TNL_IPV4, DP_TNL_IPV6. */
    uint32_t pad;
    /* Local end as flow or port ask for it; 0: they leave it to the route. */
    uint8_t src[16];
    uint8_t dst[16];         /* Remote end. */
};

#define DP_TNL_HOP_RECEIVED 1u   /* Look the packet up as one that `underlay` received. */
/* No route: drop packets as `tunnel_no_hop`, and do not ask. */
#define DP_TNL_HOP_NONE 2u

struct dp_tnl_hop {
    struct dp_tnl_hop_key key;
    uint32_t underlay;       /* A port of the same datapath. */
    uint32_t flags;          /* DP_TNL_HOP_*. */
    /* Bytes that an outer packet may have from its IP header on; 0: as many as there can be. */
    uint32_t mtu;
    /* TTL where neither flow nor port say one; 0: 64. */
    uint32_t ttl;
    uint8_t src[16];         /* Local end: the outer source address. */
    /* The Ethernet header with its tags and EtherType, as it stands in the frame. */
    uint32_t header_size;    /* 14, 18 or 22. */
    uint8_t header[24];
    uint32_t pad;
    uint64_t used_ms;        /* Answered: CLOCK_MONOTONIC when used last; 0: never. */
};

/* Makes or replaces a hop.  EINVAL; ENODEV: its port is no tunnel (any more); ENOSPC: there are
 * DP_TNL_HOPS others. */
#define DP_TNL_HOPS 65536u
DP_API int dp_tnl_hop_set(uint64_t dp, const struct dp_tnl_hop *hop);
/* ENOENT. */
DP_API int dp_tnl_hop_delete(uint64_t dp, const struct dp_tnl_hop_key *key);
/* Deletes those by an underlay; DP_PORT_NONE: all. */
DP_API int dp_tnl_hop_flush(uint64_t dp, uint32_t underlay);
/* The first hop at place `*at` or behind it; `*at` becomes the next place.  ENOENT: no more.
 * Places move when hops are made, so what is listed meanwhile may be incomplete. */
DP_API int dp_tnl_hop_next(uint64_t dp, uint32_t *at, struct dp_tnl_hop *hop);

/* --- What is ours ----------------------------------------------------------------------------- */

#define DP_TNL_LOCAL_RECEIVED 1u
#define DP_TNL_LOCAL_SENT 2u

struct dp_tnl_local {
    uint32_t port;           /* By which the address is reached. */
    uint32_t flags;          /* DP_TNL_LOCAL_*, at least one. */
    uint32_t family;
    /* VLAN identifier of the tag that its packets have; 0: they have no tag. */
    uint32_t vlan;
    uint8_t address[16];
    uint8_t mac[6];          /* Destination of its frames; 0: any. */
    uint8_t pad[2];
};

/* Replaces all of them, at once.  EINVAL; ENOSPC: more than DP_TNL_LOCALS. */
#define DP_TNL_LOCALS 4096u
DP_API int dp_tnl_locals_set(uint64_t dp, const struct dp_tnl_local *locals, uint32_t count);

/* UDP source ports of outer packets, chosen by the inner packet's hash: `low` to `high`, which are
 * exchanged if they are in the wrong order.  As long as nothing is said: 32768 to 61000.  ERANGE:
 * one is not 1 to 65535. */
DP_API int dp_tnl_source_ports(uint64_t dp, uint32_t low, uint32_t high);

/* --- Events ----------------------------------------------------------------------------------- */

/* A packet found no hop: `port`, `mark`, `src` and `dst` as in the key of a hop. */
#define DP_TNL_ASK 1u
/* An ARP packet, or a neighbour advertisement or solicitation, says that `src` has the address
 * `mac`: seen at `port`, by which an address of ours is reached.  `dst` is the target of a
 * question, and the receiver of an answer. */
#define DP_TNL_NEIGHBOUR 2u
/* A router said that packets to `dst` may have `mtu` bytes from the outer IP header on: an ICMP
 * message about an outer packet, at `port` and to `src`, which is ours. */
#define DP_TNL_MTU 3u

struct dp_tnl_event {
    uint32_t kind;           /* DP_TNL_ASK, DP_TNL_NEIGHBOUR, DP_TNL_MTU. */
    uint32_t port;
    uint32_t mark;
    uint32_t family;
    uint32_t mtu;
    uint32_t vlan;           /* As in struct dp_tnl_local. */
    uint8_t src[16];
    uint8_t dst[16];
    uint8_t mac[6];
    uint8_t pad[2];
};

/* Who manages the tunnels of a datapath: a descriptor that becomes readable when events wait, or
 * when the datapath is destroyed; closed with the watch.  EBUSY: there is one. */
struct dp_tnl_watch_info {
    uint64_t watch;
    int32_t descriptor;
    uint32_t pad;
};
DP_API int dp_tnl_watch(uint64_t dp, struct dp_tnl_watch_info *info);
/* Takes up to `max` events.  Those of one kind about one thing are told once a second at most, and
 * what finds no room is not told: it happens again.  Half of the room is for questions.  ENODEV:
 * the datapath was destroyed. */
#define DP_TNL_EVENTS 1024u
DP_API int dp_tnl_events(uint64_t watch, uint32_t max, struct dp_tnl_event *events, uint32_t *count);
DP_API int dp_tnl_watch_close(uint64_t watch);

#endif
