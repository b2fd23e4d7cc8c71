/* SPDX-License-Identifier: Apache-2.0
 * link: act/act_*.c cls/cls*.c packet/csum.c base/error.c packet/extract.c packet/partial.c base/hash.c base/rcu.c base/slab.c base/stat.c packet/userdata.c base/mem.c odp/odp_*.c tnl/tnl_ready.c
 * sanitize: address
 *
 * In a partition of many flows, what prunes masks is made anew bit by bit while flows and masks come and go: at any time
 * each flow is found, no operation chooses or counts more than a little of it, and when the flows of a mask have gone, no bit of it
 * is left.  Where few flows are left in large tables, removals do only a share of going through them. */
#include "cls_fixture.h"

#include "cls/cls_int.h"

#define FLOWS 60000u
#define MASKS 80u                    /* More than bitmaps of one word have. */
#define MOST 400u                    /* Indexes that one operation goes through. */

static struct rcu *rcu;
static struct cls *cls;
static bool there[FLOWS + 1];
static uint32_t steps, begun, finished, choosing, chosen;

/* Flow i: of every thirtieth the mask is one of many, of the others it is the destination. */
static uint32_t mask_of(uint32_t i)
{
    return i % 30 ? 0 : 1 + i / 30 % (MASKS - 1);
}

static void key_of(uint32_t i, struct key *key, struct key *mask)
{
    const uint32_t m = mask_of(i);

    memset(key, 0, sizeof *key);
    memset(mask, 0, sizeof *mask);
    mask->base.in_port = UINT32_MAX;
    key->base.in_port = 1;
    if (!m) {
        mask->base.ip4_dst = UINT32_MAX;
        key->base.ip4_dst = i;
        return;
    }
    mask->base.ip4_src = UINT32_MAX;
    key->base.ip4_src = i;
    mask->base.skb_mark = 1u << m % 32 | (m / 32) << 4; /* As many masks as there are m. */
    memset(mask->base.eth_src, 0xff, m / 16);
    memset(key->base.eth_src, (int)m, m / 16);
}

static const struct cls_part *part(void)
{
    return cls_part_find(cls, 1, 0);
}

static void see(uint32_t i)
{
    struct key key, mask;

    key_of(i, &key, &mask);
    CHECK(cls_find(cls, &key) == (there[i] ? i : 0));
}

/* Tables are as large as they were, and hardly a flow is left. */
static bool is_sparse(void)
{
    return part() && part()->flows <= 4096 && part()->buckets > 8192;
}

static void change(uint32_t i)
{
    const bool sparse = is_sparse();
    const struct cls_prune_next *before = part() ? part()->next : NULL;
    const struct cls_choice *choice = part() ? part()->choice : NULL;
    const uint32_t flow = before ? before->flow : 0;
    struct key key, mask;

    key_of(i, &key, &mask);
    if (there[i])
        cls_remove(cls, i);
    else
        CHECK(!cls_insert(cls, i, &key, &mask, 1));
    there[i] = !there[i];
    if (before && part() && part()->next == before && before->flow != UINT32_MAX) {
        CHECK(before->flow - flow <= MOST);
        steps++;
    }
    if (sparse && is_sparse() && (choice || before))
        CHECK(part()->choice == choice && part()->next == before);
    if (!sparse && part() && part()->choice && part()->choice == choice)
        CHECK(++choosing <= part()->flows / 4 + 64); /* No more changes than this until it is made. */
    else
        choosing = 0;
    chosen += choice && part() && !part()->choice;
    begun += !before && part() && part()->next;
    finished += before && part() && !part()->next;
    see(i);
    see(1 + rnd(FLOWS));
    if (i % 16 == 0)
        rcu_reclaim(rcu);
}

/* Bits of masks that have no flow. */
static void see_bits(void)
{
    const struct cls_view *view = atomic_load_explicit(&part()->view, memory_order_relaxed);

    for (uint32_t slot = 0; slot < part()->sub_room; slot++) {
        if (part()->subs[slot])
            continue;
        for (uint32_t k = 0; k < view->prune_n; k++) {
            for (uint32_t value = 0; slot / 64 < view->map_words && value < 256; value++)
                CHECK(!(view->prune[k][value * view->map_words + slot / 64] >> slot % 64 & 1));
        }
    }
}

/* Of two masks with many flows few are left, then of one: what was chosen for many is thought of again, when there is time. */
static void leave_few(void)
{
    uint32_t turns = 0;

    if (!there[30])
        change(30);
    for (uint32_t i = 1; i <= FLOWS; i++) {
        if (there[i] && i != 30 && part()->flows > 100)
            change(i);
    }
    CHECK(is_sparse() && part()->sub_count == 2);
    change(30);
    CHECK(part()->sub_count == 1 && (part()->choice || part()->next));
    while (cls_tend(cls)) /* Each of them goes through a little. */
        turns++;
    CHECK(turns > 10 && !part()->choice && !part()->next && !part()->prune_n);
    for (uint32_t i = 1; i <= FLOWS; i += 17)
        see(i);
}

int main(void)
{
    rcu = rcu_create();
    cls = cls_create(rcu);
    /* One mask, then others, while as many flows come as go. */
    for (uint32_t i = 1; i <= FLOWS; i++) {
        if (!mask_of(i) && i < FLOWS / 2)
            change(i);
    }
    for (uint32_t i = 30; i <= FLOWS; i += 30) {
        change(i);
        for (uint32_t k = 0; k < 20; k++)
            change(1 + rnd(FLOWS));
    }
    for (uint32_t i = 1; i <= FLOWS; i++)
        see(i);
    /* All but the first mask go. */
    for (uint32_t i = 1; i <= FLOWS; i++) {
        if (mask_of(i) ? there[i] : !there[i])
            change(i);
    }
    see_bits();
    for (uint32_t i = 1; i <= FLOWS; i++)
        see(i);
    leave_few();
    for (uint32_t i = 1; i <= FLOWS; i++) {
        if (there[i])
            change(i);
    }
    CHECK(!cls_flow_count(cls) && !cls_mask_count(cls));
    CHECK(begun > 1 && finished > 1 && steps > 1000 && chosen > 1);
    cls_destroy(cls);
    rcu_destroy(rcu);
    return failures != 0;
}
