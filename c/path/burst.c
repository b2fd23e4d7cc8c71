/* SPDX-License-Identifier: Apache-2.0 */
#include "path/burst.h"

#include <stddef.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_mbuf.h>

#include "base/invariant.h"
#include "act/act.h"
#include "cls/cls.h"
#include "cls/cls_next.h"
#include "ct/ct.h"
#include "packet/extract.h"
#include "path/burst_direct.h"
#include "path/burst_sum.h"
#include "path/gather.h"
#include "path/tx.h"
#include "tnl/tnl.h"
#include "tnl/tnl_pop.h"
#include "tnl/tnl_sift.h"
#include "upcall/upcall.h"

_Static_assert(WORKER_BURST <= CLS_BURST, "a received burst is looked up at once");

#define SCATTER 4                   /* Runs that are shorter are not worth it. */

static inline void count(struct worker *worker, struct cls_entry *entry, unsigned int packets, uint64_t bytes, uint32_t tcp_flags)
{
    const uint32_t flags = atomic_load_explicit(&entry->tcp_flags, memory_order_relaxed);

    stat_add(&entry->packets, packets);
    stat_add(&entry->bytes, bytes);
    cls_use(entry, worker->now);
    if (tcp_flags & ~flags)
        atomic_store_explicit(&entry->tcp_flags, (uint16_t)(flags | tcp_flags), memory_order_relaxed);
}

/* Packets whose struct pkt is not written, with what tracking said of them. */
struct tracked {
    const struct ct_request *request;
    struct ct_result *results;
    const struct pkt_md *md;         /* As they came. */
    uint32_t recirc_id;
};

static void write_tracked(struct worker *worker, const struct tracked *tracked, struct rte_mbuf **packets, unsigned int n, unsigned int at)
{
    for (unsigned int i = 0; i < n; i++) {
        if (!tracked->results[at + i].written)
            ct_write(worker->ct, tracked->request, packets[i], tracked->md, &tracked->results[at + i]);
        tracked->results[at + i].written = 1;
        pkt_of(packets[i])->md.recirc_id = tracked->recirc_id;
    }
}

static void follow(struct worker *, const struct act_prog *, struct rte_mbuf **, unsigned int n, const struct pkt_md *,
                   const uint32_t *flows, const uint16_t *tcp_flags);

/* Packets in the hands of dispatch(). */
struct batch {
    struct rte_mbuf **packets;
    const uint32_t *flows;
    const uint16_t *tcp_flags;
    const struct pkt_md *md;         /* Or NULL. */
    const struct tracked *tracked;   /* Or NULL. */
    const struct worker_popped *popped; /* Their struct pkt is not written yet; or NULL. */
    const struct burst_sum *sum;     /* Of all, as they are; or NULL. */
};

/* Does with a run of packets what their flows say. */
static inline void perform(struct worker *worker, const struct batch *b, unsigned int from, unsigned int n, uint64_t verdict)
{
    struct rte_mbuf **packets = b->packets + from;
    const struct act_prog *prog = (const struct act_prog *)(uintptr_t)verdict;

    if (__builtin_expect(verdict & CLS_VERDICT_OUTPUT, 1)) {
        tx_output_bulk(worker, packets, n, (uint32_t)(verdict >> 2), b->sum);
    } else if (verdict == CLS_VERDICT_DROP) {
        worker_drop_bulk(worker, packets, n, DROP_action);
    } else if (b->tracked) {
        write_tracked(worker, b->tracked, packets, n, from);
        act_run(worker, prog, packets, n, NULL);
    } else {
        if (b->popped)
            tnl_popped_write(b->popped, packets, n);
        else if (b->sum && act_quick(worker, prog, packets, n, b->sum))
            return;
        follow(worker, prog, packets, n, b->md, b->flows + from, b->tcp_flags + from);
    }
}

static inline uint32_t flags_of(const uint16_t *tcp_flags, unsigned int n)
{
    uint32_t flags = 0;

    for (unsigned int i = 0; i < n; i++)
        flags |= tcp_flags[i];
    return flags;
}

/* Sends each packet where its flow says: short runs cost more than a look at each packet. */
static void scatter(struct worker *worker, const struct batch *b, unsigned int n, const uint64_t *verdicts)
{
    const uint32_t longest = b->sum ? tx_longest(b->sum) : UINT32_MAX;

    for (unsigned int i = 0; i < n; i++)
        tx_output_known(worker, b->packets[i], (uint32_t)(verdicts[i] >> 2), longest);
}

