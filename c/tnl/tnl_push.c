/* SPDX-License-Identifier: Apache-2.0 */
#include "tnl/tnl_push.h"

#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include "base/invariant.h"
#include "packet/partial.h"
#include "segment/segment.h"
#include "segment/segment_fragment.h"
#include "tnl/tnl_push_int.h"

#define TTL 64u

/* A burst on its way out by one tunnel port. */
struct push {
    struct worker *worker;
    struct tnl *tnl;
    const struct tnl_port *port;
    tnl_emit *emit;
    struct key_tunnel told;      /* What the port's options say, where the flow says nothing. */
    /* The last hop that was found. */
    union tnl_key key;
    const struct tnl_hop *hop;
    struct tnl_alike alike;
    /* Outer packets by one hop that are to go on together. */
    const struct tnl_hop *by;
    unsigned int n;
    struct rte_mbuf *packets[WORKER_BURST];
};

/* Lets those go on that are together. */
static void send_on(struct push *push)
{
    const unsigned int n = push->n;

    push->n = 0;
    if (n)
        push->emit(push->worker, push->packets, n, push->by->told.underlay, push->by->told.flags & DP_TNL_HOP_RECEIVED);
}

/* An outer packet goes on, after those before it; takes it over. */
static void pass_on(struct push *push, struct rte_mbuf *m, const struct tnl_hop *hop)
{
    if (unlikely(push->n == WORKER_BURST || (push->n && push->by != hop)))
        send_on(push);
    push->by = hop;
    push->packets[push->n++] = m;
}

/* --- Where to --------------------------------------------------------------------------------- */

static void tell_options(const struct tunnel_config *config, struct key_tunnel *told)
{
    memset(told, 0, sizeof *told);
    told->family = config->remote_family;
    memcpy(&told->dst, config->remote, sizeof told->dst);
    memcpy(&told->src, config->local, sizeof told->src);
    if (config->out_key_fixed) {
        told->id = __builtin_bswap64(config->out_key);
        told->flags |= KEY_TUNNEL_KEY;
    }
    told->flags |= (uint16_t)((config->df ? KEY_TUNNEL_DF : 0) | (config->csum ? KEY_TUNNEL_CSUM : 0));
    told->tos = config->tos;
    told->ttl = config->ttl;
}

/* What a packet's flow says, with what the port's options fix; false: nothing says where to. */
static bool want_of(const struct push *push, struct rte_mbuf *m, struct key_tunnel *wanted)
{
    const struct tunnel_config *config = &push->port->config;

    if (!(m->ol_flags & PKT_TUNNEL)) {
        *wanted = push->told;
        return config->remote_family;
    }
    *wanted = pkt_of(m)->tunnel;
    if (config->remote_family) {
        wanted->family = config->remote_family;
        memcpy(&wanted->dst, config->remote, sizeof wanted->dst);
    }
    if (config->local_family == wanted->family)
        memcpy(&wanted->src, config->local, sizeof wanted->src);
    if (config->out_key_fixed && !(wanted->flags & KEY_TUNNEL_KEY)) {
        wanted->id = push->told.id;
        wanted->flags |= KEY_TUNNEL_KEY;
    }
    return wanted->family;
}

static void ask(const struct push *push, const union tnl_key *key)
{
    struct dp_tnl_event event = { .kind = DP_TNL_ASK, .port = key->hop.port, .mark = key->hop.mark, .family = key->hop.family };
    uint64_t id[2];

    memcpy(event.src, key->hop.src, sizeof event.src);
    memcpy(event.dst, key->hop.dst, sizeof event.dst);
    hash_128(&push->tnl->seed, key->words, 2, id);
    tnl_tell(&push->tnl->events, id[0] | 1, push->worker->now_ms, &event);
}

/* NULL: there is none, and it was asked for. */
static const struct tnl_hop *find_hop(struct push *push, struct rte_mbuf *m, const struct key_tunnel *wanted)
{
    union tnl_key key;
    const struct tnl_hop *hop;

    memset(&key, 0, sizeof key);
    key.hop.port = push->port->no;
    key.hop.mark = m->ol_flags & PKT_MARKED ? pkt_of(m)->md.skb_mark : 0;
    key.hop.family = wanted->family;
    memcpy(key.hop.src, &wanted->src, sizeof key.hop.src);
    memcpy(key.hop.dst, &wanted->dst, sizeof key.hop.dst);
    if (push->hop && !memcmp(&key, &push->key, sizeof key))
        return push->hop;
    hop = (const struct tnl_hop *)tnl_map_find(&push->tnl->hops, &key, tnl_key_hash(&push->tnl->seed, &key));
    if (!hop) {
        ask(push, &key);
        return NULL;
    }
    if (hop->told.flags & DP_TNL_HOP_NONE)
        return NULL;
    if (atomic_load_explicit(&((struct tnl_hop *)(uintptr_t)hop)->used_ms, memory_order_relaxed) != push->worker->now)
        atomic_store_explicit(&((struct tnl_hop *)(uintptr_t)hop)->used_ms, push->worker->now, memory_order_relaxed);
    push->hop = hop;
    push->key = key;
    return hop;
}

