/* SPDX-License-Identifier: Apache-2.0
 * load.h - what cycles of a poll thread went to, in samples: the last LOAD_SAMPLES of a thread and
 * of each queue.
 *
 * A sample takes five seconds unless another time is asked for, so that all of them are a minute,
 * as in Open vSwitch.
 *
 * Threads: written by the thread that polls; read by anybody. */
#ifndef UPCALL_LOAD_H
#define UPCALL_LOAD_H

#include <stdatomic.h>
#include <stdint.h>

#define LOAD_SAMPLES 12u
#define LOAD_SAMPLE_MS 5000u

/* Of one counter: what it grew by in each sample. */
struct load {
    _Atomic uint64_t samples[LOAD_SAMPLES];
    _Atomic uint64_t count;      /* Samples taken; the next is written to `count % LOAD_SAMPLES`. */
    uint64_t before;             /* What it was at the end of the last one: the thread's. */
};

/* Ends a sample of a counter that is now `value`. */
static inline void load_sample(struct load *load, uint64_t value)
{
    const uint64_t count = atomic_load_explicit(&load->count, memory_order_relaxed);

    atomic_store_explicit(&load->samples[count % LOAD_SAMPLES], value - load->before, memory_order_relaxed);
    atomic_store_explicit(&load->count, count + 1, memory_order_release);
    load->before = value;
}

/* The sum of the last `n` samples, or of as many as there are; how many those were. */
static inline uint32_t load_sum(const struct load *load, uint32_t n, uint64_t *sum)
{
    const uint64_t count = atomic_load_explicit(&load->count, memory_order_acquire);

    if (n > LOAD_SAMPLES)
        n = LOAD_SAMPLES;
    if (n > count)
        n = (uint32_t)count;
    *sum = 0;
    for (uint32_t i = 1; i <= n; i++)
        *sum += atomic_load_explicit(&load->samples[(count - i) % LOAD_SAMPLES], memory_order_relaxed);
    return n;
}

#endif