/* Does what the flows of packets say: actions run once for each run of flows with the same
 * verdict, of which 0 is none. */
static void perform_runs(struct worker *worker, const struct batch *b, unsigned int n, const uint64_t *verdicts)
{
    unsigned int from = 0;

    for (unsigned int i = 1; i < n; i++) {
        if (verdicts[i] == verdicts[from])
            continue;
        if (verdicts[from])
            perform(worker, b, from, i - from, verdicts[from]);
        from = i;
    }
    if (verdicts[from])
        perform(worker, b, from, n - from, verdicts[from]);
}

/* Counts packets and does what their flows say.  `whole`: all are of the same flow. */
static inline __attribute__((always_inline)) void dispatch(struct worker *worker, const struct batch *b, unsigned int n, bool whole)
{
    struct cls_entry *entries = cls_entries(worker->replica);
    struct rte_mbuf **packets = b->packets, *misses[CLS_BURST];
    const uint16_t *tcp_flags = b->tcp_flags;
    const uint32_t *flows = b->flows;
    unsigned int miss_n = 0, runs = 0;
    uint64_t verdicts[CLS_BURST], before = 0, all = CLS_VERDICT_OUTPUT;

    if (whole && b->sum && b->flows[0]) {
        struct cls_entry *entry = &entries[b->flows[0]];

        count(worker, entry, n, b->sum->bytes, flags_of(b->tcp_flags, n));
        stat_add(&worker->stat->hit, n);
        perform(worker, b, 0, n, atomic_load_explicit(&entry->verdict, memory_order_acquire));
        return;
    }
    for (unsigned int i = 0; i < n; i++) {
        const uint32_t flow = flows[i];
        uint64_t wanted = 0;

        if (__builtin_expect(flow, 1)) {
            count(worker, &entries[flow], 1, packets[i]->pkt_len, tcp_flags[i]);
            wanted = atomic_load_explicit(&entries[flow].verdict, memory_order_acquire);
        } else {
            if (b->tracked)
                write_tracked(worker, b->tracked, packets + i, 1, i);
            misses[miss_n++] = packets[i];
        }
        verdicts[i] = wanted;
        runs += wanted != before;
        before = wanted;
        all &= wanted;
    }
    if (likely(runs == 1 && before == verdicts[0]))
        perform(worker, b, 0, n, before);
    else if (all && runs > n / SCATTER)
        scatter(worker, b, n, verdicts);
    else
        perform_runs(worker, b, n, verdicts);
    stat_add(&worker->stat->hit, n - miss_n);
    if (!miss_n)
        return;
    if (b->popped)
        tnl_popped_write(b->popped, misses, miss_n);
    burst_miss(worker, misses, miss_n, b->md);
}

/* Packets that share in_port and recirc_id.  `sum`: theirs, or NULL. */
static void classify(struct worker *worker, struct rte_mbuf **packets, unsigned int n, uint32_t in_port, uint32_t recirc_id,
                     const struct pkt_md *md, const struct burst_sum *sum)
{
    uint32_t flows[CLS_BURST];
    uint16_t tcp_flags[CLS_BURST];
    const struct batch b = { .packets = packets, .flows = flows, .tcp_flags = tcp_flags, .md = md, .sum = sum };

    INVARIANT(n && n <= CLS_BURST);
    dispatch(worker, &b, n, cls_lookup(worker->replica, in_port, recirc_id, packets, n, md, flows, tcp_flags, worker->stat));
}

static struct cls_next *answers_of(struct cls_replica *replica, const struct tracked *tracked, uint32_t flow)
{
    return cls_next_of(replica, flow, tracked->md->in_port, tracked->recirc_id, tracked->request->zone, tracked->request->flags & CT_NAT);
}

/* The flows that tracked packets hit, if the thread remembers them all. */
static inline bool remembered(struct cls_replica *replica, const struct tracked *tracked, unsigned int n, const uint32_t *flows, uint32_t *next)
{
    const struct ct_result *results = tracked->results;
    const struct cls_next *answers = NULL;
    uint32_t flow = 0;
    uint64_t before = 0;

    for (unsigned int i = 0; i < n; i++) {
        uint64_t key;

        if (__builtin_expect(flows[i] != flow, 0)) {
            flow = flows[i];
            answers = answers_of(replica, tracked, flow);
            if (!answers)
                return false;
            before = UINT64_MAX;
        }
        key = cls_next_key(answers, results[i].state, results[i].mark);
        next[i] = key == before ? next[i - 1] : cls_next_flow(answers, key);
        if (!next[i])
            return false;
        before = key;
    }
    return true;
}

