/* SPDX-License-Identifier: Apache-2.0
 * invariant.h - what must hold, checked where tests and fuzzers run under sanitizers, and only
 * there.
 *
 * UPCALL_INVARIANTS is defined by tests/support/c_build.ts.  Without it a condition is compiled, so
 * that it stays true to the code, but not evaluated.
 *
 * Threads: any. */
#ifndef UPCALL_INVARIANT_H
#define UPCALL_INVARIANT_H

#ifdef UPCALL_INVARIANTS

#undef NDEBUG
#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#define INVARIANT(condition) assert(condition)

/* Whether this thread holds a mutex.  The owner is a field of glibc's; other libraries are
 * believed. */
static inline bool invariant_held(const pthread_mutex_t *mutex)
{
#ifdef __GLIBC__
    extern pid_t gettid(void); /* Not by <unistd.h>: its names would be taken everywhere. */

    return __atomic_load_n(&mutex->__data.__owner, __ATOMIC_RELAXED) == gettid();
#else
    return mutex;
#endif
}
#define INVARIANT_HELD(mutex) INVARIANT(invariant_held(mutex))

#else

#define INVARIANT(condition) ((void)sizeof((condition) ? 1 : 0))
#define INVARIANT_HELD(mutex) ((void)sizeof(mutex))

#endif
#endif
