/* SPDX-License-Identifier: Apache-2.0
 * cls_isa.c - which build of the lookup runs, and the mode in which all of them do and must
 * agree. */
#include <errno.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/invariant.h"
#include "cls/cls_int.h"
#include "base/stat.h"

#define ISA_SCALAR 0u
#define ISA_AVX2 1u
#define ISA_AVX512 2u
#define ISA_COUNT 3u
#define UNKNOWN UINT32_MAX
#if defined(__x86_64__) && defined(__AES__)
#define VECTOR 1
#else
#define VECTOR 0
#endif

static _Atomic uint32_t chosen = UNKNOWN;
static _Atomic bool validating;

#if VECTOR
/* __builtin_cpu_supports() does not know it in every compiler. */
static bool has_vaes(void)
{
    unsigned int a, b, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c >> 9 & 1);
}
#endif

static bool has(uint32_t isa)
{
    switch (isa) {
    case ISA_SCALAR:
        return true;
#if VECTOR
    case ISA_AVX2:
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
    case ISA_AVX512:
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
            && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("bmi2")
            && has_vaes();
#endif
    default:
        return false;
    }
}

static cls_hot_fn *build_of(uint32_t isa)
{
#if VECTOR
    if (isa == ISA_AVX512)
        return cls_hot_avx512;
    if (isa == ISA_AVX2)
        return cls_hot_avx2;
#endif
    (void)isa;
    return cls_hot_scalar;
}

uint32_t cls_isa_get(void)
{
    uint32_t isa = atomic_load_explicit(&chosen, memory_order_relaxed);

    if (isa == UNKNOWN) {
        isa = has(ISA_AVX512) ? ISA_AVX512 : has(ISA_AVX2) ? ISA_AVX2 : ISA_SCALAR;
        atomic_store_explicit(&chosen, isa, memory_order_relaxed);
    }
    return isa;
}

int cls_isa_set(uint32_t isa, bool validate)
{
    if (!has(isa))
        return EOPNOTSUPP;
    atomic_store_explicit(&chosen, isa, memory_order_relaxed);
    atomic_store_explicit(&validating, validate, memory_order_relaxed);
    return 0;
}

/* Looks the burst up by every other build too.  A flow may come or go in between: what differs is
 * looked up again by the one that counts, and is a mismatch only if that still gives its first
 * answer. */
static __attribute__((noinline)) void check_builds(struct cls_replica *replica, const struct cls_view *view, struct cls_burst *burst,
                                                   struct stat_counters *stat)
{
    const uint32_t own = cls_isa_get();

    for (uint32_t isa = 0; isa < ISA_COUNT; isa++) {
        uint32_t flows[CLS_BURST], again[CLS_BURST], bad = 0;
        uint16_t tcp_flags[CLS_BURST], tcp_again[CLS_BURST];
        struct cls_burst other = *burst, repeat = *burst;

        if (isa == own || !has(isa))
            continue;
        other.flows = flows;
        other.tcp_flags = tcp_flags;
        build_of(isa)(replica, view, &other);
        repeat.flows = again;
        repeat.tcp_flags = tcp_again;
        build_of(own)(replica, view, &repeat);
        for (uint32_t i = 0; i < burst->n; i++)
            bad += (flows[i] != burst->flows[i] && again[i] == burst->flows[i]) || tcp_flags[i] != burst->tcp_flags[i] ||
                   (other.whole && flows[i] != flows[0]);
        if (bad)
            stat_add(&stat->validator_mismatches, bad);
    }
}

/* What lookups see of the packets of a port; NULL: no flow matches any. */
static const struct cls_view *view_for(const struct cls_replica *replica, uint32_t in_port, uint32_t recirc_id)
{
    const struct cls_part *part = cls_part_find(replica->cls, in_port, recirc_id);

    return part ? atomic_load_explicit(&((struct cls_part *)(uintptr_t)part)->view, memory_order_acquire) : NULL;
}

static inline bool look_up(struct cls_replica *replica, const struct cls_view *view, struct cls_burst *burst, struct stat_counters *stat)
{
    INVARIANT(burst->n && burst->n <= CLS_BURST);
    if (__builtin_expect(!view, 0)) {
        memset(burst->flows, 0, burst->n * sizeof burst->flows[0]);
        memset(burst->tcp_flags, 0, burst->n * sizeof burst->tcp_flags[0]);
        return true;
    }
    build_of(cls_isa_get())(replica, view, burst);
    stat_add(&stat->mask_hit, burst->probes);
    if (__builtin_expect(atomic_load_explicit(&validating, memory_order_relaxed), 0))
        check_builds(replica, view, burst, stat);
    return burst->whole;
}

bool cls_lookup(struct cls_replica *replica, uint32_t in_port, uint32_t recirc_id, struct rte_mbuf **packets, unsigned int n,
                const struct pkt_md *md, uint32_t *flows, uint16_t *tcp_flags, struct stat_counters *stat)
{
    struct cls_burst burst = {
        .packets = packets, .md = md, .habit = cls_habit_of(replica, in_port, recirc_id), .flows = flows, .tcp_flags = tcp_flags, .n = n,
    };

    INVARIANT(!md || (md->in_port == in_port && md->recirc_id == recirc_id));
    return look_up(replica, view_for(replica, in_port, recirc_id), &burst, stat);
}

bool cls_lookup_by(struct cls_replica *replica, const struct pkt *by, struct rte_mbuf **packets, unsigned int n, uint32_t *flows,
                   uint16_t *tcp_flags, struct stat_counters *stat, bool *whole)
{
    const struct pkt_md *md = &by->md;
    const struct cls_view *view = view_for(replica, md->in_port, md->recirc_id);
    struct cls_burst burst = {
        .packets = packets, .md = md, .by = by, .habit = cls_habit_of(replica, md->in_port, md->recirc_id), .flows = flows,
        .tcp_flags = tcp_flags, .n = n,
    };

    INVARIANT(md->more == PKT_MORE_TUNNEL);
    if (view && view->mask.tunnel.tp_src)
        return false;
    *whole = look_up(replica, view, &burst, stat);
    return true;
}
