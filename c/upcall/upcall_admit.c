/* SPDX-License-Identifier: Apache-2.0
 *
 * Which packets get room in a handler's ring when there is little.  upcall.h has the rules. */
#include <string.h>

#include <rte_byteorder.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "base/invariant.h"
#include "base/hash.h"
#include "packet/extract.h"
#include "packet/eal.h"
#include "upcall/upcall_int.h"

_Static_assert((WORKER_RECENT & (WORKER_RECENT - 1)) == 0, "misses are remembered by the low bits of their hash");

/* Calls a miss by its key.  Of IPv4 without further metadata only the first block is not zero. */
static uint32_t miss_hash(const struct hash_key *seed, struct rte_mbuf *m)
{
    const struct pkt_md *md = &pkt_of(m)->md;
    const bool tunnel = md->more & PKT_MORE_TUNNEL;
    uint32_t blocks = tunnel ? KEY_BLOCKS : KEY_OPTIONS_BLOCK;
    struct key key;

    extract_blocks(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, md, pkt_of(m),
                   tunnel ? KEY_BLOCKS_ALL : KEY_BLOCKS_PLAIN, &key, NULL);
    if (key.base.eth_type == RTE_BE16(0x0800) && !md->more && !md->skb_priority)
        blocks = 1;
    return hash_chunks(seed, (const uint32_t *)key.words, blocks * 64 / (4 * HASH_CHUNK));
}

/* Whether a miss with the same key went up less than UPCALL_PENDING_MS ago; if not, this one does
 * now. */
static bool is_duplicate(struct worker *worker, const struct hash_key *seed, struct rte_mbuf *m)
{
    uint32_t hash = miss_hash(seed, m);
    struct worker_recent *recent = &worker->recent[hash & (WORKER_RECENT - 1)];

    if (recent->hash == hash && worker->now_ms - recent->ms < UPCALL_PENDING_MS)
        return true;
    recent->hash = hash;
    recent->ms = worker->now_ms;
    return false;
}

/* `waiting` plus this many is about what the ring has left then. */
static uint32_t share_left(uint32_t free_count, uint32_t waiting, uint32_t quota)
{
    uint32_t left = free_count > waiting ? (free_count - waiting + 1) / 2 : 0;

    if (!quota)
        return left;
    return waiting >= quota ? 0 : RTE_MIN(left, quota - waiting);
}

/* --- mbufs ------------------------------------------------------------------------------------ */

/* Of all handlers of the process: pools are the process's, too. */
static _Atomic uint32_t held[UPCALL_POOLS];

static uint32_t pool_of(const struct handler *handler, const struct rte_mbuf *m)
{
    if (m->pool == handler->pool)
        return 0;
    return rte_pktmbuf_data_room_size(m->pool) == EAL_LARGE_ROOM + RTE_PKTMBUF_HEADROOM ? 1 : 2;
}

/* mbufs of a pool that all upcalls together may hold.  Half of one leaves traffic that has a flow
 * as much again as it needs at any time. */
static uint32_t limit_of(const struct rte_mempool *pool)
{
    return pool->size / 2;
}

static struct upcall_waiting *waiting_of(const struct handler *handler, uint32_t in_port)
{
    return &handler->waiting[in_port & (WORKER_PORTS - 1)];
}

/* mbufs that a port may have more in a handler's ring.  One handler alone gets half of what all may
 * hold, two a third each, and so on: however many are stalled, the next one finds some left.  Of
 * that a port has a share. */
static uint32_t mbufs_left(const struct handler *handler, const struct upcall_waiting *waiting, uint32_t pool, uint32_t limit)
{
    const uint32_t all = atomic_load_explicit(&held[pool], memory_order_relaxed);
    const uint32_t own = atomic_load_explicit(&handler->held[pool], memory_order_relaxed);

    return all + own < limit ? share_left(limit - all - own, atomic_load_explicit(&waiting->mbufs[pool], memory_order_relaxed), 0) : 0;
}

/* How many of the first packets may hold their mbufs. */
static unsigned int affordable(const struct handler *handler, const struct upcall_waiting *waiting, struct rte_mbuf **packets, unsigned int n)
{
    uint32_t want[UPCALL_POOLS] = { 0 };

    for (unsigned int i = 0; i < n; i++) {
        const struct rte_mbuf *s = packets[i];

        for (uint32_t k = s->nb_segs;; s = s->next) {
            const uint32_t pool = pool_of(handler, s);

            if (++want[pool] > mbufs_left(handler, waiting, pool, limit_of(s->pool)))
                return i;
            if (!--k)
                break; /* Mostly at once, and `next` lies in another line. */
        }
    }
    return n;
}

