/* SPDX-License-Identifier: Apache-2.0
 * ipf.c - the table of packets that are not whole: a fragment finds its place, and what waits too
 * long goes (ipf_int.h). */
#include <errno.h>

#include "base/mem.h"
#include "ipf/ipf_int.h"
#include "packet/eal.h"

#define SLICE 64u                    /* Packets dropped in one call. */
#define IDLE_MS 1000u
#define FREE_BATCH 32u

/* Bytes that fragments can carry, and of the largest header: that of IPv4 with options.  An IPv6
 * packet whose fragments repeat more than 12 bytes of headers may be taken for too many. */
#define DATA_MOST 65475u
#define HEADER_MOST 60u

/* --- Life and settings ------------------------------------------------------------------------ */

/* Address space, touched when the first fragment comes. */
static size_t room(void)
{
    return (sizeof(struct ipf) + 4095) & ~(size_t)4095;
}

struct ipf *ipf_create(void)
{
    struct ipf *ipf = mem_map(room());

    if (!ipf)
        return NULL;
    if (hash_seed(&ipf->hash)) {
        mem_unmap(ipf, room());
        return NULL;
    }
    ipf->oldest = ipf->newest = ipf->free_list = ipf->free_piece = IPF_NONE;
    atomic_init(&ipf->max, IPF_MAX_DEFAULT);
    for (int v6 = 0; v6 < 2; v6++) {
        atomic_init(&ipf->enabled[v6], 1);
        atomic_init(&ipf->min_size[v6], v6 ? IPF_MIN_V6_DEFAULT : IPF_MIN_V4_DEFAULT);
    }
    return ipf;
}

void ipf_destroy(struct ipf *ipf)
{
    if (!ipf)
        return;
    ipf_purge(ipf);
    mem_unmap(ipf, room());
}

void ipf_set_enabled(struct ipf *ipf, bool v6, bool on)
{
    atomic_store_explicit(&ipf->enabled[v6], on, memory_order_relaxed);
}

int ipf_set_min(struct ipf *ipf, bool v6, uint32_t bytes)
{
    if (bytes < IPF_MIN_LEAST)
        return EPERM;
    atomic_store_explicit(&ipf->min_size[v6], bytes, memory_order_relaxed);
    return 0;
}

