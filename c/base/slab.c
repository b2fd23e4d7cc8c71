/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slab.h"

#include <string.h>

#include "cls/cls_int.h"

#define CHUNK_FIRST ((size_t)64 << 10)
#define CHUNK_LAST ((size_t)2 << 20)

struct slab_free {
    struct slab_free *next;
};

struct slab_chunk {
    struct slab_chunk *next;
    size_t size;
} __attribute__((aligned(SLAB_STEP)));

static size_t rounded(size_t size)
{
    return (size + SLAB_STEP - 1) & ~(size_t)(SLAB_STEP - 1);
}

/* Chunks grow with the slab, so that a table of ten flows is small. */
static struct slab_chunk *add_chunk(struct slab *slab)
{
    size_t size = slab->chunks ? 2 * slab->chunks->size : CHUNK_FIRST;
    struct slab_chunk *chunk;

    if (size > CHUNK_LAST)
        size = CHUNK_LAST;
    chunk = cls_array(size);
    if (!chunk)
        return NULL;
    *chunk = (struct slab_chunk){ .next = slab->chunks, .size = size };
    slab->chunks = chunk;
    slab->at = (uint8_t *)(chunk + 1);
    slab->end = (uint8_t *)chunk + size;
    return chunk;
}

void *slab_get(struct slab *slab, size_t size)
{
    size_t room = rounded(size);
    struct slab_free **list = &slab->free[room / SLAB_STEP - 1];
    void *object = *list;

    if (object) {
        *list = (*list)->next;
        return object;
    }
    /* What is left of the last chunk is less than one object: too little to keep. */
    if ((size_t)(slab->end - slab->at) < room && !add_chunk(slab))
        return NULL;
    object = slab->at;
    slab->at += room;
    return object;
}

void slab_put(struct slab *slab, void *object, size_t size)
{
    struct slab_free **list = &slab->free[rounded(size) / SLAB_STEP - 1];
    struct slab_free *freed = object;

    freed->next = *list;
    *list = freed;
}

void slab_clear(struct slab *slab)
{
    while (slab->chunks) {
        struct slab_chunk *chunk = slab->chunks;

        slab->chunks = chunk->next;
        cls_array_free(chunk, chunk->size);
    }
    memset(slab, 0, sizeof *slab);
}
