/* SPDX-License-Identifier: Apache-2.0
 * Small objects: none overlaps another, what is put back is used again, and all memory goes.
 * link: cls/cls_table.c base/slab.c */
#include <string.h>

#include "check.h"
#include "base/slab.h"

#define OBJECTS 100000u

static uint8_t *objects[OBJECTS];
static size_t sizes[OBJECTS];

static void fill(uint32_t i)
{
    memset(objects[i], (int)(i % 251), sizes[i]);
}

static void check_whole(uint32_t i)
{
    for (size_t k = 0; k < sizes[i]; k++)
        CHECK(objects[i][k] == i % 251);
}

int main(void)
{
    struct slab slab = { 0 };
    uint32_t state = 1, again = 0;
    void *one;

    for (uint32_t i = 0; i < OBJECTS; i++) {
        state = state * 1664525 + 1013904223;
        sizes[i] = 1 + (state >> 8) % SLAB_MAX;
        objects[i] = slab_get(&slab, sizes[i]);
        CHECK(objects[i] && (uintptr_t)objects[i] % SLAB_STEP == 0);
        fill(i);
    }
    for (uint32_t i = 0; i < OBJECTS; i++)
        check_whole(i);
    for (uint32_t i = 0; i < OBJECTS; i += 3) { /* What comes back first goes out again first, for its size. */
        slab_put(&slab, objects[i], sizes[i]);
        one = slab_get(&slab, sizes[i]);
        again += one == objects[i];
        fill(i);
    }
    CHECK(again == (OBJECTS + 2) / 3);
    for (uint32_t i = 0; i < OBJECTS; i++)
        check_whole(i);
    slab_clear(&slab);
    CHECK(!slab.chunks);
    CHECK(slab_get(&slab, 1)); /* An empty one, as new. */
    slab_clear(&slab);
    return failures != 0;
}
