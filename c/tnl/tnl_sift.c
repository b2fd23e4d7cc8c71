/* SPDX-License-Identifier: Apache-2.0
 * tnl_sift.c - which packets are for a tunnel of ours (tnl_sift.h). */
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_mbuf.h>

#include "segment/segment.h"
#include "tnl/tnl_sift.h"
#include "tnl/tnl_pop_int.h"

static uint32_t be16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t be32(const uint8_t *at)
{
    return be16(at) << 16 | be16(at + 2);
}

/* The address of ours that a packet goes to, of those with this flag; NULL: none. */
static const struct tnl_local *local_of(const struct tnl *tnl, uint32_t port, uint32_t flag, const struct tnl_seen *seen)
{
    const struct tnl_map *locals = atomic_load_explicit(&((struct tnl *)(uintptr_t)tnl)->locals, memory_order_acquire);
    const struct tnl_local *local;
    union tnl_key key;

    if (seen->tags > 1)
        return NULL;
    memset(&key, 0, sizeof key);
    key.local.port = port;
    key.local.family = seen->family;
    key.local.vlan = seen->vlan;
    memcpy(key.local.address, tnl_destination(seen), seen->family == 4 ? 4 : 16);
    local = (const struct tnl_local *)tnl_map_find(locals, &key, tnl_key_hash(&tnl->seed, &key));
    return local && local->flags & flag && (local->any_mac || !memcmp(local->mac, seen->frame, 6)) ? local : NULL;
}

/* What a packet is by its protocol, and its port: an index of listens, or -1. */
static int listen_of(const struct tnl_listens *listens, const struct tnl_seen *seen)
{
    const uint8_t *at = seen->frame + seen->l4;
    uint32_t udp, type;

    if ((seen->proto != 17 && seen->proto != 47) || seen->fragment == 2 || seen->l4 + 4 > seen->room || seen->l4 + 4 > seen->end)
        return -1;
    udp = seen->proto == 17 ? be16(at + 2) : 0;
    type = be16(at + 2);
    for (uint32_t i = 0; i < listens->n; i++) {
        const struct tnl_listen *listen = &listens->at[i].listen;
        const bool erspan = listen->kind == TUNNEL_ERSPAN || listen->kind == TUNNEL_IP6ERSPAN;

        if (listen->family && listen->family != seen->family)
            continue;
        if (seen->proto == 17 ? tunnel_is_udp(listen->kind) && listen->udp == udp
                              : !tunnel_is_udp(listen->kind) && (type == 0x88be || type == 0x22eb) == erspan
                                    && (erspan || (type != 0x6558) == listen->udp))
            return (int)i;
    }
    return -1;
}

/* The key that a tunnel's header has, be64; 0 if it is cut short, which is found out later. */
static uint64_t peek(uint8_t kind, const struct tnl_seen *seen)
{
    const uint8_t *at = seen->frame + seen->l4;
    const uint32_t size = RTE_MIN(seen->room, seen->end) - seen->l4;
    uint32_t key = 0, place;

    switch (kind) {
    case TUNNEL_VXLAN:
    case TUNNEL_GENEVE:
        key = size < 16 ? 0 : be32(at + 12) >> 8;
        break;
    case TUNNEL_GTPU:
        key = size < 16 ? 0 : be32(at + 12);
        break;
    case TUNNEL_ERSPAN:
    case TUNNEL_IP6ERSPAN:
        key = size < 12 ? 0 : be32(at + 8) & 0x3ff;
        break;
    case TUNNEL_GRE:
    case TUNNEL_IP6GRE:
        place = at[0] & 0x80 ? 8 : 4;
        key = at[0] & 0x20 && size >= place + 4 ? be32(at + place) : 0;
        break;
    default:
        break;
    }
    return __builtin_bswap64(key);
}

/* The tunnel port that takes it: the one that asks most.  NULL: none does. */
static const struct tnl_port *receiver_of(const struct tnl *tnl, const struct tnl_listens *listens, int at, const struct tnl_seen *seen)
{
    const uint32_t size = seen->family == 4 ? 4 : 16;
    const uint64_t id = peek(listens->at[at].listen.kind, seen);

    for (uint32_t class = TNL_CLASSES; class-- > 0;) {
        const struct tnl_receiver *receiver;
        union tnl_key key;

        if (!(listens->at[at].classes >> class & 1))
            continue;
        memset(&key, 0, sizeof key);
        key.receiver.listen = tnl_listen_id(&listens->at[at].listen);
        key.receiver.class = class;
        if (class & TNL_CLASS_KEY)
            key.receiver.key = id;
        if (class & TNL_CLASS_LOCAL)
            memcpy(key.receiver.local, tnl_destination(seen), size);
        if (class & TNL_CLASS_REMOTE)
            memcpy(key.receiver.remote, tnl_source(seen), size);
        if (class & (TNL_CLASS_LOCAL | TNL_CLASS_REMOTE))
            key.receiver.family = seen->family;
        receiver = (const struct tnl_receiver *)tnl_map_find(&tnl->receivers, &key, tnl_key_hash(&tnl->seed, &key));
        if (receiver)
            return receiver->port;
    }
    return NULL;
}

