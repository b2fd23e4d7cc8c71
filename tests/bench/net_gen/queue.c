// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "queue.h"

#include <string.h>
#include <sys/resource.h>

#include <rte_cycles.h>

#define AHEAD 8 /* frames between the one being copied and the one being prefetched */
#define BULK 64
#define LONG_GAP 20000 /* a thread that comes back after more than this part of a second may not have run */

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
    copy_lines((uint8_t *)mbuf->buf_addr + RTE_PKTMBUF_HEADROOM, from, RTE_MIN(length, frames->stride));
    memcpy(&mbuf->rearm_data, &rearm, sizeof rearm);
    mbuf->ol_flags = 0;
    mbuf->packet_type = 0;
    mbuf->pkt_len = length;
    mbuf->data_len = length;
    mbuf->vlan_tci = 0;
    mbuf->hash.rss = 0;
    if (unlikely(frames->rss != NULL)) {
        mbuf->ol_flags = RTE_MBUF_F_RX_RSS_HASH;
        mbuf->hash.rss = frames->rss[index];
    }
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

/* Whether this thread was taken off its core since this was last asked. */
static bool was_stopped(struct rx_queue *queue)
{
    struct rusage usage;
    long before = queue->switches;

    if (getrusage(RUSAGE_THREAD, &usage))
        return false;
    queue->switches = usage.ru_nvcsw + usage.ru_nivcsw;
    return queue->switches != before;
}

/*
 * How many of `count` packets have come at a fixed rate. Like a device's, the queue holds so
 * many. While the thread was not running nothing came: that is not the program's fault.
 */
static __attribute__((noinline)) uint16_t pace(struct rx_queue *queue, uint64_t rate,
                                               uint16_t count)
{
    double hz = (double)atomic_load_explicit(&queue->control->tsc_hz, memory_order_relaxed);
    uint64_t now = rte_rdtsc(), passed = now - queue->last;

    queue->last = now;
    if ((double)passed < hz / LONG_GAP || !was_stopped(queue))
        queue->waiting += (double)passed * (double)rate / hz;
    if (queue->waiting > DESCRIPTORS) {
        bump(&queue->counter->missed, (uint64_t)queue->waiting - DESCRIPTORS);
        queue->waiting -= (double)((uint64_t)queue->waiting - DESCRIPTORS);
    }
    if (count > queue->waiting)
        count = (uint16_t)queue->waiting;
    queue->waiting -= count;
    return count;
}

uint16_t queue_receive(void *rx_queue, struct rte_mbuf **mbufs, uint16_t count)
{
    struct rx_queue *queue = rx_queue;
    struct control *control = queue->control;
    uint64_t bytes, rate;

    if (unlikely(!atomic_load_explicit(&control->open, memory_order_relaxed)))
        return 0;
    rate = atomic_load_explicit(&control->rate, memory_order_relaxed);
    if (unlikely(rate)) {
        count = pace(queue, rate, count);
        if (!count)
            return 0;
    }
    if (unlikely(rte_mempool_get_bulk(queue->pool, (void **)mbufs, count))) {
        bump(&queue->counter->starved, 1);
        return 0;
    }
    bytes = unlikely(queue->first_pass) ? fill_first(queue, mbufs, count)
                                        : fill_burst(queue, mbufs, count);
    bump(&queue->counter->packets, count);
    bump(&queue->counter->bytes, bytes);
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
