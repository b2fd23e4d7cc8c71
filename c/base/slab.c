/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slab.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/invariant.h"

#define PAGE_SIZE ((size_t)64 << 10)
#define CHUNK_LAST ((size_t)2 << 20)
#define PAGES_LOW 8u                 /* Unused ones that are left when a spare chunk is made. */

struct slab_free {
    struct slab_free *next;
};

/* The head of a page.  The page of an object is found by the low bits of its address. */
struct slab_page {
    /* In the list that it is in; `link` points here.  NULL: in none. */
    struct slab_page *next, **link;
    struct slab_chunk *chunk;
    struct slab_free *free;         /* Objects that were put back, last in first out. */
    uint8_t *at;                    /* From here on nothing was ever given out. */
    uint32_t used;                  /* Objects that are out. */
} __attribute__((aligned(64)));

struct slab_chunk {
    struct slab_chunk *next, **link;
    uint8_t *memory;
    size_t size;
    uint32_t used;                  /* Pages that some size has. */
};

static size_t rounded(size_t size)
{
    return (size + SLAB_STEP - 1) & ~(size_t)(SLAB_STEP - 1);
}

static void link_page(struct slab_page **list, struct slab_page *page)
{
    page->next = *list;
    page->link = list;
    if (page->next)
        page->next->link = &page->next;
    *list = page;
}

static void unlink_page(struct slab_page *page)
{
    *page->link = page->next;
    if (page->next)
        page->next->link = page->link;
    page->link = NULL;
}

/* Large chunks are not malloc()'s, which now and then gives back all that is free at the end of its
 * heap, and sorts the small pieces first: one free() was seen to take 0.3 ms, munmap() of a chunk
 * 0.1. */
static void *get_memory(size_t size)
{
    return size == CHUNK_LAST ? mem_map(size) : aligned_alloc(size, size);
}

static void give_memory(void *memory, size_t size)
{
    if (size == CHUNK_LAST)
        mem_unmap(memory, size);
    else
        free(memory);
}

/* Chunks grow with the slab, so that a table of ten flows is small. */
static struct slab_chunk *add_chunk(struct slab *slab)
{
    size_t size = PAGE_SIZE;
    struct slab_chunk *chunk = malloc(sizeof *chunk);

    while (size < slab->size && size < CHUNK_LAST)
        size *= 2;
    if (!chunk)
        return NULL;
    *chunk = (struct slab_chunk){ .next = slab->chunks, .link = &slab->chunks, .size = size };
    chunk->memory = size == CHUNK_LAST && slab->spare ? slab->spare : get_memory(size);
    if (!chunk->memory) {
        free(chunk);
        return NULL;
    }
    if (chunk->memory == slab->spare)
        slab->spare = NULL;
    if (chunk->next)
        chunk->next->link = &chunk->next;
    slab->chunks = chunk;
    slab->size += size;
    for (size_t at = size; at; at -= PAGE_SIZE) { /* The first is taken first. */
        struct slab_page *page = (struct slab_page *)(chunk->memory + at - PAGE_SIZE);

        page->chunk = chunk;
        link_page(&slab->unused, page);
        slab->unused_n++;
    }
    return chunk;
}

static void remove_chunk(struct slab *slab, struct slab_chunk *chunk)
{
    *chunk->link = chunk->next;
    if (chunk->next)
        chunk->next->link = chunk->link;
    slab->size -= chunk->size;
    if (slab->ahead)
        ahead_forget(slab->ahead, chunk->memory, chunk->size);
    give_memory(chunk->memory, chunk->size);
    free(chunk);
}

/* The next chunk, before it is needed: its memory is fetched meanwhile. */
static void make_spare(struct slab *slab)
{
    slab->spare = get_memory(CHUNK_LAST);
    if (!slab->spare)
        return;
    ahead_want(slab->ahead, slab->spare, CHUNK_LAST);
}

static struct slab_page *take_page(struct slab *slab, struct slab_page **list)
{
    struct slab_page *page;

    if (!slab->unused && !add_chunk(slab))
        return NULL;
    page = slab->unused;
    unlink_page(page);
    slab->unused_n--;
    page->chunk->used++;
    page->free = NULL;
    page->at = (uint8_t *)(page + 1);
    page->used = 0;
    link_page(list, page);
    if (slab->ahead && !slab->spare && slab->size >= CHUNK_LAST && slab->unused_n <= PAGES_LOW)
        make_spare(slab);
    return page;
}

/* Any size may have the page; and the system the chunk, unless its pages are all that is left for
 * what comes next. */
static void give_page(struct slab *slab, struct slab_page *page)
{
    struct slab_chunk *chunk = page->chunk;
    struct slab_page *other = slab->unused;

    unlink_page(page);
    link_page(&slab->unused, page);
    slab->unused_n++;
    if (--chunk->used || !other)
        return;
    while (other && other->chunk == chunk)
        other = other->next;
    if (!other)
        return;
    for (size_t at = 0; at < chunk->size; at += PAGE_SIZE)
        unlink_page((struct slab_page *)(chunk->memory + at));
    slab->unused_n -= (uint32_t)(chunk->size / PAGE_SIZE);
    remove_chunk(slab, chunk);
}

static int is_full(const struct slab_page *page, size_t room)
{
    return !page->free && (size_t)((const uint8_t *)page + PAGE_SIZE - page->at) < room;
}

void *slab_get(struct slab *slab, size_t size)
{
    size_t room = rounded(size);
    struct slab_page **list = &slab->room[room / SLAB_STEP - 1];
    struct slab_page *page = *list ? *list : take_page(slab, list);
    void *object;

    INVARIANT(size && size <= SLAB_MAX);
    if (!page)
        return NULL;
    if (page->free) {
        object = page->free;
        page->free = page->free->next;
    } else {
        object = page->at;
        page->at += room;
    }
    page->used++;
    if (is_full(page, room))
        unlink_page(page);
    return object;
}

void slab_put(struct slab *slab, void *object, size_t size)
{
    struct slab_page **list = &slab->room[rounded(size) / SLAB_STEP - 1];
    struct slab_page *page = (struct slab_page *)((uintptr_t)object & ~(uintptr_t)(PAGE_SIZE - 1));
    struct slab_free *freed = object;

    INVARIANT(size && size <= SLAB_MAX);
    INVARIANT(page->used);
    freed->next = page->free;
    page->free = freed;
    if (!page->link)
        link_page(list, page);
    if (!--page->used)
        give_page(slab, page);
}

void slab_clear(struct slab *slab)
{
    while (slab->chunks)
        remove_chunk(slab, slab->chunks);
    if (slab->spare)
        ahead_forget(slab->ahead, slab->spare, CHUNK_LAST);
    give_memory(slab->spare, CHUNK_LAST);
    memset(slab, 0, sizeof *slab);
}
