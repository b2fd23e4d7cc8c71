/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address thread
 *
 * The last counters of a deleted flow: what a thread counts that still has the flow is in them; a
 * thread that does not come round is not waited for without end, and harms nobody later. */
#include <pthread.h>
#include <unistd.h>

#include "flow_fixture.h"

#define THREAD 1u

static _Atomic int is_stuck, is_ready, may_end;
static struct cls_entry *entries;
static uint32_t index_of_flow;

/* Has found the flow before it was deleted, and counts late. */
static void *count_late(void *arg)
{
    struct rte_rcu_qsbr *qsbr = rcu_qsbr(rcu);
    struct cls_entry *entry = &entries[index_of_flow];

    (void)arg;
    rcu_online(qsbr, THREAD);
    atomic_store(&is_ready, 1);
    usleep(20000);
    while (atomic_load(&is_stuck))
        usleep(1000);
    atomic_fetch_add_explicit(&entry->packets, 3, memory_order_relaxed);
    atomic_fetch_add_explicit(&entry->bytes, 300, memory_order_relaxed);
    rcu_quiescent(qsbr, THREAD);
    while (!atomic_load(&may_end)) {
        usleep(1000);
        rcu_quiescent(qsbr, THREAD);
    }
    rcu_offline(qsbr, THREAD);
    return NULL;
}

/* Deletes a flow while the thread has it; its counters by then, and those of another flow of the
 * batch go to `other`. */
static struct dp_result delete_late(uint32_t flags, struct dp_result *other)
{
    const struct bytes key = udp_key(1, 1), key_2 = udp_key(2, 1), mask = dst_mask(32, UINT32_MAX), to = outputs(1);
    struct dp_result result;
    const char *why = NULL;
    struct key read;
    pthread_t thread;
    uint32_t used;

    CHECK(PUT(CREATE, NULL, &key, &mask, &to).error == 0 && PUT(CREATE, NULL, &key_2, &mask, &to).error == 0);
    CHECK(!odp_key_read(key.at, key.n, &read, &why));
    index_of_flow = cls_find(flow_table_cls(table), &read);
    CHECK(index_of_flow);
    atomic_store(&is_ready, 0);
    atomic_store(&may_end, 0);
    pthread_create(&thread, NULL, count_late, NULL);
    while (!atomic_load(&is_ready))
        usleep(1000);
    add_op(DP_OP_DELETE, flags, NULL, &key, NULL, NULL, NULL);
    add_op(DP_OP_DELETE, flags, NULL, &key_2, NULL, NULL, NULL);
    CHECK(operate(sizeof results, &used) == 0 && used == 2 * sizeof result);
    memcpy(&result, results, sizeof result);
    memcpy(other, results + sizeof result, sizeof *other);
    memset(results, 0xee, sizeof results);
    atomic_store(&is_stuck, 0);
    atomic_store(&may_end, 1);
    pthread_join(thread, NULL);
    return result;
}

static void take_long(void *object, void *arg)
{
    (void)object, (void)arg;
    usleep(2000);
}

/* What others removed is much to free: it is not all waited for. */
static void test_much_to_free(void)
{
    const struct bytes key = udp_key(1, 1), mask = dst_mask(32, UINT32_MAX), to = outputs(1);
    uint64_t before;

    for (uint32_t i = 0; i < 500; i++)
        rcu_defer(rcu, take_long, NULL, NULL);
    CHECK(PUT(CREATE, NULL, &key, &mask, &to).error == 0);
    before = worker_clock();
    CHECK(one(DP_OP_DELETE, DP_OPF_WANT_STATS | DP_OPF_FINAL_STATS, NULL, &key, NULL, NULL).error == 0);
    CHECK(worker_clock() - before < 500);
    rcu_drain(rcu);
}

int main(void)
{
    struct dp_result result, other;
    uint8_t untouched[2 * sizeof result];
    struct cls_replica *replica;

    setup();
    CHECK(!rcu_register(rcu, THREAD));
    replica = cls_replica_add(flow_table_cls(table), THREAD);
    entries = cls_entries(replica);

    result = delete_late(DP_OPF_WANT_STATS | DP_OPF_FINAL_STATS, &other);
    CHECK(!result.error && result.stats.packets == 3 && result.stats.bytes == 300);
    CHECK(!other.error && other.stats.packets == 0);

    /* One that is stuck: the counters as they are, and nothing is written when it comes round. */
    atomic_store(&is_stuck, 1);
    result = delete_late(DP_OPF_WANT_STATS | DP_OPF_FINAL_STATS, &other);
    CHECK(!result.error && result.stats.packets == 0);
    memset(untouched, 0xee, sizeof untouched);
    rcu_drain(rcu);
    CHECK(!memcmp(results, untouched, sizeof untouched));

    test_much_to_free();
    rcu_unregister(rcu, THREAD);
    cls_replica_remove(flow_table_cls(table), replica);
    teardown();
    return failures != 0;
}