/* Packets of one port enter the ring, or leave it. */
static void count_mbufs(struct handler *handler, struct upcall_waiting *waiting, struct rte_mbuf **packets, unsigned int n, bool enter)
{
    uint32_t sum[UPCALL_POOLS] = { 0 };

    for (unsigned int i = 0; i < n; i++) {
        const struct rte_mbuf *s = packets[i];

        for (uint32_t k = s->nb_segs; sum[pool_of(handler, s)]++, --k; s = s->next)
            ;
    }
    for (uint32_t pool = 0; pool < UPCALL_POOLS; pool++) {
        const uint32_t change = enter ? sum[pool] : -sum[pool];

        if (!change)
            continue;
        atomic_fetch_add_explicit(&held[pool], change, memory_order_relaxed);
        atomic_fetch_add_explicit(&handler->held[pool], change, memory_order_relaxed);
        atomic_fetch_add_explicit(&waiting->mbufs[pool], change, memory_order_relaxed);
    }
}

/* --- Room ------------------------------------------------------------------------------------- */

#define LOOKS 8u                     /* Packets of a burst. */

/* Keeps the packets that are no duplicates, at most `room`; moves the duplicates to the end of
 * `packets`, in front of those that are too many.
 *
 * A key costs more than all the rest of a lost miss, so few of a burst are looked at.  Full bursts
 * mean that the thread is behind; a quarter of what it receives then is still more than any handler
 * takes. */
static unsigned int sift(struct worker *worker, const struct hash_key *seed, struct rte_mbuf **packets, unsigned int n, unsigned int room,
                         unsigned int *duplicates)
{
    struct rte_mbuf *again[WORKER_BURST];
    unsigned int kept = 0, looked;

    *duplicates = 0;
    for (looked = 0; looked < RTE_MIN(n, LOOKS) && kept < room; looked++) {
        if (is_duplicate(worker, seed, packets[looked]))
            again[(*duplicates)++] = packets[looked];
        else
            packets[kept++] = packets[looked];
    }
    /* Those not looked at stay behind `looked` = kept + duplicates. */
    memcpy(packets + kept, again, *duplicates * sizeof again[0]);
    return kept;
}

bool upcall_is_full(const struct handler *handler, uint32_t in_port, enum stat_drop *reason)
{
    const struct upcall_waiting *waiting = waiting_of(handler, in_port);
    const uint32_t free_count = rte_ring_free_count(handler->ring);

    if (!mbufs_left(handler, waiting, 0, limit_of(handler->pool))) {
        *reason = DROP_upcall_mbufs;
        return true;
    }
    *reason = free_count ? DROP_upcall_quota : DROP_upcall_full;
    return !share_left(free_count, atomic_load_explicit(&waiting->n, memory_order_relaxed), handler->quota);
}

unsigned int upcall_admit(struct worker *worker, struct handler *handler, struct rte_mbuf **packets, unsigned int n,
                          struct upcall_refused *refused)
{
    const struct pkt *first = pkt_of(packets[0]);
    struct upcall_waiting *waiting = waiting_of(handler, first->md.in_port);
    const uint32_t before = atomic_load_explicit(&waiting->n, memory_order_relaxed);
    const uint32_t free_count = rte_ring_free_count(handler->ring);
    const uint32_t share = share_left(free_count, before, handler->quota);
    const unsigned int afford = affordable(handler, waiting, packets, n), room = RTE_MIN(share, afford);
    unsigned int kept = RTE_MIN(n, room);

    INVARIANT(n && n <= WORKER_BURST);
    refused->duplicates = 0;
    /* Half of its share gone, or half of the ring. */
    if (kept && first->kind == DP_UPCALL_MISS && (2 * before > free_count || 2 * free_count < rte_ring_get_capacity(handler->ring)))
        kept = sift(worker, &worker->upcalls->hash_key, packets, n, room, &refused->duplicates);
    refused->reason = afford < share && afford < n ? DROP_upcall_mbufs : free_count ? DROP_upcall_quota : DROP_upcall_full;
    if (kept) {
        atomic_fetch_add_explicit(&waiting->n, kept, memory_order_relaxed);
        count_mbufs(handler, waiting, packets, kept, true);
    }
    return kept;
}

void upcall_leave(struct handler *handler, struct rte_mbuf **packets, unsigned int n)
{
    /* Those of one port at once: poll threads read its counters. */
    for (unsigned int i = 0, first = 0; i < n; first = i) {
        const uint32_t port = pkt_of(packets[first])->md.in_port;
        struct upcall_waiting *waiting = waiting_of(handler, port);

        while (i < n && pkt_of(packets[i])->md.in_port == port)
            i++;
        INVARIANT(atomic_load_explicit(&waiting->n, memory_order_relaxed) >= i - first);
        atomic_fetch_sub_explicit(&waiting->n, i - first, memory_order_relaxed);
        count_mbufs(handler, waiting, packets + first, i - first, false);
    }
}
