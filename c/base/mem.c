/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <linux/mempolicy.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define PAGE ((size_t)4096)

/* Missing in some libc headers. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

void *mem_map(size_t size)
{
    size_t room, head;
    uint8_t *p;

    size = (size + PAGE - 1) & ~(PAGE - 1); /* Only whole pages are given back. */
    room = size + HUGE_PAGE;
    p = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    head = -(uintptr_t)p & (HUGE_PAGE - 1);
    if (head)
        munmap(p, head);
    munmap(p + head + size, room - head - size);
    madvise(p + head, size, MADV_HUGEPAGE); /* Only a wish. */
    return p + head;
}

/* A container may refuse this call: the kernel then puts it anywhere. */
void mem_prefer(void *p, size_t size, uint32_t node)
{
    const unsigned long nodes = 1ul << node % 64;

    if (node < 64)
        (void)!syscall(SYS_mbind, p, size, MPOL_PREFERRED, &nodes, 65ul, 0);
}

void *mem_near(size_t size, uint32_t node)
{
    void *p = mem_map(size);

    if (!p)
        return NULL;
    mem_prefer(p, size, node);
    return memset(p, 0, size);
}

void mem_unmap(void *p, size_t size)
{
    if (p)
        munmap(p, size);
}

void *mem_array(size_t size)
{
    void *p;

    if (size >= MEM_MAPPED) /* Zeroed by Linux, when it is touched. */
        return mem_map(size);
    p = aligned_alloc(64, (size + 63) & ~(size_t)63);
    if (p)
        memset(p, 0, size);
    return p;
}

void mem_array_free(void *p, size_t size)
{
    if (size >= MEM_MAPPED)
        mem_unmap(p, size);
    else
        free(p);
}

void mem_array_done(void *p, size_t size, size_t from, size_t to)
{
    from &= ~(HUGE_PAGE - 1);
    to &= ~(HUGE_PAGE - 1);
    if (size >= HUGE_PAGE && from < to)
        madvise((uint8_t *)p + from, to - from, MADV_DONTNEED);
}

/* --- Ahead ------------------------------------------------------------------------------------ */

void ahead_want(struct ahead *ahead, const void *at, size_t size)
{
    if (size >= AHEAD_LEAST && ahead->n < AHEAD_RANGES)
        ahead->ranges[ahead->n++] = (struct ahead_range){ at, size };
}

static bool overlaps(const struct ahead_range *range, const void *at, size_t size)
{
    const uintptr_t a = (uintptr_t)range->at, b = (uintptr_t)at;

    return a < b + size && b < a + range->size;
}

static void remove_range(struct ahead *ahead, uint32_t i)
{
    ahead->n--;
    memmove(&ahead->ranges[i], &ahead->ranges[i + 1], (ahead->n - i) * sizeof ahead->ranges[0]);
}

void ahead_forget(struct ahead *ahead, const void *at, size_t size)
{
    for (uint32_t i = ahead->n; i--;) {
        if (overlaps(&ahead->ranges[i], at, size))
            remove_range(ahead, i);
    }
}

bool ahead_wants(const struct ahead *ahead, const void *at, size_t size)
{
    for (uint32_t i = 0; i < ahead->n; i++) {
        if (overlaps(&ahead->ranges[i], at, size))
            return true;
    }
    return false;
}

bool ahead_take(struct ahead *ahead, struct ahead_range *taken)
{
    struct ahead_range *first = &ahead->ranges[0];
    size_t size;

    if (!ahead->n)
        return false;
    size = HUGE_PAGE - ((uintptr_t)first->at & (HUGE_PAGE - 1));
    *taken = *first;
    if (size < first->size) {
        taken->size = size;
        first->at += size;
        first->size -= size;
    } else {
        remove_range(ahead, 0);
    }
    return true;
}

void ahead_fetch(struct ahead_range range)
{
    const uintptr_t from = (uintptr_t)range.at & ~(PAGE - 1), to = ((uintptr_t)range.at + range.size + PAGE - 1) & ~(PAGE - 1);

    (void)madvise((void *)from, to - from, MADV_POPULATE_WRITE);
}
