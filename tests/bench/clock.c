// SPDX-License-Identifier: Apache-2.0
/*
 * clock: says how fast a core runs right now.
 *
 * On a virtual machine the other thread of a physical core may belong to somebody else. While
 * that one works, this one runs at half its speed, and nothing that the guest can read says
 * so. A chain of dependent decrements takes one core cycle a step whatever the caches hold, so
 * steps for each TSC cycle tell a disturbed core from a quiet one.
 *
 *     clock CORE     answers each line of standard input with one number
 *
 * Threads: one, bound to CORE.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <x86intrin.h>

#define STEPS 200000 /* under 0.1 ms, short against a scheduler's tick */
#define TRIES 20

static double steps_per_cycle(void)
{
    uint64_t start = __rdtsc(), steps = STEPS;

    __asm__ volatile("1: dec %0; jnz 1b" : "+r"(steps) : : "cc");
    return (double)STEPS / (double)(__rdtsc() - start);
}

/* The median of several: one that was interrupted does not count, a lasting disturbance does. */
static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double measure(void)
{
    double tries[TRIES];

    for (int i = 0; i < TRIES; i++)
        tries[i] = steps_per_cycle();
    qsort(tries, TRIES, sizeof tries[0], compare);
    return tries[TRIES / 2];
}

int main(int argc, char **argv)
{
    char line[16];
    cpu_set_t cores;

    if (argc != 2) {
        fprintf(stderr, "usage: clock CORE\n");
        return 2;
    }
    CPU_ZERO(&cores);
    CPU_SET((size_t)atoi(argv[1]), &cores);
    if (sched_setaffinity(0, sizeof cores, &cores)) {
        perror("clock: sched_setaffinity");
        return 1;
    }
    while (fgets(line, sizeof line, stdin)) {
        printf("%.4f\n", measure());
        fflush(stdout);
    }
    return 0;
}
