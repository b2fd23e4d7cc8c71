/* SPDX-License-Identifier: Apache-2.0 */
#include "packet/eal_packet.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#define SPARE 512u                /* Packets freed and not yet back in the pool. */

static _Atomic(struct rte_mempool *) main_pool;

/* Mbufs of packets that were handed up, for packets that are executed next.  From the pool these
 * threads would get the ones that nobody has touched for longest: two misses in every cache for
 * each packet. */
static pthread_mutex_t spare_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rte_mempool_cache *spare;

void eal_packets_init(struct rte_mempool *pool)
{
    /* Without it (NULL) all go to the pool itself. */
    spare = rte_mempool_cache_create(RTE_MIN(SPARE, pool->size / 16), SOCKET_ID_ANY);
    atomic_store_explicit(&main_pool, pool, memory_order_release);
}

uint32_t eal_packets_spare(void)
{
    uint32_t n;

    pthread_mutex_lock(&spare_lock);
    n = spare ? spare->len : 0;
    pthread_mutex_unlock(&spare_lock);
    return n;
}

/* Whether this thread has a cache of its own, as poll threads do: no lock, and first what was freed
 * last.  All others share `spare`. */
static bool has_cache(void)
{
    const unsigned lcore = rte_lcore_id();

    return lcore != LCORE_ID_ANY && lcore != rte_get_main_lcore();
}

static uint32_t take_from(struct rte_mempool *pool, struct rte_mempool_cache *cache, struct rte_mbuf **packets, uint32_t n)
{
    uint32_t taken = 0;

    if (!rte_mempool_generic_get(pool, (void **)packets, n, cache))
        return n;
    /* All or nothing: it may still have some. */
    while (taken < n && !rte_mempool_generic_get(pool, (void **)packets + taken, 1, cache))
        taken++;
    return taken;
}

uint32_t eal_packets_take(struct rte_mbuf **packets, uint32_t n)
{
    struct rte_mempool *const pool = atomic_load_explicit(&main_pool, memory_order_acquire);
    uint32_t taken;

    if (!pool)
        return 0;
    if (has_cache()) {
        taken = take_from(pool, rte_mempool_default_cache(pool, rte_lcore_id()), packets, n);
    } else {
        pthread_mutex_lock(&spare_lock);
        taken = take_from(pool, spare, packets, n);
        pthread_mutex_unlock(&spare_lock);
    }
    for (uint32_t i = 0; i < taken; i++)
        rte_pktmbuf_reset(packets[i]);
    return taken;
}

void eal_packets_free(struct rte_mbuf **packets, uint32_t n)
{
    struct rte_mempool *const pool = atomic_load_explicit(&main_pool, memory_order_acquire);
    struct rte_mbuf *own[64];

    if (pool && has_cache()) {
        rte_pktmbuf_free_bulk(packets, n);
        return;
    }
    for (uint32_t at = 0; at < n;) {
        uint32_t kept = 0;

        for (; at < n && kept < RTE_DIM(own); at++) {
            struct rte_mbuf *m = packets[at];

            if (m->pool != pool || m->next)
                rte_pktmbuf_free(m);
            else if ((m = rte_pktmbuf_prefree_seg(m)) != NULL)
                own[kept++] = m;
        }
        pthread_mutex_lock(&spare_lock);
        rte_mempool_generic_put(pool, (void **)own, kept, spare);
        pthread_mutex_unlock(&spare_lock);
    }
}

struct rte_mbuf *eal_packet_fill(struct rte_mbuf *first, const uint8_t *frame, uint32_t size)
{
    struct rte_mbuf *last = first;

    for (;;) {
        uint32_t part = RTE_MIN(size, (uint32_t)rte_pktmbuf_tailroom(last));
        struct rte_mbuf *next;

        memcpy(rte_pktmbuf_mtod(last, uint8_t *), frame, part);
        last->data_len = (uint16_t)part;
        first->pkt_len += part;
        frame += part;
        size -= part;
        if (!size)
            return first;
        if (!eal_packets_take(&next, 1)) {
            rte_pktmbuf_free(first);
            return NULL;
        }
        first->nb_segs++;
        last->next = next;
        last = next;
    }
}

struct rte_mbuf *eal_packet(const uint8_t *frame, uint32_t size)
{
    struct rte_mbuf *first;

    return eal_packets_take(&first, 1) ? eal_packet_fill(first, frame, size) : NULL;
}
