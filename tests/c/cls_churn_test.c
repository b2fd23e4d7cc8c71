/* SPDX-License-Identifier: Apache-2.0
 * link: act/act_*.c cls/cls*.c packet/csum.c base/error.c packet/extract.c packet/partial.c base/hash.c base/rcu.c base/slab.c base/stat.c packet/userdata.c base/mem.c odp/odp_*.c tnl/tnl_ready.c
 * eal: yes
 * sanitize: address thread
 *
 * Two threads look packets up while a third puts, changes and deletes flows, among them ones with masks that nobody else has, so that views,
 * tables, bitmaps and partitions come and go.  Flows that stay are found every time, flows that are gone for a grace period
 * never, and an index never answers for a packet that it did not belong to. */
#include <pthread.h>
#include <stdatomic.h>

#include "cls_fixture.h"

#define STAY 64                      /* Flows that are there all the time ... */
#define COME 192                     /* ... and flows that come and go. */
#define CHANGES 12000
#define READERS 2

static struct rcu *rcu;
static struct cls *cls;
static struct act_prog *programs[2];
static _Atomic bool done;
static _Atomic uint64_t looked_up, mistakes;
/* Whether a coming flow can be found: 0 no, 1 perhaps, 2 surely. */
static _Atomic uint32_t state[STAY + COME + 1];

/* Flow i is about the frames that have i in their destination address. */
static uint32_t frame_of(uint32_t i, uint8_t *frame)
{
    uint32_t size = frame_named(i % 3 == 0 ? "IPv6 UDP" : i % 3 == 1 ? "IPv4 TCP" : "802.1Q", frame);

    frame[3] = (uint8_t)(i >> 8);
    frame[4] = (uint8_t)i;
    return size;
}

static void key_of(uint32_t i, struct key *key, struct key *mask)
{
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_of(i, frame);
    const struct pkt_md md = { .in_port = i % 2 };

    extract_key(frame, size, size, &md, NULL, key, NULL);
    memset(mask, 0, sizeof *mask);
    mask->base.eth_dst[3] = mask->base.eth_dst[4] = 0xff;
    mask->base.eth_type = 0xffff;
    if (i > STAY) { /* Each with a mask of its own. */
        mask->base.skb_mark = i;
        mask->base.tp_dst = i % 5 ? 0xffff : 0;
        memset(mask->wide.ip6_dst, 0xff, i % 7);
        mask->ct.skb_priority = i % 11 ? 0 : 0xff;
    }
}

static void *reader(void *arg)
{
    const unsigned int thread = (unsigned int)(uintptr_t)arg;
    struct cls_replica *replica = cls_replica_add(cls, thread); /* Called while nothing else runs yet. */
    struct rte_rcu_qsbr *qsbr = rcu_qsbr(rcu);
    uint64_t random = 77 + thread;
    struct packet packets[STAY + COME + 1];
    struct stat_counters stat;

    memset(&stat, 0, sizeof stat);
    for (uint32_t i = 1; i <= STAY + COME; i++) {
        uint8_t frame[FRAME_MAX];
        uint32_t size = frame_of(i, frame);

        packets[i] = packet_create(frame, size);
    }
    rcu_online(qsbr, thread);
    while (!atomic_load(&done)) {
        const uint32_t in_port = frame_random(&random) % 2, n = 1 + frame_random(&random) % CLS_BURST;
        const struct pkt_md md = { .in_port = in_port };
        uint32_t which[CLS_BURST], flows[CLS_BURST], before[CLS_BURST];
        uint16_t tcp_flags[CLS_BURST];
        struct rte_mbuf *mbufs[CLS_BURST];

        for (uint32_t i = 0; i < n; i++) {
            which[i] = 1 + frame_random(&random) % (STAY + COME);
            if (which[i] % 2 != in_port)
                which[i] = which[i] > 1 ? which[i] - 1 : 2;
            if (i && frame_random(&random) % 4 == 0)
                which[i] = which[i - 1];
            mbufs[i] = packets[which[i]].m;
            before[i] = atomic_load(&state[which[i]]);
        }
        cls_lookup(replica, in_port, 0, mbufs, n, &md, flows, tcp_flags, &stat);
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t after = atomic_load(&state[which[i]]);

            if (flows[i] && flows[i] != which[i])
                atomic_fetch_add(&mistakes, 1);
            /* The control side may have gone round once between the two loads, but never within one section (rcu). */
            if (!flows[i] && before[i] == 2 && after == 2)
                atomic_fetch_add(&mistakes, 1);
            if (flows[i] && before[i] == 0 && after == 0)
                atomic_fetch_add(&mistakes, 1);
            if (flows[i]) {
                struct cls_entry *entry = &cls_entries(replica)[flows[i]];

                stat_add(&entry->packets, 1);
                atomic_store_explicit(&entry->used_ms, 1, memory_order_relaxed);
                if (!atomic_load_explicit(&entry->verdict, memory_order_acquire))
                    atomic_fetch_add(&mistakes, 1);
            }
        }
        atomic_fetch_add(&looked_up, n);
        rcu_quiescent(qsbr, thread);
    }
    rcu_offline(qsbr, thread);
    for (uint32_t i = 1; i <= STAY + COME; i++)
        packet_free(&packets[i]);
    return replica;
}

