/* SPDX-License-Identifier: Apache-2.0
 * cls_view.c - the views of a partition that lookups see: made, filled in, published. */
#include <stdlib.h>
#include <string.h>

#include "cls/cls_int.h"

static void free_object(void *object, void *arg)
{
    (void)arg;
    free(object);
}

struct cls_view *cls_view_create(const struct cls_part *part)
{
    size_t size = (sizeof(struct cls_view) + part->sub_room * sizeof(struct cls_sub *) + 63) & ~(size_t)63;
    struct cls_view *view = aligned_alloc(64, size);

    if (view)
        memset(view, 0, size);
    return view;
}

static void fill_view(const struct cls_part *part, struct cls_view *view)
{
    for (uint32_t i = 0; i < part->sub_room; i++) {
        struct cls_sub *sub = part->subs[i];

        view->subs[i] = sub;
        if (!sub)
            continue;
        view->sub_n = i + 1;
        view->all[i / 64] |= 1ull << (i % 64);
        for (int w = 0; w < KEY_WORDS; w++)
            view->mask.words[w] |= sub->key_mask.words[w];
    }
    view->blocks = 1;
    for (uint32_t w = KEY_WORDS / KEY_BLOCKS; w < KEY_WORDS; w++) {
        if (view->mask.words[w])
            view->blocks |= 1u << w / (KEY_WORDS / KEY_BLOCKS);
    }
    view->single = part->sub_count == 1 && view->sub_n == 1;
    view->map_words = part->map_words;
    view->prune_n = part->prune_n;
    for (uint32_t i = 0; i < part->prune_n; i++) {
        view->prune_at[i] = part->prune_at[i];
        view->prune[i] = part->prune[i];
    }
}

void cls_view_publish(struct cls *cls, struct cls_part *part, struct cls_view *view)
{
    struct cls_view *old = atomic_load_explicit(&part->view, memory_order_relaxed);

    fill_view(part, view);
    view->number = ++cls->views;
    atomic_store_explicit(&part->view, view, memory_order_release);
    if (!old)
        return;
    for (uint32_t i = 0; i < old->prune_n; i++) {
        bool kept = false;

        for (uint32_t j = 0; j < view->prune_n; j++)
            kept |= old->prune[i] == view->prune[j];
        if (!kept)
            rcu_defer(cls->rcu, free_object, (void *)(uintptr_t)old->prune[i], NULL);
    }
    rcu_defer(cls->rcu, free_object, old, NULL);
}
