/* SPDX-License-Identifier: Apache-2.0
 * stat.h - counters of one thread, and the one list of reasons for dropping a packet.
 *
 * Threads: each thread writes its own counters with plain relaxed stores (stat_add) and anybody may
 * read them; sums are made on read.  There is no atomic read-modify-write on the packet path. */
#ifndef UPCALL_STAT_H
#define UPCALL_STAT_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/invariant.h"

/* name, what it means.  Append only: numbers are seen through the ABI. */
#define STAT_DROPS(X)                                                       \
    X(rx_runt, "shorter than an Ethernet header")                           \
    X(rx_oversize, "larger than the receive buffers can hold")              \
    X(action, "the flow's actions say drop")                                \
    X(no_port, "output to a port that does not exist")                      \
    X(tx_full, "the device's transmit queue was full")                      \
    X(tx_oversize, "larger than the port can send")                         \
    X(tx_error, "the device refused the packet")                            \
    X(upcall_disabled, "upcalls are disabled")                              \
    X(upcall_no_handler, "no handler is open")                              \
    X(upcall_full, "the handler's ring was full")                           \
    X(upcall_quota, "the port had too many upcalls waiting")                \
    X(upcall_error, "the direct upcall callback refused the packet")        \
    X(recirc_depth, "recirculated more than 8 times")                       \
    X(no_mbuf, "no buffer for a copy")                                      \
    X(action_error, "an action did not fit the packet")                     \
    X(meter, "over the rate of a meter")                                    \
    X(tunnel, "tunnel header malformed or could not be built")              \
    X(ct, "connection tracking failed")                                     \
    X(link_down, "the port's link is down or its device is gone")           \
    X(recirc_full, "too many packets of a burst were recirculated")         \
    X(upcall_duplicate, "a miss of the same key was waiting, and room was short") \
    X(tx_segments, "would have been cut into more than 1024 segments") \
    X(upcall_mbufs, "the handler's upcalls held too many packet buffers") \
    X(fragment, "the rest of a packet's fragments did not come in time") \
    X(explicit, "the flow's actions say drop, and that something was wrong") \
    X(nsh, "a service header cut short, or of something unknown") \
    X(rx_no_type, "neither IPv4 nor IPv6, on a port for packets without Ethernet header") \
    X(tx_packet_type, "without an Ethernet header that the port needs, or with one that it has no use for") \
    X(no_bond, "output to a bond that does not exist") \
    X(tunnel_no_remote, "to a tunnel, and neither the flow nor the port says where to") \
    X(tunnel_no_hop, "to a remote end of a tunnel that no next hop was known for") \
    X(tunnel_mtu, "larger with the tunnel's headers than the path takes, and not to be fragmented") \
    X(tunnel_depth, "through more than 7 tunnels, or through one again and again") \
    X(tunnel_checksum, "from a tunnel, with a wrong outer checksum, or without one over IPv6") \
    X(tunnel_fragment, "from a tunnel, as a fragment of an outer packet") \
    X(tunnel_option, "from a tunnel, with a version, a flag or an option that is unknown") \
    X(tunnel_ecn, "from a tunnel, marked as congested outside and not to be marked inside") \
    STAT_EXPLICIT(X)

/* What the numbers of the action `drop` mean, from 1, where Open vSwitch sets them; others are
 * `explicit`. */
#define STAT_EXPLICIT(X)                                                    \
    X(bridge_not_found, "of a port without bridge")                         \
    X(recursion_too_deep, "sent through too many nested tables")            \
    X(too_many_resubmit, "sent through too many tables")                    \
    X(stack_too_deep, "of a pipeline whose stack was full")                 \
    X(no_recirculation_context, "recirculated by an id that nobody knew")   \
    X(recirculation_conflict, "recirculated into another pipeline's id")    \
    X(too_many_mpls_labels, "to get more MPLS labels than there is room for") \
    X(invalid_tunnel_metadata, "of a tunnel whose options made no sense")   \
    X(unsupported_packet_type, "of a type that the pipeline has no use for") \
    X(congestion, "marked by a tunnel as having met congestion, which it cannot say itself") \
    X(forwarding_disabled, "of a port that does not forward")               \
    X(tunnel_routing_failed, "for a tunnel that no route leads to")         \
    X(tunnel_output_no_ethernet, "for a tunnel that wants an Ethernet header") \
    X(tunnel_neigh_cache_miss, "for a tunnel whose next hop was unknown")   \
    X(tunnel_header_build_failed, "for a tunnel whose header could not be built")

enum stat_drop {
#define X(name, text) DROP_##name,
    STAT_DROPS(X)
#undef X
    DROP_COUNT
};

enum {
#define X(name, text) +1
    STAT_EXPLICIT_COUNT = 0 STAT_EXPLICIT(X)
#undef X
};

/* The reason that the action `drop` gives by number, which is not 0. */
static inline enum stat_drop stat_explicit(uint32_t reason)
{
    return reason && reason <= STAT_EXPLICIT_COUNT ? (enum stat_drop)(DROP_bridge_not_found + reason - 1) : DROP_explicit;
}

/* Counted by: pmd.c received, rx_*, tx_*, iterations and cycles; pmd_rest.c sleeps and those of
 * them that packets ended (woken); burst.c hit, recirculated
 * and cycles_upcall; upcall.c missed (handed up) and lost; cls_isa.c mask_hit and
 * validator_mismatches; drops where they happen, but `fragment`, which ipf.h counts and dp.c adds.
 */
struct stat_counters {
    _Atomic uint64_t received, hit, missed, lost, recirculated, mask_hit;
    _Atomic uint64_t rx_batches, tx_packets, tx_batches, iterations, iterations_busy, sleeps, woken;
    _Atomic uint64_t cycles_busy, cycles_idle, cycles_sleep;
    _Atomic uint64_t cycles_upcall;      /* Only while a thread records (perf.h). */
    _Atomic uint64_t validator_mismatches;
    _Atomic uint64_t drops[DROP_COUNT];
} __attribute__((aligned(64)));

/* Adds to a counter that only this thread writes. */
static inline void stat_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* Adds all counters of `from`, whose thread may be running, to `to`. */
void stat_sum(struct stat_counters *to, const struct stat_counters *from);

/* Of a reason below DROP_COUNT. */
const char *stat_drop_name(enum stat_drop);

/* Counts packets dropped for a reason. */
static inline void stat_drop(struct stat_counters *stat, enum stat_drop reason, uint64_t n)
{
    INVARIANT(reason < DROP_COUNT);
    stat_add(&stat->drops[reason], n);
}

#endif
