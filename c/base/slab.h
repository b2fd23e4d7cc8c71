/* SPDX-License-Identifier: Apache-2.0
 * slab.h - small objects that come and go by the million.
 *
 * Objects of about the same size lie side by side in pages of 64 KiB, and pages in chunks of up to
 * 2 MiB, in huge pages where there are some: getting an object is a few instructions, and
 * neighbours in time are neighbours in memory.  A page without objects serves any size again, and a
 * chunk without objects is given back to the system, but for one that is kept for what comes next.
 *
 * Threads: one at a time. */
#ifndef UPCALL_SLAB_H
#define UPCALL_SLAB_H

#include <stddef.h>
#include <stdint.h>

#define SLAB_MAX 1024u               /* Bytes of an object. */
#define SLAB_STEP 16u               /* Sizes are rounded up to multiples of this. */

struct ahead;

struct slab {
    struct slab_page *room[SLAB_MAX / SLAB_STEP]; /* Pages with room for an object, by size. */
    struct slab_page *unused;       /* Pages that no size has. */
    struct slab_chunk *chunks;
    size_t size;                    /* Bytes of all chunks. */
    uint32_t unused_n;
    /* Where it tells what it will want, and the chunk that it told of; NULL: nowhere, none. */
    struct ahead *ahead;
    void *spare;
};

/* Room for `size` bytes, 1 to SLAB_MAX, aligned to SLAB_STEP, not initialised; NULL: no memory.  A
 * slab of zeros is an empty one. */
void *slab_get(struct slab *, size_t size);
/* Takes an object of this size back. */
void slab_put(struct slab *, void *, size_t size);
/* Gives back all memory, whatever objects are left. */
void slab_clear(struct slab *);

#endif