/* A packet that has lost its outer header, which had this TOS; takes it over. */
static void look_inside(struct worker *worker, struct rte_mbuf *m, uint8_t tos)
{
    if (likely(tnl_ecn(m, tos)))
        worker_recirculate(worker, m);
    else
        worker_drop(worker, m, DROP_tunnel_ecn);
}

/* The same of one that lost the header of the packet before. */
static void look_inside_same(struct worker *worker, const struct tnl_same *same, struct rte_mbuf *m)
{
    if (likely(tnl_ecn(m, same->tunnel.tos)))
        tnl_same_pass(worker, same, m);
    else
        worker_drop(worker, m, DROP_tunnel_ecn);
}

/* Whether UDP lacks the checksum that IPv6 asks for, unless the port's options say that there is
 * none (RFC 6935), as with Linux's devices.  Open vSwitch's own action asks for none. */
static bool lacks_sum(const struct tunnel_config *config, const struct tnl_found *found)
{
    return tunnel_is_udp(config->kind) && found->tunnel.family == 6 && !(found->tunnel.flags & KEY_TUNNEL_CSUM) && !config->csum6_zero;
}

/* A packet for a tunnel; takes it over.  `same` may be NULL. */
static void receive(struct worker *worker, const struct tnl_port *port, struct rte_mbuf *m, const struct tnl_seen *seen,
                    struct tnl_same *same)
{
    struct tnl_found found;
    enum stat_drop reason = tnl_read(&port->config, m, seen, &found);

    if (reason == TNL_NO_DROP && unlikely(lacks_sum(&port->config, &found)))
        reason = DROP_tunnel_checksum;
    if (reason == TNL_NO_DROP) {
        if (same) {
            tnl_same_learn(worker, same, port, m, seen, &found);
            if (tnl_same_strip(same, m)) {
                look_inside_same(worker, same, m);
                return;
            }
        }
        reason = tnl_strip(m, seen, &found, port->no);
    }
    if (reason != TNL_NO_DROP)
        worker_drop(worker, m, reason);
    else if (found.whole)
        worker_recirculate(worker, m);
    else
        look_inside(worker, m, seen->tos);
}

/* Receives each packet of a bundle by itself, as many as may go round again and leave room for a
 * burst.  False: some are left.  Otherwise takes it over. */
static bool cut_bundle(struct worker *worker, const struct tnl_port *port, struct worker_bundle *bundle, struct tnl_seen *seen)
{
    struct segment_plan plan;
    const enum segment_answer answer = segment_plan(bundle->m, UINT16_MAX, &plan);

    if (answer != SEGMENT_CAN) {
        worker_drop(worker, bundle->m, answer == SEGMENT_TOO_MANY ? DROP_tx_segments : DROP_tunnel);
        return true;
    }
    for (; bundle->next < plan.count; bundle->next++) {
        struct rte_mbuf *piece;

        if (worker->recirc.n >= WORKER_RECIRC_QUEUE - WORKER_BURST)
            return false;
        piece = segment_cut(bundle->m, &plan, bundle->next);
        if (!piece) {
            stat_drop(worker->stat, DROP_no_mbuf, plan.count - bundle->next);
            break;
        }
        tnl_unsum(&port->config, piece, seen);
        if (tnl_see(piece, seen))
            receive(worker, port, piece, seen, NULL);
        else
            worker_drop(worker, piece, DROP_tunnel);
    }
    rte_pktmbuf_free(bundle->m);
    return true;
}

/* Several packets in one: together where that can be, otherwise each by itself.  Takes it over. */
static void receive_bundle(struct worker *worker, const struct tnl_port *port, struct rte_mbuf *m, struct tnl_seen *seen)
{
    struct worker_bundle bundle = { .m = m, .port = port->no, .depth = worker->depth };

    if (tnl_merge(&port->config, m, seen)) {
        receive(worker, port, m, seen, NULL);
        return;
    }
    if (cut_bundle(worker, port, &bundle, seen))
        return;
    if (worker->bundle_n < WORKER_BURST)
        worker->bundles[worker->bundle_n++] = bundle;
    else
        worker_drop(worker, m, DROP_recirc_full);
}

