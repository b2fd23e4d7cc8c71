/* SPDX-License-Identifier: Apache-2.0
 *
 * The handler's side: verdicts out, upcalls in.  Keys and copies are made here and not by poll
 * threads. */
#include "upcall/upcall_exchange.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <rte_mbuf.h>

#include "base/invariant.h"
#include "odp/odp.h"
#include "packet/eal_packet.h"
#include "packet/extract.h"
#include "packet/userdata.h"
#include "packet/partial.h"
#include "upcall/upcall_int.h"

static uint32_t pad8(uint32_t size)
{
    return (size + 7) & ~7u;
}

/* Copies the bytes of a packet together.  Checksums that the receiving device left to us are
 * completed in the copy. */
static void copy_packet(struct rte_mbuf *m, uint8_t *to)
{
    uint8_t *at = to;

    for (const struct rte_mbuf *s = m; s; s = s->next) {
        memcpy(at, rte_pktmbuf_mtod(s, const uint8_t *), s->data_len);
        at += s->data_len;
    }
    partial_finish_copy(m, to);
}

/* The key of a packet.  Of the blocks that only some tunnels' packets have nobody looks at the
 * others' (odp_write.c). */
static void extract(struct rte_mbuf *m, struct key *key)
{
    const struct pkt *pkt = pkt_of(m);

    extract_blocks(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &pkt->md, pkt,
                   pkt->md.more & PKT_MORE_TUNNEL ? KEY_BLOCKS_ALL : KEY_BLOCKS_PLAIN, key, NULL);
}

/* Writes an upcall of `room` bytes at most, and remembers it as the one numbered `index`; 0 if it
 * takes more. */
static uint32_t write_upcall(struct upcall_taken *taken, uint32_t index, struct rte_mbuf *m, uint8_t *to, uint32_t room)
{
    const struct pkt *pkt = pkt_of(m);
    const struct userdata *sent = pkt->userdata;
    struct dp_upcall header = {
        .kind = pkt->kind, .packet_size = rte_pktmbuf_pkt_len(m), .original_size = pkt->original_size,
        .in_port = pkt->md.in_port,
    };
    uint8_t *at = to + sizeof header;
    struct key key;

    if (sent) {
        header.userdata_size = sent->size;
        header.actions_size = sent->actions ? sent->actions->size : 0;
        header.flags = (sent->given ? DP_UPCALLF_USERDATA : 0) | (header.actions_size ? DP_UPCALLF_ACTIONS : 0);
    }
    if (room < sizeof header + ODP_KEY_MAX + pad8(header.userdata_size) + pad8(header.actions_size) + pad8(header.packet_size))
        return 0;
    extract(m, &key);
    header.hash = m->ol_flags & RTE_MBUF_F_RX_RSS_HASH ? m->hash.rss : 0;
    header.layout = odp_plain_write(&key, at, ODP_KEY_MAX);
    header.key_size = header.layout ? header.layout : odp_key_write(&key, at, ODP_KEY_MAX);
    at += pad8(header.key_size);
    if (sent)
        memcpy(at, sent->bytes, header.userdata_size);
    at += pad8(header.userdata_size);
    if (header.actions_size)
        memcpy(at, sent->actions->bytes, header.actions_size);
    at += pad8(header.actions_size);
    copy_packet(m, at);
    taken->places[index] = (struct upcall_place){
        .at = (uint32_t)(to - taken->arena), .key_size = header.key_size, .packet_at = (uint32_t)(at - taken->arena),
        .packet_size = header.packet_size,
    };
    taken->keys[index] = key.base;
    taken->plain[index] = header.layout && !key.ct.skb_priority;
    at += pad8(header.packet_size);
    header.size = (uint32_t)(at - to);
    memcpy(to, &header, sizeof header);
    return header.size;
}

/* Gets up to `max` upcalls from the ring if none are left over. */
static void refill(struct handler *handler, uint32_t max)
{
    if (handler->batch_at < handler->batch_n)
        return;
    handler->batch_at = 0;
    handler->batch_n = rte_ring_sc_dequeue_burst(handler->ring, (void **)handler->batch, max, NULL);
    UPCALL_OBSERVE(handler->ring);
    for (uint32_t i = 0; i < RTE_MIN(handler->batch_n, 8u); i++) {
        rte_mbuf_prefetch_part1(handler->batch[i]);
        rte_mbuf_prefetch_part2(handler->batch[i]);
        rte_prefetch0(pkt_of(handler->batch[i]));
    }
}

