/* SPDX-License-Identifier: Apache-2.0
 * Connection tracking beside a model of it: random packets of few connections, in bursts, through one action or two, while time passes and
 * settings change.  State, mark, label, original tuple, addresses and ports of every packet are the model's, and so is every dump.
 * link: base/mem.c ct/ct*.c base/hash.c packet/csum.c packet/extract.c */
#include <stdint.h>

#define SEEDS 60u
#define STEPS 1500u

static uint64_t seed;

static uint32_t rnd(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 20) % below;
}

#include "ct_model_run.h"

int main(void)
{
    static struct beside b;

    for (uint32_t current = 1; current <= SEEDS && !failures; current++) {
        seed = current * 0x9e3779b97f4a7c15ull;
        beside_open(&b, current % 2);
        for (uint32_t step = 0; step < STEPS && !failures; step++)
            beside_step(&b);
        compare_tables(&b);
        if (failures)
            fprintf(stderr, "seed %u\n", current);
    }
    world_close(&b.w);
    return failures != 0;
}