void tnl_sift_more(struct worker *worker)
{
    struct worker_bundle *bundle = &worker->bundles[0];
    const struct tnl_port *port = tnl_port_of(worker->tnl, bundle->port);
    struct tnl_seen seen;

    worker->depth = bundle->depth;
    if (!port || !tnl_see(bundle->m, &seen))
        worker_drop(worker, bundle->m, DROP_no_port); /* It has just been taken away. */
    else if (!cut_bundle(worker, port, bundle, &seen))
        return;
    memmove(bundle, bundle + 1, --worker->bundle_n * sizeof *bundle);
}

/* Whether there is any tunnel port that takes packets of a protocol. */
static bool is_listened_to(const struct tnl_listens *listens, uint8_t proto)
{
    for (uint32_t i = 0; i < listens->n; i++)
        if (proto == (tunnel_is_udp(listens->at[i].listen.kind) ? 17 : 47))
            return true;
    return false;
}

/* ECN of a packet is that of all its fragments (RFC 3168, 5.3, as Linux has it).  False: they
 * contradict each other. */
static bool join_ecn(struct tnl_seen *seen, uint8_t ecns)
{
    if (ecns & 8)
        seen->tos |= 3;
    return !(ecns & 1) || ecns == 1;
}

/* A fragment for an address of ours, of what may be for a tunnel.  False: it goes on as it is. */
static bool gather(struct worker *worker, const struct tnl_listens *listens, uint32_t port, const struct tnl_gather *how,
                   struct rte_mbuf *m)
{
    const struct tnl_port *taker = NULL;
    struct tnl_whole whole;
    struct tnl_seen seen;
    int at;

    switch (how->take(worker, port, m, &whole)) {
    case TNL_NOT_GATHERED:
        return false;
    case TNL_GATHERED:
        return true;
    default:
        break;
    }
    at = tnl_see(whole.m, &seen) ? listen_of(listens, &seen) : -1;
    if (at >= 0)
        taker = receiver_of(worker->tnl, listens, at, &seen);
    if (!taker)
        how->pass(worker, port, &whole);
    else if (join_ecn(&seen, whole.ecns))
        receive(worker, taker, how->keep(worker, &whole), &seen, NULL);
    else
        worker_drop(worker, how->keep(worker, &whole), DROP_tunnel_ecn);
    return true;
}

unsigned int tnl_sift(struct worker *worker, uint32_t port, uint32_t role, const struct tnl_gather *how, struct rte_mbuf **packets,
                      unsigned int n)
{
    const struct tnl *tnl = worker->tnl;
    const struct tnl_listens *listens = atomic_load_explicit(&((struct tnl *)(uintptr_t)tnl)->listens, memory_order_acquire);
    struct tnl_same same; /* Not initialized in whole: it is large. */
    unsigned int kept = 0;

    same.port = NULL;
    same.learnt = 0;
    for (unsigned int i = 0; i < n; i++) {
        const struct tnl_port *taker = NULL;
        struct rte_mbuf *m;
        struct tnl_seen seen;
        int at = -1;

        /* ECT(1) and CE go inside, packet by packet. */
        if (same.port && !(same.tunnel.tos & 1))
            i += tnl_same_take(worker, &same, packets + i, n - i);
        if (i == n)
            break;
        m = packets[i];
        if (tnl_same_strip(&same, m)) {
            look_inside_same(worker, &same, m);
            continue;
        }
        if (!tnl_see(m, &seen)) {
            tnl_snoop(worker, port, m, &seen);
        } else if (unlikely(seen.fragment)) {
            if (is_listened_to(listens, seen.proto) && local_of(tnl, port, role >> 1, &seen) && gather(worker, listens, port, how, m))
                continue;
        } else {
            at = listen_of(listens, &seen);
            if (at >= 0 && local_of(tnl, port, role >> 1, &seen))
                taker = receiver_of(tnl, listens, at, &seen);
            else if (seen.proto == 1 || seen.proto == 58)
                tnl_snoop(worker, port, m, &seen);
        }
        if (taker && tnl_is_bundle(m, &seen))
            receive_bundle(worker, taker, m, &seen);
        else if (taker)
            receive(worker, taker, m, &seen, &same);
        else
            packets[kept++] = m;
    }
    return kept;
}