/* Fetches what the next packets will touch, some steps ahead of use: poll threads on other
 * processors have just written it. */
static void prefetch(const struct handler *handler, uint32_t i)
{
    if (i + 8 < handler->batch_n) {
        rte_mbuf_prefetch_part1(handler->batch[i + 8]);
        rte_mbuf_prefetch_part2(handler->batch[i + 8]);
        rte_prefetch0(pkt_of(handler->batch[i + 8]));
    }
    if (i + 4 < handler->batch_n)
        rte_prefetch0(rte_pktmbuf_mtod(handler->batch[i + 4], void *));
}

static void take(struct handler *handler, uint32_t max, struct dp_exchange *exchange)
{
    struct rte_mbuf *done[UPCALL_BATCH];

    INVARIANT_HELD(&handler->holder);
    INVARIANT_HELD(&handler->consumer);
    while (exchange->count < max) {
        uint32_t size;

        refill(handler, max - exchange->count);
        if (handler->batch_at == handler->batch_n)
            break;
        prefetch(handler, handler->batch_at);
        size = write_upcall(&handler->taken, exchange->count, handler->batch[handler->batch_at], handler->arena + exchange->used,
                            UPCALL_ARENA - exchange->used);
        if (!size && exchange->used)
            break;
        if (!size) { /* Larger than the arena: nothing would ever come after it. */
            struct rte_mbuf *m = handler->batch[handler->batch_at++];

            upcall_leave(handler, &m, 1);
            upcall_free(m);
            atomic_fetch_add_explicit(&handler->purged, 1, memory_order_relaxed);
            continue;
        }
        done[exchange->count] = handler->batch[handler->batch_at++];
        userdata_free(pkt_of(done[exchange->count])->userdata);
        exchange->used += size;
        exchange->count++;
    }
    /* A look that finds nothing leaves the arena, and what may be said about it, as it was. */
    if (exchange->count)
        handler->taken.count = exchange->count;
    upcall_leave(handler, done, exchange->count);
    eal_packets_free(done, exchange->count);
    atomic_fetch_add_explicit(&handler->handled, exchange->count, memory_order_relaxed);
    exchange->more = handler->batch_at < handler->batch_n || !rte_ring_empty(handler->ring);
}

uint32_t upcall_find(const struct upcall_taken *taken, uint32_t at, uint32_t guess)
{
    uint32_t low = 0, high = taken->count;

    if (guess < taken->count && taken->places[guess].at == at)
        return guess;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;

        if (taken->places[middle].at < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low < taken->count && taken->places[low].at == at ? low : taken->count;
}

const struct upcall_taken *handler_hold(struct handler *handler)
{
    pthread_mutex_lock(&handler->holder);
    return &handler->taken;
}

void handler_let_go(struct handler *handler)
{
    INVARIANT_HELD(&handler->holder);
    pthread_mutex_unlock(&handler->holder);
}

int handler_take(struct handler *handler, uint32_t max, struct dp_exchange *exchange)
{
    int error = 0;

    pthread_mutex_lock(&handler->consumer);
    if (atomic_load_explicit(&handler->closed, memory_order_relaxed))
        error = ESHUTDOWN;
    if (!error)
        take(handler, max < UPCALL_BATCH ? max : UPCALL_BATCH, exchange);
    pthread_mutex_unlock(&handler->consumer);
    return error;
}

bool handler_is_closed(const struct handler *handler)
{
    return atomic_load_explicit(&handler->closed, memory_order_relaxed);
}

uint64_t handler_lost(const struct handler *handler)
{
    return atomic_load_explicit(&handler->lost, memory_order_relaxed);
}

int handler_arm(struct handler *handler)
{
    uint64_t rings;
    int error = 0;

    if (read(handler->doorbell, &rings, sizeof rings) < 0) /* Rings of before. */
        rings = 0;
    atomic_store_explicit(&handler->armed, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* Pairs with enqueue() in upcall.c. */
    pthread_mutex_lock(&handler->consumer);
    if (atomic_load_explicit(&handler->closed, memory_order_acquire))
        error = ESHUTDOWN;
    else if (handler->batch_at < handler->batch_n || !rte_ring_empty(handler->ring))
        error = EAGAIN;
    pthread_mutex_unlock(&handler->consumer);
    if (error)
        atomic_store_explicit(&handler->armed, 0, memory_order_relaxed);
    return error;
}

int handler_doorbell(const struct handler *handler)
{
    return handler->doorbell;
}
