// SPDX-License-Identifier: Apache-2.0
#include "queue.h"

#include <string.h>

#define AHEAD 8 /* frames between the one being copied and the one being prefetched */
#define BULK 64

/* One writer: a plain load, add and store, no locked instruction. */
static inline void bump(_Atomic uint64_t *counter, uint64_t by)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, now + by, memory_order_relaxed);
}

typedef uint64_t line_words __attribute__((vector_size(64), may_alias));
typedef uint64_t line_words_any __attribute__((vector_size(64), may_alias, aligned(1)));

static inline void copy_lines(uint8_t *to, const uint8_t *from, uint32_t length)
{
    for (uint32_t at = 0; at < length; at += 64)
        *(line_words_any *)(to + at) = *(const line_words *)(from + at);
}

/*
 * Makes `mbuf` a fresh packet of frame `index` and returns its length. `frames` and `rearm` are
 * copies on the caller's stack: the compiler cannot know that an mbuf does not overlap the
 * queue, and would load each member again for every packet.
 */
static inline uint16_t fill(const struct frames *frames, uint64_t rearm, struct rte_mbuf *mbuf,
                            uint32_t index)
{
    const uint8_t *from = frames->bytes + (size_t)index * frames->stride;
    uint16_t length = frames->length[index];

    rte_prefetch0(from + AHEAD * (size_t)frames->stride);
    copy_lines((uint8_t *)mbuf->buf_addr + RTE_PKTMBUF_HEADROOM, from, length);
    memcpy(&mbuf->rearm_data, &rearm, sizeof rearm);
    mbuf->ol_flags = 0;
    mbuf->packet_type = 0;
    mbuf->pkt_len = length;
    mbuf->data_len = length;
    mbuf->vlan_tci = 0;
    mbuf->hash.rss = 0;
    return length;
}

static uint64_t fill_burst(struct rx_queue *queue, struct rte_mbuf **mbufs, uint16_t count)
{
    const struct frames frames = queue->frames;
    const uint64_t rearm = queue->rearm;
    uint32_t next = queue->next;
    uint64_t bytes = 0;

    for (uint16_t i = 0; i < count; i++) {
        bytes += fill(&frames, rearm, mbufs[i], next);
        if (++next == frames.count)
            next = 0;
    }
    queue->next = next;
    return bytes;
}

/* The first pass, in shuffled order; whatever is left of the burst starts the second. */
static __attribute__((noinline)) uint64_t fill_first(struct rx_queue *queue,
                                                     struct rte_mbuf **mbufs, uint16_t count)
{
    const struct frames *frames = &queue->frames;
    uint64_t bytes = 0;
    uint16_t i;

    for (i = 0; i < count && queue->next < frames->count; i++)
        bytes += fill(frames, queue->rearm, mbufs[i], frames->order[queue->next++]);
    if (queue->next == frames->count) {
        queue->first_pass = false;
        queue->next = 0;
    }
    return bytes + (i < count ? fill_burst(queue, mbufs + i, (uint16_t)(count - i)) : 0);
}

uint16_t queue_receive(void *rx_queue, struct rte_mbuf **mbufs, uint16_t count)
{
    struct rx_queue *queue = rx_queue;
    struct control *control = queue->control;
    uint64_t bytes;

    if (unlikely(!atomic_load_explicit(&control->open, memory_order_relaxed)))
        return 0;
    if (unlikely(rte_mempool_get_bulk(queue->pool, (void **)mbufs, count))) {
        bump(&control->rx.starved, 1);
        return 0;
    }
    bytes = unlikely(queue->first_pass) ? fill_first(queue, mbufs, count)
                                        : fill_burst(queue, mbufs, count);
    bump(&control->rx.packets, count);
    bump(&control->rx.bytes, bytes);
    return count;
}

uint16_t queue_receive_nothing(void *rxq, struct rte_mbuf **mbufs, uint16_t count)
{
    (void)rxq, (void)mbufs, (void)count;
    return 0;
}

uint16_t queue_transmit(void *txq, struct rte_mbuf **mbufs, uint16_t count)
{
    struct counter *counter = txq;
    struct rte_mempool *pool = NULL;
    void *done[BULK];
    unsigned held = 0;
    uint64_t bytes = 0;

    for (uint16_t i = 0; i < count; i++) {
        struct rte_mbuf *mbuf = mbufs[i];

        bytes += mbuf->pkt_len;
        if (unlikely(mbuf->nb_segs > 1)) {
            rte_pktmbuf_free(mbuf);
            continue;
        }
        mbuf = rte_pktmbuf_prefree_seg(mbuf);
        if (unlikely(!mbuf))
            continue;
        if (unlikely(held && (mbuf->pool != pool || held == BULK))) {
            rte_mempool_put_bulk(pool, done, held);
            held = 0;
        }
        pool = mbuf->pool;
        done[held++] = mbuf;
    }
    if (held)
        rte_mempool_put_bulk(pool, done, held);
    bump(&counter->packets, count);
    bump(&counter->bytes, bytes);
    return count;
}
