/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * A batch whose bytes are written to while it is under way, as other threads of a program can where
 * it lets them in: it ends there or goes on, but never beside its buffers. */
#include <stdlib.h>

#include "flow/flow_int.h"
#include "upcall/upcall_exchange.h"
#include "flow_fixture.h"

#define ROUNDS 3000u
#define STEPS 40u
#define UPCALLS 4u
#define LISTED 12u               /* At most. */

static uint8_t *batch;           /* Of exactly its size, for AddressSanitizer. */
static uint32_t at_of[STEPS], changes;
static uint8_t arena[UPCALLS * 512] __attribute__((aligned(8)));
static struct upcall_taken taken = { .arena = arena, .count = UPCALLS };

static void fill_arena(void)
{
    for (uint32_t i = 0; i < UPCALLS; i++) {
        const struct bytes key = udp_key(9, (uint8_t)i);

        memcpy(arena + 512 * i + sizeof(struct dp_upcall), key.at, key.n);
        taken.places[i] = (struct upcall_place){ .at = 512 * i, .key_size = key.n, .packet_at = 512 * i + 448, .packet_size = 60 };
    }
}

/* A put of upcalls. */
static void add_list(uint32_t listed, const struct bytes *mask, const struct bytes *actions)
{
    struct dp_op op;

    add_op(DP_OP_PUT, CREATE | DP_OPF_UPCALLS, NULL, NULL, mask, actions, NULL);
    memcpy(&op, ops + at_of[ops_count - 1], sizeof op);
    op.upcall = listed;
    for (uint32_t i = 0; i < listed; i++, ops_n += 4)
        memcpy(ops + ops_n, &(uint32_t){ 512 * rnd(UPCALLS) }, 4);
    memset(ops + ops_n, 0, 4);
    ops_n = (ops_n + 7) & ~7u;
    op.size = ops_n - at_of[ops_count - 1];
    memcpy(ops + at_of[ops_count - 1], &op, sizeof op);
}

/* Operations at random; bytes of their results without what "get" gives. */
static uint32_t make(void)
{
    uint32_t room = 0;

    for (uint32_t i = 0; i < STEPS; i++) {
        const uint32_t listed = rnd(3) ? 0 : 1 + rnd(LISTED);
        struct bytes key = udp_key(9, (uint8_t)rnd(8)), mask = dst_mask(32, UINT32_MAX), actions = outputs(1);

        at_of[i] = ops_n;
        room += (uint32_t)sizeof(struct dp_result) + flow_list_size(listed);
        if (listed)
            add_list(listed, &mask, &actions);
        else if (rnd(3))
            add_op(DP_OP_PUT, CREATE | MODIFY, NULL, &key, &mask, &actions, NULL);
        else
            add_op(rnd(2) ? DP_OP_GET : DP_OP_DELETE, 0, NULL, &key, NULL, NULL, NULL);
    }
    return room;
}

static bool not_wanted(void *arg)
{
    (void)arg;
    return false;
}

static int nobody(void *arg)
{
    (void)arg;
    return 0;
}

/* Memory that is fetched takes time: meanwhile some fields of operations change. */
static int change(void *arg, void (*work)(void *), void *of)
{
    static const uint32_t fields[] = { offsetof(struct dp_op, size), offsetof(struct dp_op, type), offsetof(struct dp_op, flags),
                                       offsetof(struct dp_op, key_size), offsetof(struct dp_op, actions_size), offsetof(struct dp_op, upcall) };
    static const uint32_t values[] = { 0, 1, 2, 3, 4, 8, 64, 72, LISTED, 1000, UINT32_MAX };

    (void)arg, (void)work, (void)of;
    for (uint32_t n = rnd(4); n; n--, changes++) {
        uint8_t *op = batch + at_of[rnd(8) ? rnd(STEPS) : 0];
        const uint32_t value = rnd(4) ? values[rnd(sizeof values / sizeof values[0])] : CREATE | DP_OPF_UPCALLS | DP_OPF_MASK;

        memcpy(op + fields[rnd(sizeof fields / sizeof fields[0])], &value, 4);
    }
    return 0;
}

static const struct flow_pause pause = { not_wanted, nobody, change, NULL };

int main(void)
{
    fill_arena();
    setup();
    for (uint32_t round = 0; round < ROUNDS && !failures; round++) {
        const uint32_t room = make() + 8 * rnd(40);
        uint8_t *answers = malloc(room);
        uint32_t used;

        batch = malloc(ops_n);
        memcpy(batch, ops, ops_n);
        for (uint32_t i = 0; i < STEPS; i++) /* It is let in every time. */
            ahead_want(cls_ahead(flow_table_cls(table)), table->flows, AHEAD_LEAST);
        CHECK(!flow_operate(table, &control, &taken, &pause, batch, ops_n, STEPS, answers, room, &used));
        CHECK(used <= room && used % 8 == 0);
        ops_n = ops_count = 0;
        free(batch);
        free(answers);
        flush();
    }
    printf("%u changes\n", changes);
    CHECK(changes > ROUNDS);
    teardown();
    return failures != 0;
}
