/* SPDX-License-Identifier: Apache-2.0
 *
 * Flow operations through flow_operate(), in batches of 64 as the upcall loop sends them: answers
 * to upcalls, puts, changes, gets and deletes a second, dumps, and resident memory a flow, in a
 * table of 1,000,000 exact UDP flows with one poll thread's replica.  Built and run by cls_bench.ts, and
 * by instructions.ts, which counts one of them for 32 flows a burst.
 *
 *   flow_bench [FLOWS]
 *   flow_bench flow-answer|flow-put|flow-change|flow-get BUILD BURSTS */
#include <linux/openvswitch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cls/cls.h"
#include "flow/flow.h"
#include "odp/odp.h"
#include "path/tx.h"
#include "pmd/pmd_int.h"
#include "base/rcu.h"
#include "upcall/upcall_exchange.h"

#define BATCH 64u

static uint8_t ops[BATCH * 1024] __attribute__((aligned(8)));
static uint8_t results[4 << 20] __attribute__((aligned(8)));

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double resident(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long size, pages = 0;

    if (f) {
        if (fscanf(f, "%lu %lu", &size, &pages) != 2)
            pages = 0;
        fclose(f);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static uint32_t attr(uint8_t *to, uint16_t type, const void *payload, uint16_t size)
{
    const uint16_t head[2] = { (uint16_t)(size + 4), type };

    memcpy(to, head, 4);
    memcpy(to + 4, payload, size);
    memset(to + 4 + size, 0, (4 - size % 4) % 4);
    return (size + 7u) & ~3u;
}

static uint32_t pad8(uint8_t *to, uint32_t n)
{
    memset(to + n, 0, (8 - n % 8) % 8);
    return (n + 7) & ~7u;
}

/* What an upcall of flow `i` would have left behind, as number `k` of the last ones. */
static struct upcall_taken taken;
static uint8_t arena[BATCH * 512] __attribute__((aligned(8)));

static void take_upcall(uint32_t k, uint32_t i)
{
    const uint32_t mixed = i * 0x9e3779b1u;
    struct key key;

    memset(&key, 0, sizeof key);
    key.base = (struct key_base){
        .in_port = 1, .eth_dst = { 2, 0, 0, 0, 0, 2 }, .eth_src = { 2, 0, 0, 0, 0, 1 }, .eth_type = 0x0008, .ip4_src = mixed,
        .ip4_dst = 10u | (mixed & 0xff0000), .nw_proto = 17, .nw_ttl = 64, .tp_src = (uint16_t)i, .tp_dst = 53,
    };
    taken.arena = arena;
    taken.count = k + 1;
    taken.places[k] = (struct upcall_place){ .at = k * 512, .packet_at = k * 512 + 400, .packet_size = 60 };
    taken.places[k].key_size = odp_plain_write(&key, arena + k * 512 + sizeof(struct dp_upcall), ODP_KEY_MAX);
    taken.keys[k] = key.base;
    taken.plain[k] = true;
}

static uint32_t write_put_parts(uint8_t *to, uint32_t n, struct dp_op *op)
{
    static const uint16_t all16[2] = { 0xffff, 0xffff };
    static const uint32_t all32 = UINT32_MAX, out = 2;
    static const struct ovs_key_ipv4 ip_mask = { UINT32_MAX, UINT32_MAX, 0xff, 0, 0, 0xff };
    uint32_t at = n;

    n += attr(to + n, OVS_KEY_ATTR_IN_PORT, &all32, 4);
    n += attr(to + n, OVS_KEY_ATTR_ETHERTYPE, &all16, 2);
    n += attr(to + n, OVS_KEY_ATTR_IPV4, &ip_mask, sizeof ip_mask);
    n += attr(to + n, OVS_KEY_ATTR_UDP, all16, 4);
    op->mask_size = n - at;
    n = at = pad8(to, n);
    n += attr(to + n, OVS_ACTION_ATTR_OUTPUT, &out, 4);
    op->actions_size = n - at;
    return pad8(to, n);
}

/* Answers to upcalls of the flows from `i` on. */
static uint32_t write_answers(uint8_t *to, uint32_t i)
{
    struct dp_op op = { .type = DP_OP_PUT, .flags = DP_OPF_CREATE | DP_OPF_MASK | DP_OPF_UPCALLS, .upcall = BATCH };
    uint32_t n = write_put_parts(to, sizeof op, &op);

    for (uint32_t k = 0; k < BATCH; k++, n += 4) {
        take_upcall(k, i + k);
        memcpy(to + n, &taken.places[k].at, 4);
    }
    op.size = n;
    memcpy(to, &op, sizeof op);
    return n;
}

/* One operation on flow `i`. */
static uint32_t write_op(uint8_t *to, uint32_t type, uint32_t flags, uint32_t i)
{
    static const struct ovs_key_ethernet eth = { { 2, 0, 0, 0, 0, 1 }, { 2, 0, 0, 0, 0, 2 } };
    static const uint16_t ip_type = 0x0008;
    static const uint32_t in_port = 1;
    const uint32_t mixed = i * 0x9e3779b1u;
    const struct ovs_key_ipv4 ip = { .ipv4_src = mixed, .ipv4_dst = 10u | (mixed & 0xff0000), .ipv4_proto = 17, .ipv4_ttl = 64 };
    const uint16_t ports[2] = { (uint16_t)i, 53 };
    struct dp_op op = { .type = type, .flags = flags };
    uint32_t n = sizeof op, at = n;

    n += attr(to + n, OVS_KEY_ATTR_IN_PORT, &in_port, 4);
    n += attr(to + n, OVS_KEY_ATTR_ETHERNET, &eth, sizeof eth);
    n += attr(to + n, OVS_KEY_ATTR_ETHERTYPE, &ip_type, 2);
    n += attr(to + n, OVS_KEY_ATTR_IPV4, &ip, sizeof ip);
    n += attr(to + n, OVS_KEY_ATTR_UDP, ports, 4);
    op.key_size = n - at;
    n = pad8(to, n);
    if (type == DP_OP_PUT)
        n = write_put_parts(to, n, &op);
    op.size = n;
    memcpy(to, &op, sizeof op);
    return n;
}

static uint32_t count_failed(uint32_t used, bool answers)
{
    const uint32_t *errors = (const uint32_t *)(results + sizeof(struct dp_result));
    uint32_t failed = 0;

    for (uint32_t k = 0; answers && k < BATCH; k++)
        failed += errors[k] != 0;
    for (uint32_t at = 0; at < used;) {
        struct dp_result result;

        memcpy(&result, results + at, sizeof result);
        failed += result.error != 0;
        at += result.size;
    }
    return failed;
}

/* `flags` of each; UPCALLS: answers. */
static void run(struct flow_table *table, struct worker *control, const char *name, uint32_t type, uint32_t flags, uint32_t flows)
{
    const bool answers = flags & DP_OPF_UPCALLS;
    double spent = 0, worst = 0;
    uint32_t failed = 0;

    for (uint32_t i = 0; i < flows; i += BATCH) {
        uint32_t n = answers ? write_answers(ops, i) : 0, used;
        double before, took;

        for (uint32_t k = 0; !answers && k < BATCH; k++)
            n += write_op(ops + n, type, flags, i + k);
        before = seconds();
        if (flow_operate(table, control, &taken, NULL, ops, n, answers ? 1 : BATCH, results, sizeof results, &used))
            exit(1);
        took = seconds() - before;
        spent += took;
        if (took > worst)
            worst = took;
        failed += count_failed(used, answers);
    }
    printf("%-7s %8.0f a second, longest batch %.2f ms, %u failed\n", name, flows / spent, worst * 1e3, failed);
}

static void dump(struct flow_table *table, uint32_t flags)
{
    double start = seconds();
    uint32_t count, used, total = 0;
    struct flow_dump *d;

    if (flow_dump_open(table, flags, &d))
        exit(1);
    do {
        if (flow_dump_next(table, d, 10000, results, sizeof results, &count, &used))
            exit(1);
        total += count;
    } while (count);
    flow_dump_close(d);
    printf("dump of %u flows%s: %.2f s\n", total, flags ? ", terse" : "", seconds() - start);
}

#define NEW (DP_OPF_CREATE | DP_OPF_MASK)
#define ANSWER (NEW | DP_OPF_UPCALLS)
#define CHANGE (DP_OPF_MODIFY | DP_OPF_MASK)

/* What is counted: what it takes is there, and is not counted itself. */
static void run_one(struct flow_table *table, struct worker *control, const char *name, uint32_t flows)
{
    if (!strcmp(name, "flow-answer"))
        run(table, control, "answer", DP_OP_PUT, ANSWER, flows);
    else
        run(table, control, "put", DP_OP_PUT, NEW, flows);
    for (int i = 0; i < 9 && !strcmp(name, "flow-change"); i++)
        run(table, control, "change", DP_OP_PUT, CHANGE, flows);
    for (int i = 0; i < 9 && !strcmp(name, "flow-get"); i++)
        run(table, control, "get", DP_OP_GET, 0, flows);
}

int main(int argc, char **argv)
{
    const bool counted = argc == 4;
    const uint32_t asked = argc > 1 ? (uint32_t)atoi(argv[counted ? 3 : 1]) * (counted ? 32 : 1) : 1000000, flows = asked / BATCH * BATCH;
    static struct stat_counters stat;
    static struct worker control;
    struct rcu *rcu = rcu_create();
    struct flow_table *table = flow_table_create(rcu);
    double before;

    if (!table || worker_init(&control, &stat, 0, WORKER_CONTROL_CORE))
        return 1;
    control.replica = cls_replica_add(flow_table_cls(table), 0);
    cls_replica_add(flow_table_cls(table), 1);
    before = resident();
    if (counted) {
        run_one(table, &control, argv[1], flows);
    } else {
        run(table, &control, "put", DP_OP_PUT, NEW, flows);
        printf("memory  %8.0f bytes a flow\n", (resident() - before) / flows);
        run(table, &control, "change", DP_OP_PUT, CHANGE, flows);
        run(table, &control, "get", DP_OP_GET, 0, flows);
        dump(table, 0);
        dump(table, DP_DUMP_TERSE);
        run(table, &control, "delete", DP_OP_DELETE, 0, flows);
        run(table, &control, "put", DP_OP_PUT, NEW, flows);
        run(table, &control, "delete", DP_OP_DELETE, 0, flows);
        run(table, &control, "answer", DP_OP_PUT, ANSWER, flows);
    }
    cls_replica_remove(flow_table_cls(table), cls_replica_add(flow_table_cls(table), 1));
    flow_table_destroy(table);
    worker_fini(&control);
    rcu_destroy(rcu);
    return 0;
}
