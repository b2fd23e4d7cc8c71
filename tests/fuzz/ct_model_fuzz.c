/* SPDX-License-Identifier: Apache-2.0
 * link: base/mem.c ct/ct*.c base/hash.c packet/csum.c packet/extract.c
 *
 * Connection tracking beside its model (tests/c/ct_model.h): packets, actions, time and settings as the input says, two bytes for each choice.  Input:
 * 1 byte whether what has expired is swept at once, then choices. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define STEPS 60u

static const uint8_t *data, *end;

static uint32_t rnd(uint32_t below)
{
    uint32_t x = 0;

    for (int i = 0; i < 2 && data < end; i++)
        x = x << 8 | *data++;
    return x % below;
}

#include "../c/ct_model_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    static struct beside b;

    if (!size)
        return 0;
    data = input + 1;
    end = input + size;
    beside_open(&b, input[0] & 1);
    for (uint32_t step = 0; step < STEPS && data < end && !failures; step++)
        beside_step(&b);
    compare_tables(&b);
    if (failures)
        abort();
    return 0;
}