/* --- The header ------------------------------------------------------------------------------- */

/* Ethernet and IP: the hop's, with what is this packet's. */
static void write_ip(struct push *push, const struct rte_mbuf *m, const struct tnl_hop *hop, const struct key_tunnel *wanted,
                     const struct tnl_inner *inner, struct tnl_outer *outer)
{
    const struct tunnel_config *config = &hop->port->config;
    const bool told = m->ol_flags & PKT_TUNNEL;
    uint8_t *ip = outer->bytes + hop->l3;
    uint8_t tos = wanted->tos, ttl = wanted->ttl;

    memcpy(outer->bytes, hop->header, TNL_HEADER);
    outer->l3 = hop->l3;
    outer->l4 = hop->l4;
    outer->ip6 = hop->ip6;
    if (!told && config->tos_inherit && inner->version)
        tos = inner->tos;
    if (!told && config->ttl_inherit && inner->version)
        ttl = inner->ttl;
    if (!ttl)
        ttl = (uint8_t)(hop->told.ttl ? hop->told.ttl : TTL);
    tos = (uint8_t)((tos & ~3) | tnl_outer_ecn(inner));
    if (hop->ip6) {
        ip[0] = (uint8_t)(0x60 | tos >> 4);
        ip[1] = (uint8_t)(tos << 4);
        ip[7] = ttl;
        return;
    }
    ip[1] = tos;
    ip[8] = ttl;
    if (wanted->flags & KEY_TUNNEL_DF) {
        ip[6] = 0x40;
    } else {
        const uint32_t id = worker_random(push->worker);

        memcpy(ip + 4, &id, 2); /* It may be fragmented on its way. */
    }
}

/* Makes segments small enough for the path.  False: the packet is none, or cannot be. */
static bool fit_segments(struct rte_mbuf *m, uint32_t room)
{
    struct partial partial;

    if (!(m->ol_flags & PARTIAL_SEG) || !partial_get(m, &partial))
        return false;
    if (partial.payload + m->tso_segsz <= room)
        return true;
    if (m->ol_flags & RTE_MBUF_F_TX_UDP_SEG || partial.payload >= room)
        return false;
    m->tso_segsz = (uint16_t)(room - partial.payload);
    return true;
}

static void push_pieces(struct push *, struct rte_mbuf *);

/* Sends an outer packet in fragments; takes it over. */
static void emit_fragments(struct push *push, struct rte_mbuf *m, const struct tnl_hop *hop)
{
    /* What others have of the packet stays as it is. */
    struct rte_mbuf *whole = rte_pktmbuf_copy(m, m->pool, 0, UINT32_MAX);
    struct segment_fragments plan;

    if (!whole || ((whole->ol_flags & PARTIAL_FLAGS) && !partial_finish(whole))) {
        rte_pktmbuf_free(whole);
        worker_drop(push->worker, m, DROP_no_mbuf);
        return;
    }
    plan = segment_fragments(whole, hop->l3, hop->told.mtu);
    for (uint32_t i = 0; i < plan.count; i++) {
        struct rte_mbuf *fragment = segment_fragment(whole, &plan, i);

        if (!fragment) {
            stat_drop(push->worker->stat, DROP_no_mbuf, 1);
            break; /* The rest is of no use. */
        }
        pkt_of(fragment)->md = (struct pkt_md){ .in_port = hop->told.underlay };
        pass_on(push, fragment, hop);
    }
    rte_pktmbuf_free(whole);
    if (plan.count)
        rte_pktmbuf_free(m);
    else
        worker_drop(push->worker, m, DROP_tunnel_mtu);
}

/* A packet that its path would not take with `outer` before it, as Linux has it: its sender is
 * told, if it must not be fragmented and can be told.  Otherwise the outer one is, over IPv4 and
 * without DF.  Takes it over. */
