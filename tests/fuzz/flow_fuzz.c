/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a batch of operations: refused as a whole, or answered one by one, with results that
 * lie in their buffer; a flow that was put can be had by the UFID that came back, and is in a dump
 * as often as flows are counted.  EAL is not started, so nothing is executed. */
#include <stdlib.h>
#include <string.h>

#include "cls/cls.h"
#include "flow/flow.h"
#include "path/tx.h"
#include "pmd/pmd_int.h"
#include "base/rcu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct flow_table *table;
static struct worker control;

static void check(int good)
{
    if (!good)
        abort();
}

static void set_up(void)
{
    static struct stat_counters stat;
    struct rcu *rcu = rcu_create();

    table = flow_table_create(rcu);
    check(table && !worker_init(&control, &stat, 0, WORKER_CONTROL_CORE));
    control.replica = cls_replica_add(flow_table_cls(table), 0);
    check(cls_replica_add(flow_table_cls(table), 1) != NULL);
}

/* The flow of a put that went well. */
static void check_put(const struct dp_result *result)
{
    struct dp_op op = { .size = sizeof op, .type = DP_OP_GET, .flags = DP_OPF_UFID };
    static uint8_t flow[1 << 17];
    struct dp_result got;
    uint32_t used;

    memcpy(op.ufid, result->ufid, sizeof op.ufid);
    check(!flow_operate(table, &control, NULL, NULL, (const uint8_t *)&op, sizeof op, 1, flow, sizeof flow, &used));
    memcpy(&got, flow, sizeof got);
    check(!got.error && got.size == used && got.key_size && got.mask_size);
}

static void check_dump(void)
{
    static uint8_t records[1 << 17];
    uint32_t count, used, total = 0;
    struct flow_dump *dump;

    check(!flow_dump_open(table, 0, &dump));
    do {
        check(!flow_dump_next(table, dump, 16, records, sizeof records, &count, &used));
        total += count;
    } while (count);
    flow_dump_close(dump);
    check(total == cls_flow_count(flow_table_cls(table)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t results[1 << 14] __attribute__((aligned(8)));
    uint32_t count, room, used;
    uint8_t *ops;

    if (size < 2 || size > 1 << 14)
        return 0;
    if (!table)
        set_up();
    count = data[0] % 8;
    room = data[1] & 1 ? sizeof results : data[1] * 8u;
    size -= 2;
    ops = malloc(size + 1); /* Of exactly the size. */
    check(ops != NULL);
    memcpy(ops, data + 2, size);
    if (!flow_operate(table, &control, NULL, NULL, ops, (uint32_t)size, count, results, room, &used)) {
        uint32_t at = 0, op_at = 0, puts[8], put_n = 0;

        check(used <= room);
        for (uint32_t i = 0; i < count; i++) {
            struct dp_result result;
            struct dp_op op;

            check(used - at >= sizeof result);
            memcpy(&result, results + at, sizeof result);
            memcpy(&op, ops + op_at, sizeof op);
            check(result.size >= sizeof result && result.size <= used - at);
            if (op.type == DP_OP_PUT && !result.error)
                puts[put_n++] = at;
            if (op.type == DP_OP_DELETE)
                put_n = 0; /* Perhaps one of these. */
            at += result.size;
            op_at += op.size;
        }
        check(at == used);
        while (put_n) {
            struct dp_result result;

            memcpy(&result, results + puts[--put_n], sizeof result);
            check_put(&result);
        }
        check_dump();
    }
    flow_flush(table, &(uint32_t){ 0 }, UINT32_MAX);
    check(!cls_flow_count(flow_table_cls(table)) && !cls_mask_count(flow_table_cls(table)));
    free(ops);
    return 0;
}
