/* SPDX-License-Identifier: Apache-2.0
 *
 * Which packets get room in a handler's ring when there is little.  upcall.h has the rules. */
#include <string.h>

#include <rte_byteorder.h>
#include <rte_mbuf.h>

#include "base/invariant.h"
#include "base/hash.h"
#include "packet/extract.h"
#include "upcall/upcall_int.h"

_Static_assert((WORKER_RECENT & (WORKER_RECENT - 1)) == 0, "misses are remembered by the low bits of their hash");

/* Calls a miss by its key.  Of IPv4 without further metadata only the first block is not zero. */
static uint32_t miss_hash(const struct hash_key *seed, struct rte_mbuf *m)
{
    const struct pkt_md *md = &pkt_of(m)->md;
    uint32_t blocks = KEY_BLOCKS;
    struct key key;

    extract_packet(m, &key);
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
    const uint32_t waiting = atomic_load_explicit(&handler->waiting[in_port & (WORKER_PORTS - 1)], memory_order_relaxed);
    const uint32_t free_count = rte_ring_free_count(handler->ring);

    *reason = free_count ? DROP_upcall_quota : DROP_upcall_full;
    return !share_left(free_count, waiting, handler->quota);
}

unsigned int upcall_admit(struct worker *worker, struct handler *handler, struct rte_mbuf **packets, unsigned int n,
                          struct upcall_refused *refused)
{
    const struct pkt *first = pkt_of(packets[0]);
    _Atomic uint32_t *waiting = &handler->waiting[first->md.in_port & (WORKER_PORTS - 1)];
    const uint32_t before = atomic_load_explicit(waiting, memory_order_relaxed);
    const uint32_t free_count = rte_ring_free_count(handler->ring);
    const uint32_t room = share_left(free_count, before, handler->quota);
    unsigned int kept = RTE_MIN(n, room);

    INVARIANT(n && n <= WORKER_BURST);
    refused->duplicates = 0;
    /* Half of its share gone, or half of the ring. */
    if (kept && first->kind == DP_UPCALL_MISS && (2 * before > free_count || 2 * free_count < rte_ring_get_capacity(handler->ring)))
        kept = sift(worker, &worker->upcalls->hash_key, packets, n, room, &refused->duplicates);
    refused->reason = free_count ? DROP_upcall_quota : DROP_upcall_full;
    if (kept)
        atomic_fetch_add_explicit(waiting, kept, memory_order_relaxed);
    return kept;
}

void upcall_leave(struct handler *handler, struct rte_mbuf **packets, unsigned int n)
{
    /* Those of one port at once: poll threads read its counter. */
    for (unsigned int i = 0, first = 0; i < n; first = i) {
        const uint32_t port = pkt_of(packets[first])->md.in_port;

        while (i < n && pkt_of(packets[i])->md.in_port == port)
            i++;
        INVARIANT(atomic_load_explicit(&handler->waiting[port & (WORKER_PORTS - 1)], memory_order_relaxed) >= i - first);
        atomic_fetch_sub_explicit(&handler->waiting[port & (WORKER_PORTS - 1)], i - first, memory_order_relaxed);
    }
}
