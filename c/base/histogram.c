/* SPDX-License-Identifier: Apache-2.0 */
#include "base/histogram.h"

#include <pthread.h>

/* Numbers that pmd-perf-show of Open vSwitch 3.1 prints. */
const uint32_t histogram_walls[HISTOGRAM_KINDS][HISTOGRAM_BINS - 1] = {
    [HISTOGRAM_CYCLES] = { 499, 716, 1025, 1469, 2104, 3014, 4317, 6183, 8857, 12686, 18171, 26027, 37279, 53395, 76480,
        109544, 156903, 224736, 321895, 461058, 660385, 945886, 1354815, 1940535, 2779476, 3981111, 5702243,
        8167461, 11698454, 16755981, 24000000 },
    [HISTOGRAM_PACKETS] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 17, 22, 28, 35, 45, 57, 72, 92, 117, 148, 188, 239, 303,
        385, 489, 621, 788, 1000 },
    [HISTOGRAM_CYCLES_A_PACKET] = { 100, 1096, 2093, 3090, 4086, 5083, 6080, 7076, 8073, 9070, 10066, 11063, 12060, 13056, 14053, 15050,
        16046, 17043, 18040, 19036, 20033, 21030, 22026, 23023, 24020, 25016, 26013, 27010, 28006, 29003,
        30000 },
    [HISTOGRAM_BATCH] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
        28, 29, 30, 32 },
    [HISTOGRAM_FILL] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 20, 25, 31, 38, 48, 59, 73, 91, 113, 140, 174,
        216, 268, 332, 412, 512 },
    [HISTOGRAM_UPCALLS] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
        27, 28, 29, 30 },
    [HISTOGRAM_CYCLES_AN_UPCALL] = { 999, 1258, 1584, 1995, 2511, 3162, 3981, 5011, 6309, 7943, 9999, 12589, 15848, 19952, 25118, 31622,
        39810, 50118, 63095, 79432, 99999, 125892, 158489, 199526, 251188, 316227, 398107, 501187, 630957,
        794328, 1000000 },
};

uint8_t histogram_hints[HISTOGRAM_KINDS][HISTOGRAM_HINTS];

/* The smallest value of a class. */
static uint32_t smallest(uint32_t class)
{
    const uint32_t top = 6 + (class - 64) / 16;

    return class < 64 ? class : (16 + (class - 64) % 16) << (top - 4);
}

static void fill(void)
{
    for (uint32_t kind = 0; kind < HISTOGRAM_KINDS; kind++)
        for (uint32_t class = 0; class < HISTOGRAM_HINTS; class++) {
            uint8_t bin = 0;

            while (bin < HISTOGRAM_BINS - 1 && smallest(class) > histogram_walls[kind][bin])
                bin++;
            histogram_hints[kind][class] = bin;
        }
}

void histogram_prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, fill);
}