static void push_large(struct push *push, struct rte_mbuf *m, const struct tnl_hop *hop, const struct key_tunnel *wanted,
                       const struct tnl_inner *inner, struct tnl_outer *outer)
{
    const uint32_t size = outer->size - outer->l3, room = hop->told.mtu > size ? hop->told.mtu - size : 0;
    struct rte_mbuf *answer = room > inner->l3 ? tnl_too_big(push->worker, m, inner, room - inner->l3) : NULL;

    if (!answer && !outer->ip6 && !(wanted->flags & KEY_TUNNEL_DF)) {
        if (m->ol_flags & PARTIAL_SEG) {
            push_pieces(push, m);
            return;
        }
        m = tnl_outer_put(push->worker, m, outer);
        if (m)
            emit_fragments(push, m, hop);
        return;
    }
    worker_drop(push->worker, m, DROP_tunnel_mtu);
    if (!answer)
        return;
    pkt_of(answer)->tunnel = *wanted;
    pkt_of(answer)->tunnel.options_size = 0;
    memcpy(&pkt_of(answer)->tunnel.src, hop->told.key.dst, 16);
    memcpy(&pkt_of(answer)->tunnel.dst, hop->told.src, 16);
    pkt_of(answer)->md.in_port = hop->port->no;
    pkt_of(answer)->md.more |= PKT_MORE_TUNNEL;
    worker_recirculate(push->worker, answer);
}

static void push_one(struct push *push, struct rte_mbuf *m)
{
    struct tnl_outer outer;
    struct tnl_inner inner;
    struct key_tunnel wanted;
    struct tnl_want want = { .tunnel = &wanted, .inner_size = m->pkt_len, .now_ms = push->worker->now_ms };
    const struct tnl_hop *hop;
    uint32_t size;

    if (tnl_alike_push(push->worker, &push->alike, m)) {
        pass_on(push, m, push->alike.hop);
        return;
    }
    if (!want_of(push, m, &wanted)) {
        worker_drop(push->worker, m, DROP_tunnel_no_remote);
        return;
    }
    hop = want.hop = find_hop(push, m, &wanted);
    if (!hop) {
        worker_drop(push->worker, m, DROP_tunnel_no_hop);
        return;
    }
    tnl_inner_read(m, &inner);
    write_ip(push, m, hop, &wanted, &inner, &outer);
    want.options = pkt_of(m)->options; /* As many as options_size says: else 0. */
    want.hash = tnl_inner_hash(&push->tnl->seed, m, &inner);
    want.type = m->ol_flags & PKT_L3 ? pkt_of(m)->md.packet_type : 0;
    if (!tnl_outer_write(push->tnl, &want, &outer)) {
        worker_drop(push->worker, m, DROP_tx_packet_type);
        return;
    }
    size = outer.size - outer.l3;
    if (hop->told.mtu && m->pkt_len + size > hop->told.mtu && !fit_segments(m, hop->told.mtu > size ? hop->told.mtu - size : 0)) {
        push_large(push, m, hop, &wanted, &inner, &outer);
        return;
    }
    tnl_alike_learn(&push->alike, m, &want, &outer);
    m = tnl_outer_put(push->worker, m, &outer);
    if (!m)
        return;
    pkt_of(m)->md = (struct pkt_md){ .in_port = hop->told.underlay };
    pass_on(push, m, hop);
}

/* Whether each packet of a tunnel has something of its own: a number, or a length that cutting does
 * not know of. */
static bool is_single(const struct tunnel_config *config)
{
    return config->kind == TUNNEL_GTPU || config->kind == TUNNEL_ERSPAN || config->kind == TUNNEL_IP6ERSPAN || config->seq;
}

/* A packet that is to be cut is cut first; takes it over. */
static void push_pieces(struct push *push, struct rte_mbuf *m)
{
    struct segment_plan plan;
    struct rte_mbuf *piece = m;

    if (segment_plan(m, UINT16_MAX, &plan) != SEGMENT_CAN) {
        worker_drop(push->worker, m, DROP_tx_segments);
        return;
    }
    for (uint32_t i = 0; i < plan.count && piece; i++) {
        piece = segment_cut(m, &plan, i);
        if (piece)
            push_one(push, piece);
        else
            stat_drop(push->worker->stat, DROP_no_mbuf, 1);
    }
    rte_pktmbuf_free(m);
}

void tnl_push(struct worker *worker, uint32_t port, struct rte_mbuf **packets, unsigned int n, tnl_emit *emit)
{
    struct push push; /* Not initialized in whole: it is large. */

    push.worker = worker;
    push.tnl = worker->tnl;
    push.port = tnl_port_of(worker->tnl, port);
    push.emit = emit;
    push.hop = push.alike.hop = NULL;
    push.alike.learnt = push.n = 0;
    if (!push.port) {
        worker_drop_bulk(worker, packets, n, DROP_no_port); /* It has just gone. */
        return;
    }
    tell_options(&push.port->config, &push.told);
    for (unsigned int i = 0; i < n; i++) {
        if (unlikely(packets[i]->ol_flags & PARTIAL_SEG) && is_single(&push.port->config))
            push_pieces(&push, packets[i]);
        else
            push_one(&push, packets[i]);
    }
    send_on(&push);
}