static void set_gone(void *object, void *arg)
{
    (void)arg;
    atomic_store((_Atomic uint32_t *)object, 0);
}

/* One change; the index of a deleted flow rests until its grace period is over. */
static void change(void)
{
    uint32_t i = 1 + STAY + rnd(COME);
    struct key key, mask;

    switch (atomic_load(&state[i])) {
    case 0:
        key_of(i, &key, &mask);
        atomic_store(&state[i], 1);
        CHECK(cls_insert(cls, i, &key, &mask, act_verdict(programs[0])) == 0);
        atomic_store(&state[i], 2);
        break;
    case 2:
        if (rnd(4)) {
            cls_set_verdict(cls, i, act_verdict(programs[rnd(2)]));
            break;
        }
        atomic_store(&state[i], 1);
        cls_remove(cls, i);
        rcu_defer(rcu, set_gone, &state[i], NULL);
        break;
    default:
        break;
    }
}

static void churn(uint32_t isa)
{
    pthread_t threads[READERS];
    uint64_t packets = 0, looked;
    struct cls_counters sum;
    struct key key, mask;

    if (cls_isa_set(isa, false)) {
        printf("this CPU lacks build %u\n", isa);
        return;
    }
    rcu = rcu_create();
    cls = cls_create(rcu);
    atomic_store(&done, false);
    atomic_store(&looked_up, 0);
    for (uint32_t i = 1; i <= STAY + COME; i++)
        atomic_store(&state[i], 0);
    for (uint32_t i = 1; i <= STAY; i++) {
        key_of(i, &key, &mask);
        CHECK(cls_insert(cls, i, &key, &mask, act_verdict(programs[0])) == 0);
        atomic_store(&state[i], 2);
    }
    for (unsigned int t = 0; t < READERS; t++) {
        struct cls_replica *early = cls_replica_add(cls, t + 1);

        CHECK(rcu_register(rcu, t + 1) == 0);
        CHECK(early && cls_replica_add(cls, t + 1) == early);
        pthread_create(&threads[t], NULL, reader, (void *)(uintptr_t)(t + 1));
    }
    while (atomic_load(&looked_up) < 1000)
        sched_yield();
    for (uint32_t n = 0; n < CHANGES; n++) {
        change();
        rcu_reclaim(rcu);
        if (n % 64 == 0) {
            cls_counters(cls, 1 + rnd(STAY), &sum);
            sched_yield();
        }
    }
    looked = atomic_load(&looked_up);
    while (atomic_load(&looked_up) < looked + 1000) /* Of what is there now. */
        sched_yield();
    atomic_store(&done, true);
    for (unsigned int t = 0; t < READERS; t++) {
        void *replica;

        pthread_join(threads[t], &replica);
        rcu_unregister(rcu, t + 1);
        cls_replica_remove(cls, replica);
    }
    for (uint32_t i = 1; i <= STAY; i++) {
        cls_counters(cls, i, &sum);
        packets += sum.packets;
    }
    CHECK(packets > 0);
    CHECK(atomic_load(&mistakes) == 0);
    cls_destroy(cls);
    rcu_destroy(rcu);
}

int main(void)
{
    programs[0] = output_program(1);
    programs[1] = output_program(2);
    churn(0);
#ifndef __SANITIZE_THREAD__ /* It cannot see that vector loads are no races here: they are on the one machine they run on. */
    churn(1);
    churn(2);
#endif
    printf("%llu packets looked up\n", (unsigned long long)atomic_load(&looked_up));
    act_free(programs[0]);
    act_free(programs[1]);
    return failures != 0;
}