int ipf_set_max(struct ipf *ipf, uint32_t fragments)
{
    if (fragments > IPF_MAX_MOST)
        return EPERM;
    atomic_store_explicit(&ipf->max, fragments, memory_order_relaxed);
    return 0;
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void ipf_status(const struct ipf *ipf, struct ipf_status *status)
{
    for (int v6 = 0; v6 < 2; v6++) {
        status->counters[v6] = (struct ipf_counters){
            .accepted = get(&ipf->accepted[v6]), .completed = get(&ipf->completed[v6]), .expired = get(&ipf->expired[v6]),
            .too_small = get(&ipf->too_small[v6]), .overlapped = get(&ipf->overlapped[v6]), .purged = get(&ipf->purged[v6]),
        };
        status->enabled[v6] = atomic_load_explicit(&ipf->enabled[v6], memory_order_relaxed);
        status->min_size[v6] = atomic_load_explicit(&ipf->min_size[v6], memory_order_relaxed);
    }
    status->held = atomic_load_explicit(&ipf->held, memory_order_relaxed);
    status->max = atomic_load_explicit(&ipf->max, memory_order_relaxed);
    status->full = get(&ipf->full);
    status->no_mbuf = get(&ipf->no_mbuf);
    status->bad = get(&ipf->bad);
}

/* --- The table.  Under the lock --------------------------------------------------------------- */

static uint32_t bucket_of(const struct ipf *ipf, const struct ipf_key *key)
{
    return hash_chunks(&ipf->hash, key->words, 2) % IPF_BUCKETS;
}

static uint32_t find(const struct ipf *ipf, const struct ipf_key *key, uint32_t bucket)
{
    uint32_t at = ipf->buckets[bucket];

    while (at && memcmp(&ipf->lists[at - 1].key, key, sizeof *key))
        at = ipf->lists[at - 1].next;
    return at ? at - 1 : IPF_NONE;
}

static uint32_t take_list(struct ipf *ipf, const struct ipf_fragment *f, uint32_t bucket, uint64_t now)
{
    const bool used = ipf->free_list != IPF_NONE;
    const uint32_t id = used ? ipf->free_list : ipf->fresh_list;
    struct ipf_list *list = &ipf->lists[id];

    if (used)
        ipf->free_list = list->next;
    else
        ipf->fresh_list++;
    *list = (struct ipf_list){ .key = f->key, .expires = now + IPF_TIMEOUT_MS, .next = ipf->buckets[bucket], .older = ipf->newest,
                               .newer = IPF_NONE, .first = IPF_NONE, .last = IPF_NONE, .done = IPF_NONE, .used = 1 };
    ipf->buckets[bucket] = id + 1;
    if (ipf->newest == IPF_NONE)
        ipf->oldest = id;
    else
        ipf->lists[ipf->newest].newer = id;
    ipf->newest = id;
    return id;
}

/* Takes a list out of the table; the caller has it then. */
static struct ipf_list *take_out(struct ipf *ipf, uint32_t id)
{
    struct ipf_list *list = &ipf->lists[id];
    uint32_t *at = &ipf->buckets[bucket_of(ipf, &list->key)];

    while (*at != id + 1)
        at = &ipf->lists[*at - 1].next;
    *at = list->next;
    *(list->older == IPF_NONE ? &ipf->oldest : &ipf->lists[list->older].newer) = list->newer;
    *(list->newer == IPF_NONE ? &ipf->newest : &ipf->lists[list->newer].older) = list->older;
    list->used = 0;
    for (uint32_t i = list->first; i != IPF_NONE; i = ipf->pieces[i].next)
        eal_release(&ipf_user(ipf, &list->key, &ipf->pieces[i])->hold, &ipf->pieces[i].m, 1);
    return list;
}

/* The piece that a fragment comes behind; IPF_NONE: before all of them. */
static uint32_t place(const struct ipf *ipf, const struct ipf_list *list, uint32_t start)
{
    uint32_t at = list->first;

    if (ipf->pieces[list->last].start <= start)
        return list->last;
    if (ipf->pieces[at].start > start)
        return IPF_NONE;
    while (ipf->pieces[ipf->pieces[at].next].start <= start)
        at = ipf->pieces[at].next;
    return at;
}

/* Whether a fragment fits between its neighbours, and to what is known of the packet's end. */
static bool fits(const struct ipf *ipf, const struct ipf_list *list, const struct ipf_fragment *f, uint32_t before)
{
    const uint32_t start = f->piece.start, end = start + f->piece.size;
    const uint32_t after = before == IPF_NONE ? list->first : ipf->pieces[before].next;

    if (before != IPF_NONE && ipf->pieces[before].start + (uint32_t)ipf->pieces[before].size > start)
        return false;
    if (after != IPF_NONE)
        return f->more && end <= ipf->pieces[after].start;
    return !list->end;
}

static void put(struct ipf *ipf, struct ipf_list *list, const struct ipf_fragment *f, uint32_t before)
{
    const bool used = ipf->free_piece != IPF_NONE;
    const uint32_t id = used ? ipf->free_piece : ipf->fresh_piece;
    struct ipf_piece *piece = &ipf->pieces[id];

    if (used)
        ipf->free_piece = piece->next;
    else
        ipf->fresh_piece++;
    *piece = f->piece;
    piece->next = before == IPF_NONE ? list->first : ipf->pieces[before].next;
    *(before == IPF_NONE ? &list->first : &ipf->pieces[before].next) = id;
    if (piece->next == IPF_NONE)
        list->last = id;
    list->pieces++;
    list->bytes += piece->size;
    list->ecns |= (uint8_t)(1u << f->ecn);
    if (!f->more)
        list->end = (uint32_t)piece->start + piece->size;
    if (!piece->start) {
        list->field = f->field;
        list->field_at = f->field_at;
    }
    atomic_store_explicit(&ipf->held, atomic_load_explicit(&ipf->held, memory_order_relaxed) + 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&ipf_user(ipf, &list->key, piece)->pieces, 1, memory_order_relaxed);
    ipf->held_apart += !ipf_is_ct(&list->key);
    ipf_count(&ipf->accepted[list->key.family == 6], 1);
}

/* Whether a packet may have one more piece: no more than the smallest ones make.  Who finds the
 * place of one looks at the others, under the lock. */
static bool may_grow(const struct ipf *ipf, const struct ipf_list *list)
{
    const uint32_t least = ipf_least(ipf, &list->key);

    return list->pieces < (DATA_MOST + least - HEADER_MOST - 1) / (least - HEADER_MOST);
}

/* Whether the packet's header can tell its size. */
static bool is_small_enough(const struct ipf *ipf, const struct ipf_list *list)
{
    const struct ipf_piece *first = &ipf->pieces[list->first];
    const uint32_t header = (uint32_t)(first->data - first->l3) - (list->key.family == 4 ? 0 : 40);

    return header + list->end <= UINT16_MAX;
}

/* Whether as many are held as may be.  Who sends to an address of ours has no flow to pass, and
 * must not have those of flows refused; and no port may have more than it leaves to others. */
static bool is_full(struct ipf *ipf, const struct ipf_fragment *f)
{
    const uint32_t max = atomic_load_explicit(&ipf->max, memory_order_relaxed), all = atomic_load_explicit(&ipf->held, memory_order_relaxed);
    const uint32_t limit = ipf_is_ct(&f->key) ? max : max / 2, held = ipf_is_ct(&f->key) ? all : ipf->held_apart;
    const uint32_t own = atomic_load_explicit(&ipf_user(ipf, &f->key, &f->piece)->pieces, memory_order_relaxed);

    return all >= max || held >= limit || own >= limit - held;
}

static enum ipf_verdict add(struct ipf *ipf, struct ipf_fragment *f, uint32_t id, uint32_t bucket, uint64_t now, struct ipf_list **list)
{
    uint32_t before = IPF_NONE;

    if (is_full(ipf, f)) {
        ipf_count(&ipf->full, 1);
        return IPF_REFUSED;
    }
    if (id != IPF_NONE) {
        if (ipf->lists[id].failed || !may_grow(ipf, &ipf->lists[id])) {
            ipf_count(&ipf->bad, 1);
            return IPF_REFUSED;
        }
        before = place(ipf, &ipf->lists[id], f->piece.start);
        if (!fits(ipf, &ipf->lists[id], f, before)) {
            ipf_count(&ipf->overlapped[f->key.family == 6], 1);
            return IPF_REFUSED;
        }
    }
    if (!eal_hold(&ipf_user(ipf, &f->key, &f->piece)->hold, &f->piece.m, 1)) {
        ipf_count(&ipf->no_mbuf, 1);
        return IPF_REFUSED;
    }
    if (id == IPF_NONE)
        id = take_list(ipf, f, bucket, now);
    *list = &ipf->lists[id];
    put(ipf, *list, f, before);
    if (!(*list)->end || (*list)->bytes != (*list)->end)
        return IPF_HELD;
    (*list)->failed = !is_small_enough(ipf, *list);
    if ((*list)->failed)
        return IPF_HELD;
    take_out(ipf, id);
    return IPF_WHOLE;
}

/* --- What has ended.  Without the lock -------------------------------------------------------- */

/* Gives back a list that is out of the table, its pieces being gone; `counter` gets their
 * number. */
static void give_back(struct ipf *ipf, struct ipf_list *list, _Atomic uint64_t counter[2])
{
    const uint32_t n = list->pieces, id = (uint32_t)(list - ipf->lists);
    uint32_t tail = IPF_NONE;

    ipf_count(&counter[list->key.family == 6], n);
    for (uint32_t i = list->done; i != IPF_NONE; i = ipf->pieces[i].next) {
        atomic_fetch_sub_explicit(&ipf_user(ipf, &list->key, &ipf->pieces[i])->pieces, 1, memory_order_relaxed);
        tail = i;
    }
    ipf_lock(ipf);
    ipf->pieces[tail].next = ipf->free_piece;
    ipf->free_piece = list->done;
    list->next = ipf->free_list;
    ipf->free_list = id;
    atomic_store_explicit(&ipf->held, atomic_load_explicit(&ipf->held, memory_order_relaxed) - n, memory_order_relaxed);
    ipf->held_apart -= ipf_is_ct(&list->key) ? 0 : n;
    ipf_unlock(ipf);
}

/* Frees the fragments of a list that is out of the table. */
static void drop(struct ipf *ipf, struct ipf_list *list, _Atomic uint64_t counter[2])
{
    struct rte_mbuf *batch[FREE_BATCH];
    uint32_t n = 0;

    for (uint32_t i = list->first; i != IPF_NONE; i = ipf->pieces[i].next) {
        batch[n++] = ipf->pieces[i].m;
        if (n == FREE_BATCH) {
            rte_pktmbuf_free_bulk(batch, n);
            n = 0;
        }
    }
    rte_pktmbuf_free_bulk(batch, n);
    list->done = list->first;
    give_back(ipf, list, counter);
}

enum ipf_verdict ipf_take(struct ipf *ipf, uint16_t zone, struct rte_mbuf *m, uint64_t now, struct ipf_whole **whole)
{
    struct ipf_list *list = NULL, *stale = NULL;
    struct ipf_fragment f;
    enum ipf_verdict verdict;
    uint32_t bucket, id;

    if (!ipf_read(ipf, zone, m, &f))
        return IPF_REFUSED;
    bucket = bucket_of(ipf, &f.key);
    ipf_lock(ipf);
    id = find(ipf, &f.key, bucket);
    if (id != IPF_NONE && now >= ipf->lists[id].expires) {
        stale = take_out(ipf, id);
        id = IPF_NONE;
    }
    verdict = add(ipf, &f, id, bucket, now, &list);
    ipf_unlock(ipf);
    if (stale)
        drop(ipf, stale, ipf->expired);
    if (verdict == IPF_WHOLE) {
        ipf_join(ipf, list);
        *whole = &list->whole;
    }
    return verdict;
}

unsigned int ipf_cut(struct ipf *ipf, struct ipf_whole *whole, struct rte_mbuf **pieces, unsigned int n, bool *left)
{
    struct ipf_list *list = (struct ipf_list *)whole;
    unsigned int k = 0;

    for (; k < n && list->first != IPF_NONE; k++) {
        struct ipf_piece *piece = &ipf->pieces[list->first];
        const uint32_t id = list->first;

        pieces[k] = ipf_cut_one(list, piece);
        list->first = piece->next;
        piece->next = list->done;
        list->done = id;
    }
    *left = list->first != IPF_NONE;
    if (!*left)
        give_back(ipf, list, ipf->completed);
    return k;
}

struct rte_mbuf *ipf_keep(struct ipf *ipf, struct ipf_whole *whole)
{
    struct ipf_list *list = (struct ipf_list *)whole;
    struct rte_mbuf *m = whole->m;

    list->done = list->first;
    give_back(ipf, list, ipf->completed);
    return m;
}

uint32_t ipf_service(struct ipf *ipf, uint64_t now)
{
    uint64_t expires = now + IDLE_MS;

    for (uint32_t i = 0; i < SLICE; i++) {
        struct ipf_list *list = NULL;

        ipf_lock(ipf);
        if (ipf->oldest == IPF_NONE)
            expires = now + IDLE_MS;
        else if ((expires = ipf->lists[ipf->oldest].expires) <= now)
            list = take_out(ipf, ipf->oldest);
        ipf_unlock(ipf);
        if (!list)
            return expires - now < IDLE_MS ? (uint32_t)(expires - now) : IDLE_MS;
        drop(ipf, list, ipf->expired);
    }
    return 0;
}

void ipf_purge(struct ipf *ipf)
{
    for (;;) {
        struct ipf_list *list = NULL;

        ipf_lock(ipf);
        if (ipf->oldest != IPF_NONE)
            list = take_out(ipf, ipf->oldest);
        ipf_unlock(ipf);
        if (!list)
            return;
        drop(ipf, list, ipf->purged);
    }
}

/* --- A view for programs ---------------------------------------------------------------------- */

uint32_t ipf_dump(struct ipf *ipf, uint32_t *at, struct ipf_info *info, uint32_t n)
{
    uint32_t found = 0;

    ipf_lock(ipf);
    for (; found < n && *at < ipf->fresh_list; ++*at) {
        const struct ipf_list *list = &ipf->lists[*at];
        const struct ipf_key *key = &list->key;

        if (!list->used)
            continue;
        info[found] = (struct ipf_info){ .id = key->id, .recirc_id = key->recirc_id, .zone = key->zone, .pieces = (uint16_t)list->pieces,
                                         .proto = key->proto, .family = key->family, .first = !ipf->pieces[list->first].start,
                                         .last = list->end != 0 };
        memcpy(info[found].src, key->src, 16);
        memcpy(info[found++].dst, key->dst, 16);
    }
    if (*at >= ipf->fresh_list)
        *at = UINT32_MAX;
    ipf_unlock(ipf);
    return found;
}
