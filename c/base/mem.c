/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define PAGE ((size_t)4096)

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

void mem_unmap(void *p, size_t size)
{
    if (p)
        munmap(p, size);
}

void *mem_array(size_t size)
{
    void *p;

    if (size >= HUGE_PAGE)
        return mem_map(size);
    p = aligned_alloc(64, (size + 63) & ~(size_t)63);
    if (p)
        memset(p, 0, size);
    return p;
}

void mem_array_free(void *p, size_t size)
{
    if (size >= HUGE_PAGE)
        mem_unmap(p, size);
    else
        free(p);
}
