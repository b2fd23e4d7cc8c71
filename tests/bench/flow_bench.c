/* SPDX-License-Identifier: Apache-2.0
 *
 * Flow operations through flow_operate(), in batches of 64 as the upcall loop sends them: puts,
 * gets and deletes a second, dumps, and resident memory a flow, in a table of 1,000,000 exact UDP
 * flows with one poll thread's replica.  Built and run by cls_bench.ts.
 *
 *   flow_bench [FLOWS] */
#include <linux/openvswitch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cls/cls.h"
#include "flow/flow.h"
#include "path/tx.h"
#include "pmd/pmd_int.h"
#include "base/rcu.h"

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

/* One operation on flow `i`. */
static uint32_t write_op(uint8_t *to, uint32_t type, uint32_t i)
{
    static const struct ovs_key_ethernet eth = { { 2, 0, 0, 0, 0, 1 }, { 2, 0, 0, 0, 0, 2 } };
    static const uint16_t ip_type = 0x0008, all16[2] = { 0xffff, 0xffff };
    static const uint32_t in_port = 1, all32 = UINT32_MAX, out = 2;
    static const struct ovs_key_ipv4 ip_mask = { UINT32_MAX, UINT32_MAX, 0xff, 0, 0, 0xff };
    const uint32_t mixed = i * 0x9e3779b1u;
    const struct ovs_key_ipv4 ip = { .ipv4_src = mixed, .ipv4_dst = 10u | (mixed & 0xff0000), .ipv4_proto = 17, .ipv4_ttl = 64 };
    const uint16_t ports[2] = { (uint16_t)i, 53 };
    struct dp_op op = { .type = type, .flags = type == DP_OP_PUT ? DP_OPF_CREATE | DP_OPF_MASK : 0 };
    uint32_t n = sizeof op, at = n;

    n += attr(to + n, OVS_KEY_ATTR_IN_PORT, &in_port, 4);
    n += attr(to + n, OVS_KEY_ATTR_ETHERNET, &eth, sizeof eth);
    n += attr(to + n, OVS_KEY_ATTR_ETHERTYPE, &ip_type, 2);
    n += attr(to + n, OVS_KEY_ATTR_IPV4, &ip, sizeof ip);
    n += attr(to + n, OVS_KEY_ATTR_UDP, ports, 4);
    op.key_size = n - at;
    n = at = pad8(to, n);
    if (type == DP_OP_PUT) {
        n += attr(to + n, OVS_KEY_ATTR_IN_PORT, &all32, 4);
        n += attr(to + n, OVS_KEY_ATTR_ETHERTYPE, &all16, 2);
        n += attr(to + n, OVS_KEY_ATTR_IPV4, &ip_mask, sizeof ip_mask);
        n += attr(to + n, OVS_KEY_ATTR_UDP, all16, 4);
        op.mask_size = n - at;
        n = at = pad8(to, n);
        n += attr(to + n, OVS_ACTION_ATTR_OUTPUT, &out, 4);
        op.actions_size = n - at;
        n = pad8(to, n);
    }
    op.size = n;
    memcpy(to, &op, sizeof op);
    return n;
}

static void run(struct flow_table *table, struct worker *control, const char *name, uint32_t type, uint32_t flows)
{
    double start = seconds(), worst = 0;
    uint32_t failed = 0;

    for (uint32_t i = 0; i < flows; i += BATCH) {
        uint32_t n = 0, used;
        double before;

        for (uint32_t k = 0; k < BATCH; k++)
            n += write_op(ops + n, type, i + k);
        before = seconds();
        if (flow_operate(table, control, NULL, NULL, ops, n, BATCH, results, sizeof results, &used))
            exit(1);
        if (seconds() - before > worst)
            worst = seconds() - before;
        for (uint32_t at = 0; at < used;) {
            struct dp_result result;

            memcpy(&result, results + at, sizeof result);
            failed += result.error != 0;
            at += result.size;
        }
    }
    printf("%-7s %8.0f a second, longest batch %.2f ms, %u failed\n", name, flows / (seconds() - start), worst * 1e3, failed);
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

int main(int argc, char **argv)
{
    const uint32_t flows = (argc > 1 ? (uint32_t)atoi(argv[1]) : 1000000) / BATCH * BATCH;
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
    run(table, &control, "put", DP_OP_PUT, flows);
    printf("memory  %8.0f bytes a flow\n", (resident() - before) / flows);
    run(table, &control, "get", DP_OP_GET, flows);
    dump(table, 0);
    dump(table, DP_DUMP_TERSE);
    run(table, &control, "delete", DP_OP_DELETE, flows);
    run(table, &control, "put", DP_OP_PUT, flows);
    cls_replica_remove(flow_table_cls(table), cls_replica_add(flow_table_cls(table), 1));
    flow_table_destroy(table);
    worker_fini(&control);
    rcu_destroy(rcu);
    return 0;
}