/* Has the thread remember what was looked up since the classifier had `changes`. */
static void remember(struct cls_replica *replica, const struct tracked *tracked, unsigned int n, const uint32_t *flows, const uint32_t *next,
                     uint64_t changes)
{
    struct cls_next *answers = NULL;
    uint32_t flow = 0;

    for (unsigned int i = 0; i < n; i++) {
        if (flows[i] != flow)
            answers = answers_of(replica, tracked, flows[i]);
        flow = flows[i];
        if (answers && answers->changes == changes)
            cls_next_learn(answers, tracked->results[i].state, tracked->results[i].mark, next[i]);
    }
}

/* Runs a program; if it only tracks and looks up again, what tracking finds leads on at once. */
static void follow(struct worker *worker, const struct act_prog *prog, struct rte_mbuf **packets, unsigned int n, const struct pkt_md *md,
                   const uint32_t *flows, const uint16_t *tcp_flags)
{
    struct ct_result results[CLS_BURST];
    struct tracked tracked = { .results = results, .md = md };
    uint32_t next[CLS_BURST];
    const struct batch b = { .packets = packets, .flows = next, .tcp_flags = tcp_flags, .tracked = &tracked };

    tracked.request = act_track(prog, &tracked.recirc_id);
    /* What waits to be looked up again came before. */
    if (!md || !tracked.request || worker_waits(worker) || worker->depth == WORKER_RECIRC_MAX
        || !ct_track(worker->ct, worker->index, tracked.request, packets, n, worker->now, md, results)) {
        act_run(worker, prog, packets, n, md);
        return;
    }
    if (!remembered(worker->replica, &tracked, n, flows, next)) {
        const uint64_t changes = cls_changes(worker->replica);
        uint16_t again[CLS_BURST];

        write_tracked(worker, &tracked, packets, n, 0);
        cls_lookup(worker->replica, md->in_port, tracked.recirc_id, packets, n, NULL, next, again, worker->stat);
        remember(worker->replica, &tracked, n, flows, next, changes);
    }
    stat_add(&worker->stat->recirculated, n);
    worker->depth++;
    dispatch(worker, &b, n, false);
    worker->depth--;
}

static unsigned int drop_runts(struct worker *worker, struct rte_mbuf **packets, unsigned int n)
{
    unsigned int kept = 0;

    for (unsigned int i = 0; i < n; i++) {
        if (__builtin_expect(packets[i]->data_len < EXTRACT_RUNT, 0))
            worker_drop(worker, packets[i], DROP_rx_runt);
        else
            packets[kept++] = packets[i];
    }
    return kept;
}

/* Packets of a list that are to be looked up together. */
static bool together(struct rte_mbuf *a, uint8_t depth_a, struct rte_mbuf *b, uint8_t depth_b)
{
    return pkt_of(a)->md.recirc_id == pkt_of(b)->md.recirc_id && pkt_of(a)->md.in_port == pkt_of(b)->md.in_port && depth_a == depth_b;
}

/* Takes the list as it is, so that packets that go round once more find an empty one, and handles
 * it group by group, in order within each. */
static void recirculate_once(struct worker *worker)
{
    struct rte_mbuf *waiting[WORKER_RECIRC_QUEUE];
    uint8_t depths[WORKER_RECIRC_QUEUE];
    unsigned int left = worker->recirc.n;

    memcpy(waiting, worker->recirc.packets, left * sizeof waiting[0]);
    memcpy(depths, worker->recirc.depth, left);
    worker->recirc.n = 0;
    while (left) {
        struct rte_mbuf *group[CLS_BURST], *first = waiting[0];
        const uint8_t depth = depths[0];
        const struct pkt_md md = pkt_of(first)->md;
        unsigned int n = 0, kept = 0;
        struct burst_sum sum;

        for (unsigned int i = 0; i < left; i++) {
            if (n < CLS_BURST && together(first, depth, waiting[i], depths[i])) {
                group[n++] = waiting[i];
            } else {
                waiting[kept] = waiting[i];
                depths[kept++] = depths[i];
            }
        }
        left = kept;
        stat_add(&worker->stat->recirculated, n);
        worker->in_port = md.in_port;
        n = drop_runts(worker, group, n);
        worker->depth = depth;
        burst_sum_up(group, n, &sum);
        if (n)
            classify(worker, group, n, md.in_port, md.recirc_id, NULL, &sum);
    }
}

