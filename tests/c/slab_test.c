/* SPDX-License-Identifier: Apache-2.0
 * Small objects: none overlaps another, what is put back is used again, and all memory goes.
 * link: base/slab.c base/mem.c */
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

/* Objects of one size after another, as many each time: memory of one serves the next, and goes when it is too much. */
static void test_sizes(void)
{
    struct slab slab = { 0 };
    size_t first = 0;

    for (size_t size = 16; size <= SLAB_MAX; size += 16) {
        const uint32_t n = (uint32_t)((16u << 20) / size / 2);

        for (uint32_t i = 0; i < n && i < OBJECTS; i++)
            CHECK(objects[i] = slab_get(&slab, size));
        if (!first)
            first = slab.size;
        for (uint32_t i = 0; i < n && i < OBJECTS; i++)
            slab_put(&slab, objects[i * 7919u % (n < OBJECTS ? n : OBJECTS)], size); /* n is no multiple of a prime that large. */
        CHECK(slab.size <= (4u << 20)); /* A chunk for what comes next, and a page for each size. */
    }
    slab_clear(&slab);
    CHECK(!slab.chunks && !slab.size);
}

/* An object that comes and goes while others stay takes the same place, not pages or chunks. */
static void test_at_rest(void)
{
    struct slab slab = { 0 };
    void *one = slab_get(&slab, 64), *same;
    const size_t size = slab.size;

    for (int i = 0; i < 1000; i++) {
        slab_put(&slab, one, 64);
        same = slab_get(&slab, 64);
        CHECK(same == one && slab.size == size);
    }
    slab_clear(&slab);
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
    test_sizes();
    test_at_rest();
    CHECK(slab_get(&slab, 1)); /* An empty one, as new. */
    slab_clear(&slab);
    return failures != 0;
}
