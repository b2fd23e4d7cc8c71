/* SPDX-License-Identifier: Apache-2.0
 * mem.h - memory for large arrays, in huge pages where the system has some.
 *
 * Memory that is about to be touched for the first time is fetched from Linux beforehand.  A huge
 * page is zeroed in a tenth of a millisecond, and takes 3 to 11 ms in a virtual machine whose host
 * has to find it first: a thread that touched it with a mutex held would hold up all that want the
 * mutex.  So what grows says what it will want next, and a thread that may let go of the mutex
 * fetches that.
 *
 * Threads: any; a struct ahead one at a time, but for ahead_fetch(), which needs no lock. */
#ifndef UPCALL_MEM_H
#define UPCALL_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory that is touched little by little, zeroed, in huge pages where there are some.  NULL: no
 * memory. */
void *mem_map(size_t size);
void mem_unmap(void *, size_t size);

/* A wish: what is mapped, and was not touched yet, is to lie on a NUMA node, if there is room. */
void mem_prefer(void *, size_t size, uint32_t node);

/* Zeroed memory that lies there, if there is room, all of it fetched.  NULL: no memory. */
void *mem_near(size_t size, uint32_t node);

/* An array, zeroed and on its own cache lines; one of MEM_MAPPED and more is mapped as above.
 * NULL: no memory. */
#define MEM_MAPPED ((size_t)128 << 10)
void *mem_array(size_t size);
void mem_array_free(void *, size_t size);

/* The first `to` bytes of an array are not needed any more; the first `from` of them were said so
 * before.  What they fill of it is given back to the system: of an array that is done with bit by
 * bit, little is left for mem_array_free(), which takes milliseconds for a large one. */
void mem_array_done(void *, size_t size, size_t from, size_t to);

#define AHEAD_RANGES 192u            /* A few for each thread. */

struct ahead_range {
    const uint8_t *at;
    size_t size;
};

/* Ranges of memory, the first wanted first.  Zeros are an empty one. */
struct ahead {
    uint32_t n;
    struct ahead_range ranges[AHEAD_RANGES];
};

/* Less than this is not worth it, and not wanted. */
#define AHEAD_LEAST ((size_t)128 << 10)

/* Wants memory; if too much is wanted, it comes when it is touched. */
void ahead_want(struct ahead *, const void *at, size_t size);
/* Memory is given back: what was wanted of it is not wanted any more.  A range that is being
 * fetched meanwhile does no harm: fetching changes no byte, and fails where nothing is mapped. */
void ahead_forget(struct ahead *, const void *at, size_t size);
/* Whether something of what begins here is wanted. */
bool ahead_wants(const struct ahead *, const void *at, size_t size);
/* Takes the next range, a huge page at most.  False: nothing is wanted. */
bool ahead_take(struct ahead *, struct ahead_range *);
/* Fetches it.  Linux before 5.14 does not: the memory comes when it is touched. */
void ahead_fetch(struct ahead_range);

#endif