/* Those that a tunnel port brought at once. */
static void receive_popped(struct worker *worker)
{
    struct worker_popped popped; /* A copy: they may come by another tunnel next. */
    uint32_t flows[CLS_BURST];
    uint16_t tcp_flags[CLS_BURST];
    struct burst_sum sum;
    const struct batch b = { .packets = popped.packets, .flows = flows, .tcp_flags = tcp_flags, .sum = &sum, .popped = &popped };
    bool whole;

    memcpy(&popped, &worker->popped, offsetof(struct worker_popped, common.options) + worker->popped.common.tunnel.options_size);
    worker->popped.n = 0;
    stat_add(&worker->stat->recirculated, popped.n);
    worker->in_port = popped.common.md.in_port;
    worker->depth = popped.depth;
    burst_sum_up(popped.packets, popped.n, &sum);
    if (likely(cls_lookup_by(worker->replica, &popped.common, popped.packets, popped.n, flows, tcp_flags, worker->stat, &whole))) {
        dispatch(worker, &b, popped.n, whole);
        return;
    }
    tnl_popped_write(&popped, popped.packets, popped.n);
    classify(worker, popped.packets, popped.n, worker->in_port, 0, NULL, &sum);
}

void burst_recirculate(struct worker *worker)
{
    while (worker_waits(worker)) {
        if (worker->popped.n) {
            receive_popped(worker);
        } else if (worker->recirc.n) {
            recirculate_once(worker);
        } else if (worker->bundle_n) {
            tnl_sift_more(worker);
        } else {
            worker->depth = 0;
            gather_look_up(worker);
        }
    }
    worker->depth = 0;
}

void burst_receive(struct worker *worker, struct rte_mbuf **packets, unsigned int n, const struct pkt_md *md)
{
    const bool tunnels = atomic_load_explicit(&worker->roles[md->in_port & (WORKER_PORTS - 1)], memory_order_relaxed) & TNL_RECEIVES;
    struct burst_sum sum;

    INVARIANT(n <= CLS_BURST);
    INVARIANT(!worker_waits(worker) && !worker->depth);
    worker->in_port = md->in_port;
    burst_sum_first(packets, n, &sum);
    if (__builtin_expect(sum.shortest < EXTRACT_RUNT || tunnels, 0)) {
        n = drop_runts(worker, packets, n);
        if (n && tunnels)
            n = tnl_sift(worker, md->in_port, TNL_RECEIVES, &gather_received, packets, n);
        burst_sum_up(packets, n, &sum);
    }
    if (n)
        classify(worker, packets, n, md->in_port, md->recirc_id, md, &sum);
    if (__builtin_expect(worker_waits(worker), 0))
        burst_recirculate(worker);
}

void burst_receive_l3(struct worker *worker, struct rte_mbuf **packets, unsigned int n, uint32_t in_port)
{
    unsigned int kept = 0;

    INVARIANT(n <= CLS_BURST);
    INVARIANT(!worker_waits(worker) && !worker->depth);
    worker->in_port = in_port;
    n = drop_runts(worker, packets, n);
    for (unsigned int i = 0; i < n; i++) {
        struct rte_mbuf *m = packets[i];
        const uint8_t version = *rte_pktmbuf_mtod(m, const uint8_t *) >> 4;

        if (version != 4 && version != 6) {
            worker_drop(worker, m, DROP_rx_no_type);
            continue;
        }
        pkt_of(m)->md = (struct pkt_md){ .in_port = in_port };
        pkt_set_l3(m, version == 4 ? RTE_BE16(0x0800) : RTE_BE16(0x86dd));
        packets[kept++] = m;
    }
    if (kept)
        classify(worker, packets, kept, in_port, 0, NULL, NULL);
    if (worker_waits(worker))
        burst_recirculate(worker);
}

void burst_settle(struct worker *worker)
{
    tx_flush(worker);
    while (__builtin_expect(worker_waits(worker), 0)) {
        burst_recirculate(worker);
        tx_flush(worker);
    }
}
